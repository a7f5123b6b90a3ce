/** The `claimcheck` command: one file a subcommand. */
import { Command, CommanderError } from "commander";
import { Failure } from "../executor/failure.ts";
import manifest from "../package.json" with { type: "json" };
import { auditCommand } from "./audit.ts";
import { brokerCommand } from "./broker.ts";
import { inspectCommand } from "./inspect.ts";
import { issueCommand } from "./issue.ts";
import { policyCommand } from "./policy.ts";
import { revokeCommand } from "./revoke.ts";
import { runCommand } from "./run.ts";
import { scrubCommand } from "./scrub.ts";

function report(thrown: unknown): void {
  // Help and version were printed already; asked for, they are an answer, and otherwise help is a hint.
  if (thrown instanceof CommanderError && /^commander\.(help|version)/.test(thrown.code)) {
    process.exitCode = thrown.exitCode === 0 ? 0 : 125;
    return;
  }
  const failure = asFailure(thrown);
  process.stderr.write(`claimcheck: ${failure}\n`);
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
    detail: thrown instanceof Error ? thrown.name : "unknown",
    cause: thrown,
  });
}

process.on("uncaughtException", (thrown) => {
  report(thrown);
  process.exit();
});

const program = new Command("claimcheck")
  .description("Gives containers their secrets at the last moment and keeps them out of everything else.")
  .version(manifest.version)
  .enablePositionalOptions()
  .addCommand(runCommand())
  .addCommand(scrubCommand())
  .addCommand(brokerCommand())
  .addCommand(issueCommand())
  .addCommand(inspectCommand())
  .addCommand(revokeCommand())
  .addCommand(policyCommand())
  .addCommand(auditCommand());

const nested = program.commands.flatMap(({ commands }) => commands);
for (const command of [program, ...program.commands, ...nested]) {
  command.exitOverride().configureOutput({ outputError: () => {} });
}

void program.parseAsync().catch(report);
