/** docs/reference/command-line.md, from what commander knows. */
import type { Argument, Command, Option } from "commander";
import { parametersOf } from "../../bin/chain/chain.ts";
import { verbs } from "../../bin/chain/verbs.ts";
import { createProgram } from "../../bin/commands/program.ts";
import { cell, code, page, table } from "./markdown.ts";

export async function commandLine(): Promise<string> {
  const { commands } = await createProgram();
  return page(
    "# Command line",
    "`claimcheck COMMAND --help` prints the same. Flags beat environment variables.",
    table(["command", "does"], commands.flatMap(rowsOf)),
    ...commands.flatMap((command) => sectionsOf(command)),
    "## Verbs",
    "For `claimcheck shell`, and for `claimcheck core`, which takes them as flags (`--address=alpine:latest`). A `<secret>` is a URI or `$(secret <uri> [--cache-key <text>])`.",
    table(
      ["verb", "does"],
      verbs.map((verb) => [code(`${verb.name} ${parametersOf(verb)}`.trim()), cell(verb.summary)]),
    ),
  );
}

const anchor = (name: string) => name.replaceAll(" ", "-");

const nameOf = (command: Command): string =>
  command.parent ? `${nameOf(command.parent)} ${command.name()}` : command.name();

const rowsOf = (command: Command): string[][] => [
  [`[\`${nameOf(command)}\`](#${anchor(nameOf(command))})`, cell(command.description())],
  ...command.commands.flatMap(rowsOf),
];

function sectionsOf(command: Command): string[] {
  const name = nameOf(command);
  const usage = command
    .usage()
    .split("\n")
    .map((line) => line.trim().replace(new RegExp(`^${name} `), ""));
  const section = [
    `## ${name}`,
    command.description(),
    `\`\`\`text\n${usage.map((line) => `${name} ${line}`).join("\n")}\n\`\`\``,
    command.registeredArguments.length > 0
      ? table(["argument", ""], command.registeredArguments.map(argumentRow))
      : "",
    command.options.length > 0 ? table(["flag", "does", "default"], command.options.map(optionRow)) : "",
  ];
  return [...section, ...command.commands.flatMap(sectionsOf)];
}

const argumentRow = (argument: Argument): string[] => [code(argument.name()), cell(argument.description)];

function optionRow({
  flags,
  description,
  argChoices,
  defaultValue,
  defaultValueDescription,
  envVar,
}: Option) {
  const choices = argChoices ? `: ${argChoices.map(code).join(", ")}` : "";
  const variable = envVar === undefined ? "" : ` (${envVar})`;
  const given = Array.isArray(defaultValue) || defaultValue === true ? undefined : defaultValue;
  // That of root, who runs most containers, also where somebody else makes this page.
  const shown = String(given ?? "").replace(/^\/.*(?=\/cache$)/, "/var/lib/claimcheck");
  return [code(flags), `${cell(description)}${variable}${choices}`, code(defaultValueDescription ?? shown)];
}
