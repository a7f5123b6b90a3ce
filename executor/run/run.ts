/**
 * A run, step by step: issue, image, then for each step redeem, container, scrub; wipe. The plaintext is here from
 * the redemption until the last container has it, and in the scrubber until the output has ended.
 */
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import type { BrokerClient } from "../broker-client/client.ts";
import { requestSecrets, type Secrets } from "../broker-client/secrets.ts";
import type { Run, StepCache } from "../cache/step-cache.ts";
import type { SeccompProfile } from "../container/seccomp.ts";
import { checkRootless, isRootless } from "../host/rootless.ts";
import { type Image, prepareImage } from "../image/image.ts";
import type { Login } from "../image/pull.ts";
import { identityOf } from "../layers/folder-identity.ts";
import { createMasking } from "../output/masking.ts";
import { checkPlan } from "../plan/check.ts";
import { checkStack } from "../plan/limits.ts";
import type { Plan } from "../plan/plan.ts";
import { usualInodes } from "../plan/storage.ts";
import { forbidCores } from "../supervisor/launch.ts";
import type { ContainerUsers, Supervisor, SupervisorSettings } from "../supervisor/supervisor.ts";
import { createLeftovers } from "./leftovers.ts";
import { createSignals } from "./signals.ts";
import { createSteps, type StepStreams, titleOf } from "./step.ts";

export interface RunSettings extends StepStreams {
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
  /** Has a supervisor; called once, if at all. */
  readonly supervise: (settings: SupervisorSettings) => Supervisor;
  readonly onProgress: (line: string) => void;
  /** An image was pulled, and the storage has grown. */
  readonly onPulled?: () => void;
  /** Where results may be kept and taken from. */
  readonly openCache?: (run: Run) => Promise<StepCache>;
  /** What the plan's `value`s stand for; wiped as soon as they are wrapped. */
  readonly values?: ReadonlyMap<string, Secret>;
}

/** Starts the run of a plan. */
export function startRun(plan: Plan, settings: RunSettings) {
  const { state, environment } = settings;
  const signals = createSignals();
  const signal = signals.stopped;
  const masking = createMasking(plan);
  const tell = (line: string) => settings.onProgress(masking.scrubbed(line));
  const steps = createSteps({ ...settings, plan, masking, signals, tell });
  const leftovers = createLeftovers({ plan, state, environment, signal, masking, tell });
  let supervisor: Supervisor | undefined;
  let secrets: Secrets | undefined;
  let cache: StepCache | undefined;

  async function prepare(requested: Promise<Secrets>): Promise<Image> {
    const [image] = await Promise.all([
      prepareImage(plan.image, { ...settings, signal, logins: () => logIn(requested) }),
      forbidCores(environment),
    ]);
    checkStack(image.layers, plan.steps.length);
    return image;
  }

  async function open({ layers }: Image): Promise<Supervisor> {
    if (supervisor) return supervisor;
    signal.throwIfAborted();
    const { runtime, userns, supervise } = settings;
    const opened = supervise({
      ...{ runtime, userns, environment, runs: `${state}/runs`, layers },
      ...(plan.storage && { storage: { inodes: usualInodes(plan.storage.size), ...plan.storage } }),
    });
    supervisor = opened;
    signals.attach(opened);
    await opened.ready();
    return opened;
  }

  async function request(): Promise<Secrets> {
    const connect = () => settings.connect(signal);
    secrets = await requestSecrets(plan, connect, settings.values).finally(wipeValues);
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
    if (isRootless()) checkRootless(plan);
    const requesting = request();
    const preparing = prepare(requesting);
    // With a cache it is not known yet whether a container is needed.
    const opening = settings.openCache ? undefined : preparing.then(open);
    const [image, requested] = await Promise.all([preparing, requesting, opening]);
    const identity = identityOf(image.layers);
    cache = await settings.openCache?.({ plan, image: image.id, secrets: requested, signal, tell });
    for (let index = 0; index < plan.steps.length; ) {
      const taken = (await cache?.take({ index, layers: leftovers.layers() })) ?? [];
      leftovers.took(taken);
      for (const result of taken) await steps.replay(index++, result);
      if (taken.length > 0) continue;
      const ended = await performStep(index, image, requested);
      // podman and buildah remove it under a run, which then finds only a part of its files.
      if (identityOf(image.layers) !== identity) {
        throw new Failure("image_unavailable", {
          detail: `${plan.image} was removed from this host while the run used it; run it again`,
        });
      }
      const exitCode = await goOn(index++, ended, requested);
      if (exitCode !== undefined) return exitCode;
    }
    await leftovers.finish(image.id, requested, () => open(image));
    return 0;
  }

  async function performStep(index: number, image: Image, requested: Secrets) {
    const opened = await open(image);
    await leftovers.stack(opened, index);
    return steps.perform(index, {
      ...{ secrets: requested, config: image.config, supervisor: opened, seccomp: settings.seccomp },
      ...{ cache, isLookedAt: leftovers.isLookedAt },
    });
  }

  /** @returns the run's exit code, where this step was the last one or the run ends with it. */
  async function goOn(
    index: number,
    { exitCode, ...ended }: Awaited<ReturnType<typeof performStep>>,
    requested: Secrets,
  ): Promise<number | undefined> {
    const isLast = index === plan.steps.length - 1;
    if (isLast && !(ended.output || (leftovers.isLookedAt && exitCode === 0))) return exitCode;
    if (exitCode !== 0) {
      tell(`${titleOf(plan, index)} ended with exit code ${exitCode}`);
      return exitCode;
    }
    const first = signals.first();
    if (first !== undefined && !isLast) return 128 + first;
    const context = { supervisor: supervisor as Supervisor, secrets: requested, cache };
    await leftovers.keep(index, { ...ended, ...context });
    return undefined;
  }

  function wipeValues(): void {
    for (const value of settings.values?.values() ?? []) value.wipe();
  }

  const result = perform().catch((thrown) => {
    const interruption = signals.interruption();
    if (interruption !== undefined) return 128 + interruption;
    if (thrown instanceof Failure) thrown.rewrite(masking.scrubbed);
    throw thrown;
  });

  const finished = result.finally(async () => {
    await cache?.close();
    signals.stop();
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
    isCut: (): boolean => signals.cut.aborted,

    cancel: signals.cancel,
    signal: signals.signal,
  };
}
