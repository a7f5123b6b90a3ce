/**
 * A run, step by step: issue, image, redeem, container, scrub, wipe. The plaintext is here from the redemption
 * until the configuration is written, and in the scrubber until the output has ended.
 */
import type { Writable } from "node:stream";
import type { BrokerClient } from "./broker-client.ts";
import { injectVariables } from "./bundle.ts";
import { Failure } from "./failure.ts";
import { prepareImage } from "./image.ts";
import { buildScrubber, forward, unmasked } from "./output.ts";
import type { Plan } from "./plan.ts";
import { type Container, forbidCores, startContainer } from "./runtime/runc.ts";
import type { Scrubber } from "./scrub/scrubber.ts";
import { createSpec } from "./spec.ts";

interface Surroundings {
  /** Called at once; the image is made ready meanwhile. */
  readonly connect: (signal: AbortSignal) => Promise<BrokerClient>;
  readonly runtime: string;
  /** Root's folder for what runs and images need. */
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly onProgress: (line: string) => void;
}

const SIGKILL = 9;

/** Starts the run of a plan. */
export function startRun(plan: Plan, surroundings: Surroundings) {
  const abort = new AbortController();
  let container: Container | undefined;
  let started = false;
  let signals = 0;
  let interrupted: number | undefined;
  let scrubber: Scrubber | undefined;

  async function open() {
    const [image] = await Promise.all([
      prepareImage(plan.image, { ...surroundings, signal: abort.signal }),
      forbidCores(surroundings.environment),
    ]);
    abort.signal.throwIfAborted();
    const opened = startContainer({ ...surroundings, runs: `${surroundings.state}/runs`, image: image.path });
    container = opened;
    const output = await opened.ready;
    return { image, opened, output };
  }

  async function grant() {
    const { secretVariables } = plan.step;
    if (secretVariables.length === 0) return { credentials: () => [], redeem: async () => [] };
    const broker = await surroundings.connect(abort.signal);
    const handles = await broker.issue(secretVariables);
    return {
      /** Worth as much as a secret to whoever reads them in a log. */
      credentials: () => [...broker.sentTokens(), ...handles.map(({ handle }) => handle)],
      redeem: () => broker.redeem(handles, { masked: plan.masked }),
    };
  }

  async function perform(): Promise<number> {
    const [{ image, opened, output }, { credentials, redeem }] = await Promise.all([open(), grant()]);
    const spec = createSpec(plan.step, image, opened.id);
    const redeemed = await redeem();
    try {
      const variables = plan.step.secretVariables.map(({ name }, index) => {
        const value = redeemed[index]?.value;
        if (!value) throw new Failure("internal");
        return { name, value };
      });
      scrubber = buildScrubber(variables, credentials(), plan.masked ? plan.shortSecrets : "show");
      await opened.run(injectVariables(spec, variables));
    } finally {
      for (const { value } of redeemed) value.wipe();
    }
    started = true;

    const [exitCode] = await Promise.all([
      opened.exited,
      forward(output.stdout, plan.masked ? scrubber.stream() : unmasked, surroundings.stdout),
      forward(output.stderr, plan.masked ? scrubber.stream() : unmasked, surroundings.stderr),
    ]);
    return exitCode;
  }

  async function finish(): Promise<number> {
    try {
      return await perform();
    } catch (thrown) {
      if (interrupted !== undefined) return 128 + interrupted;
      if (scrubber && thrown instanceof Failure) scrubDetail(thrown, scrubber);
      throw thrown;
    } finally {
      abort.abort();
      container?.abandon();
      await container?.gone;
      scrubber?.wipe();
    }
  }

  return {
    /** The exit code, once nothing of the run is left. */
    finished: finish(),

    /**
     * Passes a signal on to the container; the second one kills. Before there is a container the first one ends the
     * run. A further one waits for nobody.
     */
    signal(number: number): void {
      signals += 1;
      const kills = started ? 3 : 2;
      if (signals >= kills) {
        container?.destroy();
      } else if (started) {
        container?.signal(signals === 1 ? number : SIGKILL);
      } else {
        interrupted = number;
        abort.abort();
        container?.abandon();
      }
    },
  };
}

/** A runtime's words may quote what it was given. */
function scrubDetail(failure: Failure, scrubber: Scrubber): void {
  if (!failure.detail) return;
  const stream = scrubber.stream();
  failure.detail = Buffer.concat([stream.push(Buffer.from(failure.detail)), stream.end()]).toString();
}
