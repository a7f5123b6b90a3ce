/** The `claimcheck` command, from its arguments to its exit code. */
import { CommanderError } from "commander";
import { Failure } from "../shared/failure.ts";
import { printable } from "../shared/printable.ts";
import { createProgram } from "./commands/program.ts";
import { checkArguments } from "./host/bytes.ts";
import { launchForRun } from "./run/head-start.ts";
import { guardStandardStreams } from "./run/standard-streams.ts";

function report(thrown: unknown): void {
  // Help and version were printed already; asked for, they are an answer, and otherwise help is a hint.
  if (thrown instanceof CommanderError && /^commander\.(help|version)/.test(thrown.code)) {
    process.exitCode = thrown.exitCode === 0 ? 0 : 125;
    return;
  }
  const failure = asFailure(thrown);
  // A broker, a registry or a file may have chosen the words.
  for (const line of String(failure).split("\n")) process.stderr.write(`claimcheck: ${printable(line)}\n`);
  process.exitCode = failure.exitCode;
}

function asFailure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  // A misplaced value is not repeated, be it in --option=value or in --secret-env NAME=value.
  if (thrown instanceof CommanderError) {
    const detail = thrown.message.replace(/^error: /, "").replace(/=[^'\s]*/g, "=…");
    return new Failure("usage", { detail: `${detail}; see --help` });
  }
  return new Failure("internal", {
    // Its name may be anybody's text.
    detail: thrown instanceof Error ? thrown.constructor.name : "unknown",
    cause: thrown,
  });
}

guardStandardStreams(report);

process.on("uncaughtException", (thrown) => {
  report(thrown);
  process.exit();
});

async function main(): Promise<void> {
  checkArguments(process.argv.slice(2));
  const launched = launchForRun(process.argv, process.env);
  try {
    const program = await createProgram(process.argv[2], launched);
    const nested = program.commands.flatMap(({ commands }) => commands);
    for (const command of [program, ...program.commands, ...nested]) {
      command.exitOverride().configureOutput({ outputError: () => {} });
    }
    await program.parseAsync();
  } finally {
    await launched?.dismiss();
  }
}

void main().catch(report);
