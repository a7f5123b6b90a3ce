/** The `claimcheck` command: one file a subcommand. */
import { Command, CommanderError } from "commander";
import type { SupervisorProcess } from "../executor/runtime/runc.ts";
import manifest from "../package.json" with { type: "json" };
import { Failure } from "../shared/failure.ts";
import { printable } from "../shared/printable.ts";
import { checkArguments } from "./bytes.ts";
import { launchForRun } from "./head-start.ts";
import { guardStandardStreams } from "./standard-streams.ts";

function report(thrown: unknown): void {
  // Help and version were printed already; asked for, they are an answer, and otherwise help is a hint.
  if (thrown instanceof CommanderError && /^commander\.(help|version)/.test(thrown.code)) {
    process.exitCode = thrown.exitCode === 0 ? 0 : 125;
    return;
  }
  const failure = asFailure(thrown);
  // A broker, a registry or a file may have chosen the words.
  process.stderr.write(`claimcheck: ${String(failure).split("\n").map(printable).join("\n")}\n`);
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

/** A run loads no other command: start-up is most of what it costs. */
const commands = {
  run: async (launched?: SupervisorProcess) => (await import("./run.ts")).runCommand(launched),
  shell: async () => (await import("./shell.ts")).shellCommand(),
  core: async () => (await import("./core.ts")).coreCommand(),
  plan: async () => (await import("./plan.ts")).planCommand(),
  cache: async () => (await import("./cache.ts")).cacheCommand(),
  executor: async () => (await import("./executor.ts")).executorCommand(),
  scrub: async () => (await import("./scrub.ts")).scrubCommand(),
  broker: async () => (await import("./broker.ts")).brokerCommand(),
  issue: async () => (await import("./issue.ts")).issueCommand(),
  inspect: async () => (await import("./inspect.ts")).inspectCommand(),
  revoke: async () => (await import("./revoke.ts")).revokeCommand(),
  policy: async () => (await import("./policy.ts")).policyCommand(),
  audit: async () => (await import("./audit.ts")).auditCommand(),
};

async function main(): Promise<void> {
  checkArguments(process.argv.slice(2));
  const program = new Command("claimcheck")
    .description("Gives containers their secrets at the last moment and keeps them out of everything else.")
    .version(manifest.version)
    .enablePositionalOptions();
  const called = Object.entries(commands).filter(([name]) => name === process.argv[2]);
  const needed = called.length > 0 ? called : Object.entries(commands);
  const launched = launchForRun(process.argv, process.env);
  try {
    for (const [, load] of needed) program.addCommand(await load(launched));
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
