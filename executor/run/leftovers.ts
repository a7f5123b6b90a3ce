/**
 * What the steps of a run leave on the image, layer by layer: taken from the cache or from a container, searched, kept, put
 * where the next container finds it, and made an image in the end.
 */
import type { Secrets } from "../broker-client/secrets.ts";
import type { CachedResult } from "../cache/entry.ts";
import type { StepCache } from "../cache/step-cache.ts";
import type { Masking } from "../output/masking.ts";
import { keepsFiles, makesImage, type Plan } from "../plan/plan.ts";
import type { Supervisor } from "../supervisor/supervisor.ts";
import type { RunResult } from "./result.ts";
import { titleOf } from "./step.ts";

interface Parts {
  readonly plan: Plan;
  /** This user's folder for what runs and images need. */
  readonly state: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly masking: Masking;
  readonly tell: (line: string) => void;
}

interface Left {
  readonly supervisor: Supervisor;
  readonly secrets: Secrets;
  readonly cache: StepCache | undefined;
  /** What the step printed, where that can be kept. */
  readonly output: Pick<CachedResult, "stdout" | "stderr"> | undefined;
  readonly checkTime: () => void;
}

export function createLeftovers({ plan, state, environment, signal, masking, tell }: Parts) {
  /** What lies on the image, where all of it is kept. */
  let layers: readonly string[] | undefined = [];
  /** How much of it the next container would find. */
  let stacked = 0;
  let cached: readonly string[] = [];
  let result: RunResult | undefined;
  const isLookedAt = keepsFiles(plan);

  /** Few runs need it. */
  async function openRunResult({ folder }: Supervisor): Promise<RunResult> {
    const { openResult } = await import("./result.ts");
    result ??= openResult(plan, { state, environment, signal, tell, scratch: folder });
    return result;
  }

  /** @returns the digest of the layer, if one is kept. */
  async function lookAt(index: number, upper: string, { supervisor, secrets, output, checkTime }: Left) {
    const title = titleOf(plan, index);
    const opened = await openRunResult(supervisor);
    try {
      const how = { index, title, isKept: output !== undefined, check: checkTime };
      return await opened.take(upper, masking.known(secrets), how);
    } catch (thrown) {
      const { code = "internal" } = thrown as NodeJS.ErrnoException;
      // Where only the cache wants it, a run goes on without it.
      if (isLookedAt || code === "secret_leaked" || code === "timed_out") throw thrown;
      signal.throwIfAborted();
      tell(`${title}: not kept (${code})`);
      return undefined;
    }
  }

  return {
    /** Whether the run looks at the files that its steps leave, even without a cache. */
    isLookedAt,

    /** The layers that the next step would find on the image; undefined where they are not known. */
    layers: (): readonly string[] | undefined => layers,

    /** These steps need not be run. */
    took(taken: readonly CachedResult[]): void {
      layers = taken.at(-1)?.layers ?? layers;
      cached = taken.at(-1)?.layers ?? cached;
    },

    /** Before a step is run: puts what the steps before it left where its container finds it. */
    async stack(supervisor: Supervisor, index: number): Promise<void> {
      for (const layer of layers?.slice(stacked) ?? []) {
        const { openLayerStore } = await import("../layers/layer-store.ts");
        const store = openLayerStore(`${state}/layers`, { environment });
        await supervisor.put(await store.unpacked(layer, supervisor.folder));
      }
      stacked = index;
    },

    /** After a step that succeeded. */
    async keep(index: number, left: Left): Promise<void> {
      const { supervisor, output, cache } = left;
      const upper = await supervisor.keep();
      const layer = output || isLookedAt ? await lookAt(index, upper, left) : undefined;
      layers = layer && layers ? [...layers, layer] : undefined;
      if (output && layer) await cache?.keep(index, { ...output, layers: layers ?? [] });
      if (index < plan.steps.length - 1) await supervisor.proceed();
      stacked = index + 1;
    },

    /** After the last step. @param open called where an image is made. */
    async finish(image: string, secrets: Secrets, open: () => Promise<Supervisor>): Promise<void> {
      if (!makesImage(plan)) return;
      const opened = await openRunResult(await open());
      const titles = plan.steps.map((_, index) => titleOf(plan, index));
      await opened.finish(image, masking.known(secrets), { titles, cached });
    },
  };
}
