/** claimcheck run: one container, with secrets, output scrubbed. */
import { constants } from "node:os";
import { isatty } from "node:tty";
import { isDeepStrictEqual } from "node:util";
import { Command, Option } from "commander";
import type { Run, StepCache } from "../executor/cache/step-cache.ts";
import type { ShortSecrets } from "../executor/output.ts";
import {
  type LeakAction,
  leakActions,
  type PlanFields,
  plainStep,
  type RegistryLogin,
  type Step,
} from "../executor/plan.ts";
import type { PlanDocument } from "../executor/plan-document.ts";
import { isRootless } from "../executor/rootless.ts";
import { startRun } from "../executor/run.ts";
import { type ContainerUsers, type SupervisorProcess, startSupervisor } from "../executor/runtime/runc.ts";
import type { SeccompProfile } from "../executor/seccomp.ts";
import { Failure } from "../shared/failure.ts";
import { takeCacheKey } from "../shared/uri.ts";
import { connect } from "./broker-connection.ts";
import { cacheFolderOption, cacheSizeOption } from "./cache-options.ts";
import { containerFolder, stateFolder, toolEnvironment } from "./environment.ts";
import { addGivenFlags, asVariables, type Given } from "./given.ts";
import { createKeyboard } from "./keyboard.ts";
import { type Output, plainOutput, wantedOutput } from "./output.ts";
import { addStepFlags } from "./run-flags.ts";
import { shortSecretsOption } from "./scrub.ts";
import { leaveUnread } from "./standard-streams.ts";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

export interface RunOptions {
  broker?: string;
  executor?: string;
  tokenFile?: string;
  audit?: string;
  registryAuth: readonly RegistryLogin[];
  runtime: string;
  userns: ContainerUsers;
  seccomp: SeccompProfile;
  masking: boolean;
  shortSecrets: ShortSecrets;
  cache?: boolean;
  cacheDir: string;
  cacheSize: number;
  cacheFrom?: string;
  cacheTo?: string;
  onLeak?: LeakAction;
  tag?: string;
  publish?: string;
}

interface Options extends RunOptions {
  plan?: string;
  stdio?: boolean;
}

export function runCommand(launched: SupervisorProcess | undefined): Command {
  const command = new Command("run");
  const toStep = addStepFlags(command, process.env);
  const given = addGivenFlags(command, process.env);
  return withRunOptions(command)
    .description("Run a command in a container, with secrets, and mask them in what it prints.")
    .usage("[options] IMAGE [--] [COMMAND [ARGUMENT...]]\n       claimcheck run [options] --plan FILE")
    .argument("[image]", "as podman and docker name images; pulled when it is not there")
    .argument("[command...]", "instead of the image's own")
    .passThroughOptions()
    .option("--plan <FILE>", "run the steps in this file (YAML or JSON), one after the other on one image")
    .option("--stdio", "for programs: run what a line of standard input says, and print events")
    .addHelpText("after", help)
    .action(
      async (image: string | undefined, args: string[], options: Options & Parameters<typeof toStep>[1]) => {
        const step = toStep(args[0] === "--" ? args.slice(1) : args, options);
        if (options.stdio) return runRequest(options, launched);
        const { output, ...runnable } = await whatToRun(image, step, options.plan, given);
        await run(runnable, given, options, { output, launched });
      },
    );
}

/** Gives a command the options that all have that run containers. */
export function withRunOptions(command: Command): Command {
  return command
    .option("--broker <URL>", "ask this broker instead of an embedded one (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "where the token for that broker lies; read at each use (CLAIMCHECK_TOKEN_FILE)",
    )
    .option("--executor <SOCKET>", "have the executor of this host run it (CLAIMCHECK_EXECUTOR)")
    .option("--audit <FILE>", "have the embedded broker write down every decision")
    .option("--no-masking", "show secrets in the output (CLAIMCHECK_NO_MASKING=1)")
    .addOption(shortSecretsOption())
    .option("--cache", "take results from the cache, and keep them there; usual for plans")
    .option("--no-cache", "do neither")
    .addOption(cacheFolderOption())
    .addOption(cacheSizeOption())
    .option("--cache-from <REF>", "look in this repository of an OCI registry too (HOST/NAME)")
    .option("--cache-to <REF>", "keep what is made there too")
    .addOption(
      new Option(
        "--on-leak <ACTION>",
        "search the files that are left for values; on a find, do this",
      ).choices(leakActions),
    )
    .option("--tag <NAME>", "make an image of what is left in the end, and call it so")
    .option("--publish <NAME>", "push that image to the registry that the name begins with")
    .option(
      "--registry-auth <ADDRESS=USER,URI>",
      "log in there to pull the image; the URI is the password's (repeatable)",
      (text: string, before: readonly RegistryLogin[]) => [...before, parseLogin(text)],
      [],
    )
    .option(
      "--runtime <NAME>",
      "the OCI runtime, with runc's command line, by name or absolute path",
      parseRuntime,
      "runc",
    )
    .addOption(
      new Option(
        "--userns <WHOSE>",
        "users of the container: in a user namespace of its own, or the host's, with weaker walls",
      )
        .choices(["own", "host"])
        .default("own"),
    )
    .addOption(
      new Option(
        "--seccomp <PROFILE>",
        "system calls: strict, or podman's, which lets a container make namespaces and mounts of its own",
      )
        .choices(["strict", "podman"])
        .default("strict"),
    );
}

