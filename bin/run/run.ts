/** Runs a plan: in this process, which gets its signals and its exit code, or in an executor. */
import { constants } from "node:os";
import { isatty } from "node:tty";
import type { Run, StepCache } from "../../executor/cache/step-cache.ts";
import { isRootless } from "../../executor/host/rootless.ts";
import type { PlanDocument } from "../../executor/plan/document.ts";
import type { PlanFields } from "../../executor/plan/plan.ts";
import { startRun } from "../../executor/run/run.ts";
import type { SupervisorProcess } from "../../executor/supervisor/launch.ts";
import { startSupervisor } from "../../executor/supervisor/supervisor.ts";
import { Failure } from "../../shared/failure.ts";
import { connect } from "../connect/connection.ts";
import { containerFolder, stateFolder, toolEnvironment } from "../host/environment.ts";
import type { HandlesAndValues } from "./handles-and-values.ts";
import { createKeyboard } from "./keyboard.ts";
import { hostsChoices, type RunOptions, saidOfPlan } from "./options.ts";
import { type Output, plainOutput } from "./output.ts";
import { leaveUnread } from "./standard-streams.ts";

const forwarded = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

/**
 * A command is run whenever somebody says so, as with docker; a plan, if nothing else is said, only when it has to be.
 *
 * @throws {Failure} `unsupported_host` where it is asked for and cannot be.
 */
function caches({ cache, cacheFrom, cacheTo }: RunOptions, isPlan: boolean): boolean {
  const isWanted = cache ?? (cacheFrom ?? cacheTo) !== undefined;
  // What is in a layer belongs to many users, whom only root can give their files.
  if (isRootless() && isWanted) throw new Failure("unsupported_host", { detail: "the cache needs root" });
  return isWanted || (cache === undefined && isPlan && !isRootless());
}

/** Loaded where it is wanted alone: start-up is most of what a run costs. */
function openStepCache(options: RunOptions, tell: (line: string) => void) {
  return async (run: Run): Promise<StepCache> => {
    const [{ openLayers, openResults, openShared }, { openStepCache }] = await Promise.all([
      import("./results.ts"),
      import("../../executor/cache/step-cache.ts"),
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

/** A plan, as its document or a command line says it. */
export type ToRun = PlanFields & {
  readonly document?: PlanDocument | undefined;
};

interface RunStreams {
  readonly output?: Output | undefined;
  readonly cancelled?: AbortSignal | undefined;
  readonly launched?: SupervisorProcess | undefined;
}

/** Runs it in this process, which gets its signals and its exit code, or has an executor do it. */
export async function run(
  { document, ...plan }: ToRun,
  given: HandlesAndValues,
  options: RunOptions,
  { output = plainOutput, cancelled, launched }: RunStreams = {},
): Promise<void> {
  const said = saidOfPlan(options);
  const described = {
    ...plan,
    ...said,
    registries: [...plan.registries, ...options.registryAuth],
  };
  const { handles, values } = given;
  const executor = options.executor ?? process.env.CLAIMCHECK_EXECUTOR;
  if (executor) {
    const { runtime, userns, seccomp, masking } = options;
    const { audit, cacheFrom, cacheTo } = options;
    const ours = [audit, cacheFrom, cacheTo, ...hostsChoices(said)];
    const isPlain = runtime === "runc" && userns === "own" && seccomp === "strict" && masking;
    if (ours.some((said) => said !== undefined) || !isPlain) {
      throw new Failure("usage", {
        detail:
          "--audit, --on-leak, --cache-from, --cache-to, --tag, --publish, --runtime, --userns, --seccomp and --no-masking are settings of the executor; a job cannot choose them",
      });
    }
    const { runRemotely } = await import("./remote.ts");
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
      masked,
      shortSecrets: options.shortSecrets,
    },
    {
      // Handles that were issued before can only be bound to a key that is kept.
      connect: (signal) => connect({ ...options, keepsProofKey: handles.size > 0 }, process.env, signal),
      values,
      runtime: options.runtime,
      userns: isRootless() ? "host" : options.userns,
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
