/** claimcheck run: one container, with secrets, output scrubbed. */
import { constants } from "node:os";
import { isDeepStrictEqual } from "node:util";
import { Command, Option } from "commander";
import { Failure } from "../executor/failure.ts";
import type { ShortSecrets } from "../executor/output.ts";
import { type LeakAction, leakActions, type PlanFields, plainStep, type Step } from "../executor/plan.ts";
import { startRun } from "../executor/run.ts";
import { connect } from "./broker-connection.ts";
import { toolEnvironment } from "./environment.ts";
import { addStepFlags } from "./run-flags.ts";
import { shortSecretsOption } from "./scrub.ts";

/** Root's, because containers are. */
const state = "/var/lib/claimcheck";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

interface Options {
  plan?: string;
  broker?: string;
  tokenFile?: string;
  audit?: string;
  runtime: string;
  masking: boolean;
  shortSecrets: ShortSecrets;
  onLeak?: LeakAction;
  tag?: string;
  publish?: string;
}

export function runCommand(): Command {
  const command = new Command("run");
  const toStep = addStepFlags(command, process.env);
  return command
    .description("Run a command in a container, with secrets, and mask them in what it prints.")
    .usage("[options] IMAGE [--] [COMMAND [ARGUMENT...]]\n       claimcheck run [options] --plan FILE")
    .argument("[image]", "as podman and docker name images; pulled when it is not there")
    .argument("[command...]", "instead of the image's own")
    .passThroughOptions()
    .option("--plan <FILE>", "run the steps in this file (YAML or JSON), one after the other on one image")
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "where the token for that broker lies; read at each use (CLAIMCHECK_TOKEN_FILE)",
    )
    .option("--audit <FILE>", "have the embedded broker write down every decision")
    .option("--no-masking", "show secrets in the output (CLAIMCHECK_NO_MASKING=1)")
    .addOption(shortSecretsOption())
    .addOption(
      new Option(
        "--on-leak <ACTION>",
        "search the files that are left for values; on a find, do this",
      ).choices(leakActions),
    )
    .option("--tag <NAME>", "make an image of what is left in the end, and call it so")
    .option("--publish <NAME>", "push that image to the registry that the name begins with")
    .option("--runtime <NAME>", "the OCI runtime, with runc's command line", "runc")
    .addHelpText("after", help)
    .action(
      async (image: string | undefined, args: string[], options: Options & Parameters<typeof toStep>[1]) => {
        const step = toStep(args[0] === "--" ? args.slice(1) : args, options);
        await run(await whatToRun(image, step, options.plan), options);
      },
    );
}

/** A step on the command line, or the steps of a file. */
async function whatToRun(
  image: string | undefined,
  step: Step,
  plan: string | undefined,
): Promise<PlanFields> {
  if (plan === undefined) {
    if (image === undefined) throw new Failure("usage", { detail: "IMAGE or --plan FILE" });
    return { image, steps: [step] };
  }
  if (image !== undefined || !isDeepStrictEqual(step, plainStep)) {
    throw new Failure("usage", { detail: "what is run stands in the file of --plan" });
  }
  const { readPlanFile } = await import("./plan-file.ts");
  const read = await readPlanFile(plan);
  if (!("faults" in read)) return read;
  for (const { line, message } of read.faults) process.stderr.write(`${plan}:${line}: ${message}\n`);
  throw new Failure("usage", { detail: `${plan} cannot be used` });
}

const help = `
Example:
  API_TOKEN=guessme claimcheck run --secret-env MY_SECRET=env://API_TOKEN \\
    alpine:latest -- sh -c 'echo this is the secret: $MY_SECRET'

Exit codes: the command's own; 124 the time is over, 125 claimcheck failed, 126 the command cannot be
executed, 127 it does not exist, 128 + n a signal ended it.`;

async function run(plan: PlanFields, options: Options): Promise<void> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Failure("unsupported_host", { detail: "containers need Linux and root" });
  }
  const masked = options.masking && process.env.CLAIMCHECK_NO_MASKING !== "1";
  if (!masked) process.stderr.write("claimcheck: secrets are not masked in this output\n");
  const started = startRun(
    {
      ...plan,
      ...(options.onLeak && { onLeak: options.onLeak }),
      ...(options.tag !== undefined && { tag: options.tag }),
      ...(options.publish !== undefined && { publish: options.publish }),
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