async function runRequest(options: RunOptions, launched: SupervisorProcess | undefined): Promise<void> {
  const { eventOutput, readRequest } = await import("./stdio.ts");
  const output = eventOutput();
  try {
    const { cancelled, values, ...runnable } = await readRequest();
    await run(runnable, { handles: new Map(), values }, options, { output, cancelled, launched });
    // Standard input is still open.
    process.stdin.destroy();
  } catch (thrown) {
    process.stdin.destroy();
    if (!(thrown instanceof Failure)) throw thrown;
    output.fail(thrown);
    process.exitCode = thrown.exitCode;
  }
}

/** A plan, as its document or a command line says it. */
type ToRun = PlanFields & {
  readonly document?: PlanDocument | undefined;
};

/** A step on the command line, or the steps of a file. */
async function whatToRun(
  image: string | undefined,
  step: Step,
  plan: string | undefined,
  given: Given,
): Promise<ToRun & { readonly output?: Output }> {
  if (plan === undefined) {
    if (image === undefined) throw new Failure("usage", { detail: "IMAGE or --plan FILE" });
    const secretVariables = [...step.secretVariables, ...asVariables(given)];
    return { image, registries: [], steps: [{ ...step, secretVariables }] };
  }
  if (image !== undefined || !isDeepStrictEqual(step, plainStep)) {
    throw new Failure("usage", { detail: "what is run stands in the file of --plan" });
  }
  const { loadPlanFile } = await import("./plan-file.ts");
  const loaded = await loadPlanFile(plan, given.handles);
  const { want, steps } = loaded.document;
  return { ...loaded, ...(want && { output: wantedOutput(want, steps.length) }) };
}

function parseRuntime(text: string): string {
  if (/^(\/.*|[^/]+)$/.test(text)) return text;
  throw new Failure("usage", { detail: "--runtime takes a name or an absolute path" });
}

function parseLogin(text: string): RegistryLogin {
  const match = /^([^=]*)=([^,]*),(.+)$/s.exec(text);
  if (!match) throw new Failure("usage", { detail: "--registry-auth takes ADDRESS=USER,URI" });
  const [, address = "", user = "", uri = ""] = match;
  return { address, user, password: takeCacheKey(uri) };
}

const help = `
Example:
  API_TOKEN=guessme claimcheck run --secret-env MY_SECRET=env://API_TOKEN \\
    alpine:latest -- sh -c 'echo this is the secret: $MY_SECRET'

Exit codes: the command's own; 124 the time is over, 125 claimcheck failed, 126 the command cannot be
executed, 127 it does not exist, 128 + n a signal ended it.`;

/**
 * A command is run whenever somebody says so, as with docker; a plan, if nothing else is said, only when it has to be.
 *
 * @throws {Failure} `unsupported_host` where it is asked for and cannot be.
 */
function caches({ cache, cacheFrom, cacheTo }: RunOptions, isPlan: boolean): boolean {
  const isWanted = cache ?? (cacheFrom ?? cacheTo) !== undefined;
  // What is in a layer belongs to many users, whom only root can give their files.
  if (isRootless && isWanted) throw new Failure("unsupported_host", { detail: "the cache needs root" });
  return isWanted || (cache === undefined && isPlan && !isRootless);
}

