/** What commander knows of `claimcheck`: one file a subcommand. */
import { Command } from "commander";
import type { SupervisorProcess } from "../../executor/supervisor/launch.ts";
import manifest from "../../package.json" with { type: "json" };

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
  whoami: async () => (await import("./whoami.ts")).whoamiCommand(),
  doctor: async () => (await import("./doctor.ts")).doctorCommand(),
  policy: async () => (await import("./policy.ts")).policyCommand(),
  audit: async () => (await import("./audit.ts")).auditCommand(),
};

/**
 * @param called the subcommand, alone if there is one of this name; otherwise all of them.
 * @param launched what a run has started already.
 */
export async function createProgram(called?: string, launched?: SupervisorProcess): Promise<Command> {
  const program = new Command("claimcheck")
    .description("Gives containers their secrets at the last moment and keeps them out of everything else.")
    .version(manifest.version)
    .enablePositionalOptions();
  const named = Object.entries(commands).filter(([name]) => name === called);
  const needed = named.length > 0 ? named : Object.entries(commands);
  for (const [, load] of needed) program.addCommand(await load(launched));
  return program;
}
