/** claimcheck executor: the service on a host that runs what jobs send it, with keys and a token of its own. */
import { Command } from "commander";
import { Failure } from "../../shared/failure.ts";
import { stateFolder } from "../host/environment.ts";
import { printFaults } from "../host/print-faults.ts";
import type { ExecutorConfig } from "../serve-executor/config.ts";

interface ServeOptions {
  readonly config?: string;
  readonly checkConfig?: boolean;
}

export function executorCommand(): Command {
  return (
    new Command("executor")
      .description("Run the plans of this host's jobs, within the limits of its configuration.")
      // An option after `key` is that one's.
      .enablePositionalOptions()
      .option("--config <FILE>", "the configuration file (YAML)")
      .option("--check-config", "check --config, print every fault, and exit")
      .action(serve)
      .addCommand(
        new Command("key")
          .description("Print the thumbprint of its proof key, for the policy and for `issue --jkt`.")
          .option(
            "--config <FILE>",
            "print the key of the executor with this configuration; without it, the key of this user's runs",
          )
          .action(printKey),
      )
      .addCommand(
        new Command("schema")
          .description("Print the JSON Schema of the configuration file, for editors.")
          .action(printSchema),
      )
  );
}

async function printSchema(): Promise<void> {
  const { executorSchema } = await import("../serve-executor/config.ts");
  process.stdout.write(`${JSON.stringify(executorSchema(), undefined, 2)}\n`);
}

async function printKey({ config }: ServeOptions): Promise<void> {
  const folder = config === undefined ? stateFolder(process.env) : (await load(config)).state;
  const [{ createIdentity }, { loadProofKey }] = await Promise.all([
    import("../../executor/broker-client/identity.ts"),
    import("../host/key-files.ts"),
  ]);
  const { jkt } = await createIdentity(await loadProofKey(folder));
  process.stdout.write(`${jkt}\n`);
}

async function load(path: string): Promise<ExecutorConfig> {
  const { readExecutorConfig } = await import("../serve-executor/config.ts");
  const config = await readExecutorConfig(path);
  if (!("faults" in config)) return config;
  printFaults(path, config.faults);
  throw new Failure("usage", { detail: `${path} cannot be used` });
}

async function serve({ config: path, checkConfig }: ServeOptions): Promise<void> {
  if (path === undefined) throw new Failure("usage", { detail: "--config FILE" });
  const config = await load(path);
  if (checkConfig) {
    process.stdout.write(`${path} is in order\n`);
    return;
  }
  const [{ serveExecutor }, { closeProcess }] = await Promise.all([
    import("../serve-executor/host.ts"),
    import("../host/close-process.ts"),
  ]);
  await closeProcess(process.env);
  await serveExecutor(config, process.env);
}
