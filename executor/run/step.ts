/** One step of a run: its secrets are redeemed, its container runs, its output is masked and passed on. */
import type { Readable, Writable } from "node:stream";
import { Failure } from "../../shared/failure.ts";
import type { Secrets } from "../broker-client/secrets.ts";
import type { CachedResult } from "../cache/entry.ts";
import type { StepCache } from "../cache/step-cache.ts";
import { attend, createContainer, draftContainer, type Sinks } from "../container/container.ts";
import type { SeccompProfile } from "../container/seccomp.ts";
import { sizeOf } from "../container/terminal-size.ts";
import { isRootless } from "../host/rootless.ts";
import type { ImageConfig } from "../image/image.ts";
import { forward, unmasked } from "../output/forward.ts";
import type { Masking } from "../output/masking.ts";
import { bytesSource } from "../output/pipe.ts";
import type { Plan, Step } from "../plan/plan.ts";
import { hastenMove } from "../supervisor/cgroup.ts";
import type { Supervisor } from "../supervisor/supervisor.ts";
import type { Signals } from "./signals.ts";
import { startTimeLimit } from "./time-limit.ts";

/** Whom steps tell, and what they read. Steps are counted from 0 on. */
export interface StepStreams {
  /** What an interactive step reads. */
  readonly openInput: () => Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Asked when a step is about to start; `stdout` and `stderr` without it. */
  readonly sinksOf?: (index: number) => Sinks;
  /** A step's command is about to be run. */
  readonly onStep?: (index: number, name: string | undefined) => void;
  /** It has ended, and all its output has been written. */
  readonly onExit?: (index: number, exitCode: number) => void;
}

interface Parts extends StepStreams {
  readonly plan: Plan;
  readonly masking: Masking;
  readonly signals: Signals;
  readonly tell: (line: string) => void;
}

/** What a step's container is made with. */
interface StepContext {
  readonly secrets: Secrets;
  readonly config: ImageConfig;
  readonly supervisor: Supervisor;
  readonly seccomp: SeccompProfile;
  readonly cache: StepCache | undefined;
  /** Whether the run searches or keeps the files that it leaves, even without a cache. */
  readonly isLookedAt: boolean;
}

interface StepEnd {
  readonly exitCode: number;
  /** All that it printed, where that can be kept. */
  readonly output: Pick<CachedResult, "stdout" | "stderr"> | undefined;
  /** @throws {Failure} `timed_out`, where its time is over meanwhile. */
  readonly checkTime: () => void;
}

const cutShort = () => new Failure("output_failed", { detail: "its reader is gone" });

export const titleOf = ({ steps }: Plan, index: number): string =>
  `step ${index + 1} of ${steps.length}${steps[index]?.name ? ` (${steps[index].name})` : ""}`;

export function createSteps(parts: Parts) {
  const { plan, masking, signals, tell } = parts;
  const screen = () => sizeOf(parts.stdout);

  const sinksOf = (index: number) => parts.sinksOf?.(index) ?? parts;

  function announce(index: number, how = ""): void {
    const { name } = plan.steps[index] as Step;
    parts.onStep?.(index, name === undefined ? undefined : masking.scrubbed(name));
    if (plan.steps.length > 1) tell(`${titleOf(plan, index)}${how}`);
  }

  /** What a step printed when it was run. */
  async function replay(index: number, { stdout, stderr }: CachedResult): Promise<void> {
    announce(index, ", cached");
    const sinks = sinksOf(index);
    const { cut } = signals;
    await Promise.all([
      forward(bytesSource(stdout), unmasked, sinks.stdout, { name: "standard output", cut }),
      forward(bytesSource(stderr), unmasked, sinks.stderr, { name: "standard error", cut }),
    ]);
    if (cut.aborted) throw cutShort();
    parts.onExit?.(index, 0);
  }

  async function perform(index: number, context: StepContext): Promise<StepEnd> {
    const step = plan.steps[index] as Step;
    if (!isRootless()) hastenMove();
    const redeeming = context.secrets.redeem(step);
    const drafting = draftContainer(step, { ...context, index, screen });
    // What is redeemed is wiped in the end: that is not to come first.
    await Promise.allSettled([redeeming, drafting]);
    const [draft] = await Promise.all([drafting, redeeming]);
    let takeBack = (): void => {};
    const limit = startTimeLimit(step.timeout, () => {
      takeBack = signals.expire();
    });
    try {
      const end = await performContainer(step, draft, { ...context, index, limit });
      return { ...end, checkTime: limit.check };
    } catch (thrown) {
      // What went wrong because the time was over is no other failure.
      if (!(thrown instanceof Failure && thrown.code === "output_failed")) limit.check();
      throw thrown;
    } finally {
      limit.stop();
      takeBack();
    }
  }

  async function performContainer(
    step: Step,
    draft: Awaited<ReturnType<typeof draftContainer>>,
    context: StepContext & { readonly index: number; readonly limit: ReturnType<typeof startTimeLimit> },
  ): Promise<Omit<StepEnd, "checkTime">> {
    const { index, limit, secrets, supervisor, cache, isLookedAt } = context;
    const isLast = index === plan.steps.length - 1;
    const resize = () => supervisor.resize(screen());
    if (step.terminal) parts.stdout.on("resize", resize);
    signals.enter("ordered");
    const container = await createContainer(step, draft, { ...context, screen }, secrets);
    masking.learn(secrets);
    announce(index);
    const sinks = sinksOf(index);
    const streams = await container.start();
    signals.enter("running");
    if (isLast && !step.secretInput) secrets.wipe();

    const recording = cache?.record();
    const given = step.secretInput && secrets.valueOf(step.secretInput);
    let wasLate = false;
    const { exitCode, isRead } = await attend(streams, {
      input: step.interactive ? parts.openInput() : given,
      cut: signals.cut,
      scrub: (stream) => recording?.of(masking.stream(), stream) ?? masking.stream(),
      sinks,
      onEnd() {
        signals.enter("between");
        wasLate = limit.isOver();
        parts.stdout.off("resize", resize);
        // Cleaning up takes as long as reading the rest of the output.
        if (isLast && !isLookedAt && !recording) supervisor.abandon();
      },
    });
    if (wasLate || signals.cut.aborted) limit.check();
    // A client that did not get all of the output must not get an exit code.
    if (signals.cut.aborted) throw cutShort();
    parts.onExit?.(index, exitCode);
    // A command that was cut short has no result to keep, even if it exited with 0.
    const isWhole = exitCode === 0 && signals.first() === undefined && isRead;
    return { exitCode, output: isWhole ? recording?.output() : undefined };
  }

  return { replay, perform };
}
