/**
 * A run, step by step: issue, image, then for each step redeem, container, scrub; wipe. The plaintext is here from
 * the redemption until the last container has it, and in the scrubber until the output has ended.
 */
import type { Readable, Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import type { BrokerClient } from "../broker-client/client.ts";
import { requestSecrets, type Secrets } from "../broker-client/secrets.ts";
import type { Result } from "../cache/entry.ts";
import type { Run, StepCache } from "../cache/step-cache.ts";
import { attend, createContainer, draftContainer, type Sinks } from "../container/container.ts";
import type { SeccompProfile } from "../container/seccomp.ts";
import { sizeOf } from "../container/terminal-size.ts";
import { checkRootless, isRootless } from "../host/rootless.ts";
import { type Image, prepareImage } from "../image/image.ts";
import type { Login } from "../image/pull.ts";
import { identityOf } from "../layers/folder-identity.ts";
import { forward, unmasked } from "../output/forward.ts";
import { createMasking } from "../output/masking.ts";
import { bytesSource } from "../output/pipe.ts";
import { checkPlan } from "../plan/check.ts";
import { checkStack } from "../plan/limits.ts";
import { keepsFiles, makesImage, type Plan, type Step } from "../plan/plan.ts";
import { hastenMove } from "../supervisor/cgroup.ts";
import {
  type ContainerUsers,
  forbidCores,
  type Supervisor,
  type SupervisorSettings,
} from "../supervisor/supervisor.ts";
import type { RunResult } from "./result.ts";
import { startTimeLimit, type TimeLimit } from "./time-limit.ts";

interface Surroundings {
  /** Called at once; the image is made ready meanwhile. */
  readonly connect: (signal: AbortSignal) => Promise<BrokerClient>;
  readonly runtime: string;
  /** Whose the users of containers are; without root always the host's. */
  readonly userns: ContainerUsers;
  /** The system calls that containers may make. */
  readonly seccomp: SeccompProfile;
  /** This user's folder for what runs and images need. */
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where plans are other people's: throws where the image is none that they may run (image.ts). */
  readonly admit?: (names: readonly string[]) => void;
  /** What an interactive step reads. */
  readonly openInput: () => Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Has a supervisor; called once, if at all. */
  readonly supervise: (settings: SupervisorSettings) => Supervisor;
  /** Asked when a step, counted from 1 on, is about to start; `stdout` and `stderr` without it. */
  readonly sinksOf?: (order: number) => Sinks;
  readonly onProgress: (line: string) => void;
  /** An image was pulled, and the storage has grown. */
  readonly onPulled?: () => void;
  /** Where results may be kept and taken from. */
  readonly openCache?: (run: Run) => Promise<StepCache>;
  /** A step's command is about to be run; steps are counted from 0. */
  readonly onStep?: (step: number, name: string | undefined) => void;
  /** It has ended, and all its output has been written. */
  readonly onExit?: (step: number, exitCode: number) => void;
  /** What the plan's `value`s stand for; wiped as soon as they are wrapped. */
  readonly values?: ReadonlyMap<string, Secret>;
}

const SIGKILL = 9;

/** For a command that was killed to be gone, and for its output to be read, in milliseconds. */
const lastWords = 5_000;

const cutShort = () => new Failure("output_failed", { detail: "its reader is gone" });

/** Starts the run of a plan. */
export function startRun(plan: Plan, surroundings: Surroundings) {
  const abort = new AbortController();
  /** Whoever reads the output is not waited for any more. */
  const cut = new AbortController();
  const { steps } = plan;
  let supervisor: Supervisor | undefined;
  let secrets: Secrets | undefined;
  let cache: StepCache | undefined;
  /** Whether a container is being made. */
  let isOrdered = false;
  /** Whether a command is running. */
  let started = false;
  /** The present step's. */
  let clock: TimeLimit | undefined;
  let last: NodeJS.Timeout | undefined;
  let signals: number[] = [];
  let interrupted: number | undefined;
  const masking = createMasking(plan);
  const isLookedAt = keepsFiles(plan);

  async function prepare(requested: Promise<Secrets>): Promise<Image> {
    const [image] = await Promise.all([
      prepareImage(plan.image, { ...surroundings, signal: abort.signal, logins: () => logIn(requested) }),
      forbidCores(surroundings.environment),
    ]);
    checkStack(image.layers, steps.length);
    return image;
  }

  async function open(image: Image) {
    abort.signal.throwIfAborted();
    const { state, runtime, userns, environment, supervise } = surroundings;
    const opened = supervise({ runtime, userns, environment, runs: `${state}/runs`, layers: image.layers });
    supervisor = opened;
    await opened.ready();
    const { seccomp } = surroundings;
    return { image: image.id, config: image.config, supervisor: opened, seccomp };
  }

  async function request() {
    const connect = () => surroundings.connect(abort.signal);
    secrets = await requestSecrets(plan, connect, surroundings.values).finally(wipeValues);
    return secrets;
  }

  /** Only where an image has to be pulled is anything redeemed for it. */
  async function logIn(requested: Promise<Secrets>): Promise<Login[]> {
    const redeemed = await requested;
    await redeemed.redeemLogins();
    masking.learn(redeemed);
    return plan.registries.map(({ password, ...rest }) => ({
      ...rest,
      password: redeemed.valueOf(password),
    }));
  }

  async function perform(): Promise<number> {
    checkPlan(plan);
    if (isRootless) checkRootless(plan);
    const requesting = request();
    const preparing = prepare(requesting);
    // With a cache it is not known yet whether a container is needed.
    const opening = surroundings.openCache ? undefined : preparing.then(open);
    const [image, requested, early] = await Promise.all([preparing, requesting, opening]);
    const identity = identityOf(image.layers);
    const { signal } = abort;
    cache = await surroundings.openCache?.({ plan, image: image.id, secrets: requested, signal, tell });
    let opened = early;
    let left: RunResult | undefined;
    /** What lies on the image, where all of it is kept; and how much of it the next container would find. */
    let layers: readonly string[] | undefined = [];
    let stacked = 0;
    let cached: readonly string[] = [];
    for (let index = 0; index < steps.length; index++) {
      let taken: readonly Result[] = [];
      do {
        taken = (await cache?.take({ index, layers })) ?? [];
        for (const result of taken) await replay(result, index++);
        layers = taken.at(-1)?.layers ?? layers;
        cached = taken.at(-1)?.layers ?? cached;
      } while (taken.length > 0 && index < steps.length);
      const step = steps[index];
      if (!step) break;
      opened ??= await open(image);
      for (const layer of layers?.slice(stacked) ?? []) await putLayer(layer, opened.supervisor);
      stacked = index;
      const isLast = index === steps.length - 1;
      const place = { ...opened, secrets: requested, order: index + 1, screen, isLast };
      const { exitCode, output } = await performStep(step, place);
      // podman and buildah remove it under a run, which then finds only a part of its files.
      if (identityOf(image.layers) !== identity) {
        throw new Failure("image_unavailable", {
          detail: `${plan.image} was removed from this host while the run used it; run it again`,
        });
      }
      if (isLast && !(output || (isLookedAt && exitCode === 0))) return exitCode;
      if (exitCode !== 0) {
        tell(`${titleOf(step, index)} ended with exit code ${exitCode}`);
        return exitCode;
      }
      if (signals[0] !== undefined && !isLast) return 128 + signals[0];
      const upper = await opened.supervisor.keep();
      if (output || isLookedAt) {
        left ??= await openRunResult(opened.supervisor);
        const layer = await lookAt(upper, left, { index, isKept: output !== undefined });
        layers = layer && layers ? [...layers, layer] : undefined;
        if (output && layer) await cache?.keep(index, { ...output, layers: layers ?? [] });
      } else {
        layers = undefined;
      }
      if (!isLast) await opened.supervisor.proceed();
      stacked = index + 1;
    }
    if (makesImage(plan)) {
      opened ??= await open(image);
      left ??= await openRunResult(opened.supervisor);
      const titles = steps.map((step, index) => titleOf(step, index));
      await left.finish(image.id, masking.known(requested), { titles, cached });
    }
    return 0;
  }

  /** What a step printed when it was run. */
  async function replay({ stdout, stderr }: Result, index: number): Promise<void> {
    const step = steps[index] as Step;
    surroundings.onStep?.(index, nameOf(step));
    if (steps.length > 1) tell(`${titleOf(step, index)}, cached`);
    const sinks = surroundings.sinksOf?.(index + 1) ?? surroundings;
    await Promise.all([
      forward(bytesSource(stdout), unmasked, sinks.stdout, { name: "standard output", cut: cut.signal }),
      forward(bytesSource(stderr), unmasked, sinks.stderr, { name: "standard error", cut: cut.signal }),
    ]);
    if (cut.signal.aborted) throw cutShort();
    surroundings.onExit?.(index, 0);
  }

  /** What a step left when it was run. */
  async function putLayer(layer: string, into: Supervisor): Promise<void> {
    const { openLayerStore } = await import("../layers/layer-store.ts");
    const store = openLayerStore(`${surroundings.state}/layers`, surroundings);
    await into.put(await store.unpacked(layer, into.folder));
  }

  /** @returns the digest of the layer, if one is kept. */
  async function lookAt(upper: string, left: RunResult, how: { index: number; isKept: boolean }) {
    const title = titleOf(steps[how.index] as Step, how.index);
    try {
      const check = () => clock?.check();
      return await left.take(upper, masking.known(secrets as Secrets), { ...how, title, check });
    } catch (thrown) {
      const { code = "internal" } = thrown as NodeJS.ErrnoException;
      // Where only the cache wants it, a run goes on without it.
      if (isLookedAt || code === "secret_leaked" || code === "timed_out") throw thrown;
      abort.signal.throwIfAborted();
      tell(`${title}: not kept (${code})`);
      return undefined;
    }
  }

  /** Few runs need it. */
  async function openRunResult({ folder }: Supervisor): Promise<RunResult> {
    const { openResult } = await import("./result.ts");
    return openResult(plan, { ...surroundings, scratch: folder, signal: abort.signal, tell });
  }

  async function performStep(
    step: Step,
    place: Parameters<typeof draftContainer>[1] & { readonly secrets: Secrets; readonly isLast: boolean },
  ) {
    if (!isRootless) hastenMove();
    const redeeming = place.secrets.redeem(step);
    const drafting = draftContainer(step, place);
    // What is redeemed is wiped in the end: that is not to come first.
    await Promise.allSettled([redeeming, drafting]);
    const [draft] = await Promise.all([drafting, redeeming]);
    const limit = startTimeLimit(step.timeout, expire);
    clock = limit;
    try {
      return await performContainer(step, draft, place);
    } catch (thrown) {
      // What went wrong because the time was over is no other failure.
      if (!(thrown instanceof Failure && thrown.code === "output_failed")) limit.check();
      throw thrown;
    } finally {
      limit.stop();
      clearTimeout(last);
    }
  }

  async function performContainer(
    step: Step,
    draft: Awaited<ReturnType<typeof draftContainer>>,
    place: Parameters<typeof draftContainer>[1] & { readonly secrets: Secrets; readonly isLast: boolean },
  ) {
    const resize = () => place.supervisor.resize(screen());
    if (step.terminal) surroundings.stdout.on("resize", resize);
    isOrdered = true;
    const container = await createContainer(step, draft, place, place.secrets);
    masking.learn(place.secrets);
    surroundings.onStep?.(place.order - 1, nameOf(step));
    if (steps.length > 1) tell(titleOf(step, place.order - 1));
    const sinks = surroundings.sinksOf?.(place.order) ?? surroundings;
    const streams = await container.start();
    isOrdered = false;
    started = true;
    if (place.isLast && !step.secretInput) place.secrets.wipe();

    const recording = cache?.record();
    const given = step.secretInput && place.secrets.valueOf(step.secretInput);
    let wasLate = false;
    const { exitCode, isRead } = await attend(streams, {
      input: step.interactive ? surroundings.openInput() : given,
      cut: cut.signal,
      scrub: (stream) => recording?.of(masking.stream(), stream) ?? masking.stream(),
      sinks,
      onEnd() {
        started = false;
        wasLate = clock?.isOver() ?? false;
        surroundings.stdout.off("resize", resize);
        // Cleaning up takes as long as reading the rest of the output.
        if (place.isLast && !isLookedAt && !recording) place.supervisor.abandon();
      },
    });
    if (wasLate || cut.signal.aborted) clock?.check();
    // Its exit code is no answer to whoever has not got its output.
    if (cut.signal.aborted) throw cutShort();
    surroundings.onExit?.(place.order - 1, exitCode);
    // What somebody cut short is no result, whatever the command made of it.
    const isWhole = exitCode === 0 && signals.length === 0 && isRead;
    return { exitCode, output: isWhole ? recording?.output() : undefined };
  }

  /** The time of a step is over. */
  function expire(): void {
    if (started) supervisor?.signal(SIGKILL);
    // It takes its cgroups and its folder along, unless it hangs itself.
    else if (isOrdered) supervisor?.abandon();
    last = setTimeout(() => {
      if (started || isOrdered) supervisor?.destroy();
      cut.abort();
    }, lastWords);
  }

  function wipeValues(): void {
    for (const value of surroundings.values?.values() ?? []) value.wipe();
  }

  const nameOf = ({ name }: Step) => (name === undefined ? undefined : masking.scrubbed(name));

  const titleOf = ({ name }: Step, index: number) =>
    `step ${index + 1} of ${steps.length}${name ? ` (${name})` : ""}`;

  const tell = (line: string) => surroundings.onProgress(masking.scrubbed(line));

  const screen = () => sizeOf(surroundings.stdout);

  const result = perform().catch((thrown) => {
    if (interrupted !== undefined) return 128 + interrupted;
    if (thrown instanceof Failure) thrown.rewrite(masking.scrubbed);
    throw thrown;
  });

  const finished = result.finally(async () => {
    await cache?.close();
    abort.abort();
    supervisor?.abandon();
    await supervisor?.gone;
    secrets?.wipe();
    masking.wipe();
    wipeValues();
  });

  return {
    /** The exit code, once the last command's processes have ended and all output has been written. */
    result,

    /** The same, once nothing of the run is left. */
    finished,

    /** Whether the run ended without waiting for whoever reads its output: they may never read. */
    isCut: (): boolean => cut.signal.aborted,

    /** Ends the run, whatever it is doing. */
    cancel(): void {
      interrupted = SIGKILL;
      abort.abort();
      supervisor?.abandon();
      cut.abort();
    },

    /**
     * Passes a signal on to the command; the second one kills. Where none is running, the first one ends the run. A
     * further one waits for nobody.
     */
    signal(number: number): void {
      signals = [...signals, number];
      const kills = started ? 3 : 2;
      if (signals.length >= kills) {
        interrupted ??= number;
        supervisor?.destroy();
        cut.abort();
      } else if (started) {
        supervisor?.signal(signals.length === 1 ? number : SIGKILL);
      } else {
        interrupted = number;
        abort.abort();
        supervisor?.abandon();
        cut.abort();
      }
    },
  };
}
