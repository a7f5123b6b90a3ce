/** The flags of `claimcheck run` that the tables of plan fields describe, and what commander makes of them. */
import { type Command, Option } from "commander";
import type { AnyField, Flag } from "../../executor/plan/field.ts";

type Rows = readonly (readonly [field: string, row: AnyField])[];

const flagsOf = (rows: Rows) =>
  rows.flatMap(([field, { flag }]) => (typeof flag === "object" ? [[field, optionOf(flag)] as const] : []));

export function addTableFlags(command: Command, rows: Rows): void {
  for (const [, option] of flagsOf(rows)) command.addOption(option);
}

/** @returns what was said, by the fields' names. */
export function readTableFlags(values: object, rows: Rows): Record<string, unknown> {
  const said = flagsOf(rows).map(([field, option]) => [
    field,
    values[option.attributeName() as keyof typeof values],
  ]);
  return Object.fromEntries(said.filter(([, value]) => value !== undefined));
}

function optionOf({ flags, description, choices, default: shown, read }: Flag<unknown>): Option {
  const option = new Option(flags, description);
  if (choices) option.choices(choices);
  else if (read) option.argParser(read);
  return shown === undefined ? option : option.default(shown);
}
