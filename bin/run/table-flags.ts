/** The flags of `claimcheck run` that the tables of plan fields describe, and what commander makes of them. */
import { type Command, Option } from "commander";
import type { AnyField, Flag } from "../../executor/plan/field.ts";

type Rows = readonly (readonly [field: string, row: AnyField])[];

const flagsOf = (rows: Rows) =>
  rows.flatMap(([field, { flag }]) =>
    typeof flag === "object" ? [{ field, flag, option: optionOf(flag) }] : [],
  );

export function addTableFlags(command: Command, rows: Rows): void {
  for (const { option } of flagsOf(rows)) command.addOption(option);
}

/** @returns what was said, by the fields' names. */
export function readTableFlags(values: object, rows: Rows): Record<string, unknown> {
  const said = flagsOf(rows).flatMap(({ field, flag, option }) => {
    const value: unknown = values[option.attributeName() as keyof typeof values];
    if (!flag.collect || value === undefined) return [[field, value]];
    const texts = value as readonly string[];
    return texts.length > 0 ? [[field, flag.collect(texts)]] : [];
  });
  return Object.fromEntries(said.filter(([, value]) => value !== undefined));
}

function optionOf({ flags, description, choices, default: shown, read, collect }: Flag<unknown>): Option {
  const option = new Option(flags, description);
  if (choices) option.choices(choices);
  else if (read) option.argParser(read);
  if (collect) {
    return option.default([]).argParser((text, before: readonly string[]) => [...before, text]);
  }
  return shown === undefined ? option : option.default(shown);
}
