/**
 * A run, step by step: issue, image, then for each step redeem, container, scrub; wipe. The plaintext is here from
 * the redemption until the last container has it, and in the scrubber until the output has ended.
 */
import type { Readable, Writable } from "node:stream";
import type { Secret } from "../shared/secret.ts";
import type { BrokerClient } from "./broker-client.ts";
import { createContainer, feed } from "./container.ts";
import { Failure } from "./failure.ts";
import { prepareImage } from "./image.ts";
import { buildScrubber, forward, unmasked } from "./output.ts";
import { checkLogins, checkStep, type Plan, type Step } from "./plan.ts";
import type { Login } from "./pull.ts";
import { checkRootless, isRootless } from "./rootless.ts";
import { forbidCores, type Supervisor, startSupervisor } from "./runtime/runc.ts";
import { sizeOf } from "./screen.ts";
import type { Scrubber } from "./scrub/scrubber.ts";
import { requestSecrets, type Secrets } from "./secrets.ts";

/** Where a step's output goes. */
export interface Sinks {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

interface Surroundings {
  /** Called at once; the image is made ready meanwhile. */
  readonly connect: (signal: AbortSignal) => Promise<BrokerClient>;
  readonly runtime: string;
  /** This user's folder for what runs and images need. */
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  /** What an interactive step reads. */
  readonly openInput: () => Readable;
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Asked when a step, counted from 1 on, is about to start; `stdout` and `stderr` without it. */
  readonly sinksOf?: (order: number) => Sinks;
  readonly onProgress: (line: string) => void;
  /** A step's command is about to be run; steps are counted from 0. */
  readonly onStep?: (step: number, name: string | undefined) => void;
  /** It has ended, and all its output has been written. */
  readonly onExit?: (step: number, exitCode: number) => void;
  /** What the plan's `value`s stand for; wiped as soon as they are wrapped. */
  readonly values?: ReadonlyMap<string, Secret>;
}

const SIGKILL = 9;

/** Starts the run of a plan. */
export function startRun(plan: Plan, surroundings: Surroundings) {
  const abort = new AbortController();
  const { steps } = plan;
  let supervisor: Supervisor | undefined;
  let secrets: Secrets | undefined;
  let scrubber: Scrubber | undefined;
  /** Whether a command is running. */
  let started = false;
  let signals: number[] = [];
  let interrupted: number | undefined;
  /** What people call the values that the scrubber knows. */
  let names: readonly string[] = [];
  /** Whether anybody looks at what a step left. */
  const isLookedAt = plan.onLeak !== undefined;

  async function open(requested: Promise<Secrets>) {
    const [image] = await Promise.all([
      prepareImage(plan.image, { ...surroundings, signal: abort.signal, logins: () => logIn(requested) }),
      forbidCores(surroundings.environment),
    ]);
    abort.signal.throwIfAborted();
    const opened = startSupervisor({
      ...surroundings,
      runs: `${surroundings.state}/runs`,
      layers: image.layers,
    });
    supervisor = opened;
    await opened.ready();
    return { config: image.config, supervisor: opened };
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
    learn(redeemed);
    return plan.registries.map(({ password, ...rest }) => ({
      ...rest,
      password: redeemed.valueOf(password),
    }));
  }

  /** From here on nothing of what was redeemed is printed. */
  function learn(from: Secrets): Scrubber {
    const learned = buildScrubber(from.known(), from.credentials(), plan.masked ? plan.shortSecrets : "show");
    scrubber?.wipe();
    scrubber = learned;
    names = from.known().map(({ name }) => name);
    return learned;
  }

  async function perform(): Promise<number> {
    for (const step of steps) checkStep(step);
    if (isRootless) checkRootless(plan);
    checkLogins(plan.registries);
    const requesting = request();
    const [opened, requested] = await Promise.all([open(requesting), requesting]);
    for (const [index, step] of steps.entries()) {
      const isLast = index === steps.length - 1;
      const place = { ...opened, secrets: requested, order: index + 1, screen, isLast };
      const exitCode = await performStep(step, place);
      if (isLast && !(isLookedAt && exitCode === 0)) return exitCode;
      if (exitCode !== 0) {
        tell(`${titleOf(step, index)} ended with exit code ${exitCode}`);
        return exitCode;
      }
      if (signals[0] !== undefined && !isLast) return 128 + signals[0];
      const upper = await opened.supervisor.keep();
      if (isLookedAt) await lookAt(upper, step, index);
      if (isLast) return exitCode;
      await opened.supervisor.proceed();
    }
    return 0;
  }

  /** Loaded only where it is needed. */
  async function lookAt(upper: string, step: Step, index: number) {
    const [{ openLayerStore }, { createLeakGuard }, { takeChanges }] = await Promise.all([
      import("./layers/layer-store.ts"),
      import("./leak-guard.ts"),
      import("./changes.ts"),
    ]);
    const title = steps.length > 1 ? `${titleOf(step, index)}: ` : "";
    return await takeChanges(upper, {
      store: openLayerStore(`${surroundings.state}/layers`, surroundings),
      scratch: (supervisor as Supervisor).folder,
      guard: createLeakGuard(
        scrubber as Scrubber,
        (value) => names[value] ?? "a token or handle of this run",
      ),
      onLeak: plan.onLeak ?? "fail",
      isKept: false,
      warn: (line) => tell(`${title}${line}`),
    });
  }

  async function performStep(
    step: Step,
    place: Parameters<typeof createContainer>[1] & { readonly isLast: boolean },
  ): Promise<number> {
    await place.secrets.redeem(step);
    const resize = () => place.supervisor.resize(screen());
    if (step.terminal) surroundings.stdout.on("resize", resize);
    const container = await createContainer(step, place);
    const masking = learn(place.secrets);
    surroundings.onStep?.(place.order - 1, step.name === undefined ? undefined : scrubbed(step.name));
    if (steps.length > 1) tell(titleOf(step, place.order - 1));
    const sinks = surroundings.sinksOf?.(place.order) ?? surroundings;
    const { stdin, stdout, stderr, exited } = await container.start();
    started = true;
    if (place.isLast && !step.secretInput) place.secrets.wipe();

    let late = false;
    const expire = () => {
      late = true;
      place.supervisor.signal(SIGKILL);
    };
    const timer = step.timeout === undefined ? undefined : setTimeout(expire, step.timeout * 1000);
    const input = step.interactive ? surroundings.openInput() : undefined;
    const given = step.secretInput && place.secrets.valueOf(step.secretInput);
    if (stdin) feed(stdin, input ?? given);
    const ended = exited.finally(() => {
      started = false;
      clearTimeout(timer);
      surroundings.stdout.off("resize", resize);
      input?.destroy();
      // Cleaning up takes as long as reading the rest of the output.
      if (place.isLast && !isLookedAt) place.supervisor.abandon();
    });
    const [exitCode] = await Promise.all([
      ended,
      forward(stdout, plan.masked ? masking.stream() : unmasked, sinks.stdout),
      forward(stderr, plan.masked ? masking.stream() : unmasked, sinks.stderr),
    ]);
    if (late) throw new Failure("timed_out", { detail: `${step.timeout} s` });
    surroundings.onExit?.(place.order - 1, exitCode);
    return exitCode;
  }

  async function finish(): Promise<number> {
    try {
      return await perform();
    } catch (thrown) {
      if (interrupted !== undefined) return 128 + interrupted;
      if (thrown instanceof Failure && thrown.detail) thrown.detail = scrubbed(thrown.detail);
      throw thrown;
    } finally {
      abort.abort();
      supervisor?.abandon();
      await supervisor?.gone;
      secrets?.wipe();
      scrubber?.wipe();
      wipeValues();
    }
  }

  function wipeValues(): void {
    for (const value of surroundings.values?.values() ?? []) value.wipe();
  }

  const titleOf = ({ name }: Step, index: number) =>
    `step ${index + 1} of ${steps.length}${name ? ` (${name})` : ""}`;

  const tell = (line: string) => surroundings.onProgress(scrubbed(line));

  const screen = () => sizeOf(surroundings.stdout);

  /** A runtime's words may quote what it was given. */
  function scrubbed(text: string): string {
    if (!scrubber) return text;
    const stream = scrubber.stream();
    return Buffer.concat([stream.push(Buffer.from(text)), stream.end()]).toString();
  }

  return {
    /** The exit code, once nothing of the run is left. */
    finished: finish(),

    /** Ends the run, whatever it is doing. */
    cancel(): void {
      interrupted = SIGKILL;
      abort.abort();
      supervisor?.abandon();
    },

    /**
     * Passes a signal on to the command; the second one kills. Where none is running, the first one ends the run. A
     * further one waits for nobody.
     */
    signal(number: number): void {
      signals = [...signals, number];
      const kills = started ? 3 : 2;
      if (signals.length >= kills) {
        supervisor?.destroy();
      } else if (started) {
        supervisor?.signal(signals.length === 1 ? number : SIGKILL);
      } else {
        interrupted = number;
        abort.abort();
        supervisor?.abandon();
      }
    },
  };
}