/** Loaded where it is wanted alone: start-up is most of what a run costs. */
function openStepCache(options: RunOptions, tell: (line: string) => void) {
  return async (run: Run): Promise<StepCache> => {
    const [{ openLayers, openResults, openShared }, { openStepCache }] = await Promise.all([
      import("./results.ts"),
      import("../executor/cache/step-cache.ts"),
    ]);
    const layers = openLayers(containerFolder(process.env), toolEnvironment(process.env));
    const store = await openResults(options.cacheDir, stateFolder(process.env), tell);
    const shared = await openShared(options, layers, process.env, tell);
    return openStepCache(
      {
        store,
        layers,
        ...(shared && { shared }),
        sizeLimit: options.cacheSize,
        explains: options.cache === true,
      },
      run,
    );
  };
}

interface How {
  readonly output?: Output | undefined;
  readonly cancelled?: AbortSignal | undefined;
  readonly launched?: SupervisorProcess | undefined;
}

/** Runs it in this process, which gets its signals and its exit code, or has an executor do it. */
export async function run(
  { document, ...plan }: ToRun,
  given: Given,
  options: RunOptions,
  { output = plainOutput, cancelled, launched }: How = {},
): Promise<void> {
  const described = { ...plan, registries: [...plan.registries, ...options.registryAuth] };
  const { handles, values } = given;
  const executor = options.executor ?? process.env.CLAIMCHECK_EXECUTOR;
  if (executor) {
    const { runtime, userns, seccomp, masking } = options;
    const { audit, onLeak, cacheFrom, cacheTo, tag, publish } = options;
    const ours = [audit, onLeak, cacheFrom, cacheTo, tag, publish];
    const isPlain = runtime === "runc" && userns === "own" && seccomp === "strict" && masking;
    if (ours.some((said) => said !== undefined) || !isPlain) {
      throw new Failure("usage", {
        detail:
          "--audit, --on-leak, --cache-from, --cache-to, --tag, --publish, --runtime, --userns, --seccomp and --no-masking are not for a job to say on a command line",
      });
    }
    const { runRemotely } = await import("./remote-run.ts");
    const where = { ...options, executor };
    const exitCode = await runRemotely(
      { ...described, document, cache: options.cache ?? document !== undefined },
      given,
      where,
      process.env,
      output,
      cancelled,
    );
    process.exitCode = output.end(exitCode);
    return;
  }
  if (process.platform !== "linux")
    throw new Failure("unsupported_host", { detail: "containers need Linux" });
  const atTerminal = described.steps.some(({ interactive, terminal }) => interactive && terminal);
  if (atTerminal && !isatty(0)) throw new Failure("usage", { detail: "the input device is not a TTY" });
  const masked = options.masking && process.env.CLAIMCHECK_NO_MASKING !== "1";
  if (!masked) process.stderr.write("claimcheck: secrets are not masked in this output\n");
  const started = startRun(
    {
      ...described,
      ...(options.onLeak && { onLeak: options.onLeak }),
      ...(options.tag !== undefined && { tag: options.tag }),
      ...(options.publish !== undefined && { publish: options.publish }),
      masked,
      shortSecrets: options.shortSecrets,
    },
    {
      // Handles that were issued before can only be bound to a key that is kept.
      connect: (signal) => connect({ ...options, keepsProofKey: handles.size > 0 }, process.env, signal),
      values,
      runtime: options.runtime,
      userns: isRootless ? "host" : options.userns,
      seccomp: options.seccomp,
      state: containerFolder(process.env),
      environment: toolEnvironment(process.env),
      supervise: (settings) => startSupervisor(settings, launched),
      openInput: () => (atTerminal ? keyboard.open() : process.stdin),
      stdout: process.stdout,
      stderr: process.stderr,
      sinksOf: output.sinksOf,
      onProgress: output.progress,
      ...(caches(options, document !== undefined) && { openCache: openStepCache(options, output.progress) }),
    },
  );
  // Beside the signal that the kernel sends: two of them end what nobody can reach any more.
  const keyboard = createKeyboard(() => started.signal(constants.signals.SIGHUP));
  for (const name of forwarded) process.on(name, () => started.signal(constants.signals[name]));
  const cancel = () => started.signal(constants.signals.SIGKILL);
  if (cancelled?.aborted) cancel();
  else cancelled?.addEventListener("abort", cancel);
  try {
    process.exitCode = output.end(await started.finished);
  } finally {
    keyboard.close();
    if (started.isCut()) leaveUnread();
  }
}
