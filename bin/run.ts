/** claimcheck run: one container, with secrets, output scrubbed. */
import { constants } from "node:os";
import { Command } from "commander";
import { Failure } from "../executor/failure.ts";
import type { ShortSecrets } from "../executor/output.ts";
import type { Step } from "../executor/plan.ts";
import { startRun } from "../executor/run.ts";
import { connect } from "./broker-connection.ts";
import { toolEnvironment } from "./environment.ts";
import { addStepFlags } from "./run-flags.ts";
import { shortSecretsOption } from "./scrub.ts";

/** Root's, because containers are. */
const state = "/var/lib/claimcheck";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

interface Options {
  broker?: string;
  tokenFile?: string;
  audit?: string;
  runtime: string;
  masking: boolean;
  shortSecrets: ShortSecrets;
}

export function runCommand(): Command {
  const command = new Command("run");
  const toStep = addStepFlags(command, process.env);
  return command
    .description("Run a command in a container, with secrets, and mask them in what it prints.")
    .usage("[options] IMAGE [--] [COMMAND [ARGUMENT...]]")
    .argument("<image>", "as podman and docker name images; pulled when it is not there")
    .argument("[command...]", "instead of the image's own")
    .passThroughOptions()
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "where the token for that broker lies; read at each use (CLAIMCHECK_TOKEN_FILE)",
    )
    .option("--audit <FILE>", "have the embedded broker write down every decision")
    .option("--no-masking", "show secrets in the output (CLAIMCHECK_NO_MASKING=1)")
    .addOption(shortSecretsOption())
    .option("--runtime <NAME>", "the OCI runtime, with runc's command line", "runc")
    .addHelpText("after", help)
    .action((image: string, args: string[], options: Options & Parameters<typeof toStep>[1]) =>
      run(image, toStep(args[0] === "--" ? args.slice(1) : args, options), options),
    );
}

const help = `
Example:
  API_TOKEN=guessme claimcheck run --secret-env MY_SECRET=env://API_TOKEN \\
    alpine:latest -- sh -c 'echo this is the secret: $MY_SECRET'

Exit codes: the command's own; 124 the time is over, 125 claimcheck failed, 126 the command cannot be
executed, 127 it does not exist, 128 + n a signal ended it.`;

async function run(image: string, step: Step, options: Options): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Failure("unsupported_host", { detail: "containers need Linux and root" });
  }
  const masked = options.masking && process.env.CLAIMCHECK_NO_MASKING !== "1";
  if (!masked) process.stderr.write("claimcheck: secrets are not masked in this output\n");
  const started = startRun(
    {
      image,
      steps: [step],
      masked,
      shortSecrets: options.shortSecrets,
    },
    {
      connect: (signal) => connect(options, process.env, signal),
      runtime: options.runtime,
      state,
      environment: toolEnvironment(process.env),
      openInput: () => process.stdin,
      stdout: process.stdout,
      stderr: process.stderr,
      onProgress: (line) => process.stderr.write(`claimcheck: ${line}\n`),
    },
  );
  for (const name of forwarded) process.on(name, () => started.signal(constants.signals[name]));
  process.exitCode = await started.finished;
}
