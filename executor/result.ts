/** What the steps of a run leave behind: searched for values, made a layer each, and an image in the end. */
import { Failure } from "./failure.ts";
import { type Draft, openLayerStore } from "./layers/layer-store.ts";
import { createLeakGuard, type LeakGuard } from "./leak-guard.ts";
import type { Plan } from "./plan.ts";
import { type ImageLayer, makeImage } from "./result-image.ts";
import type { Scrubber } from "./scrub/scrubber.ts";

interface Surroundings {
  /** Root's folder. */
  readonly state: string;
  /** A folder that goes with the run. */
  readonly scratch: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Takes warnings. */
  readonly tell: (line: string) => void;
}

/** The values that a run knows, and what people call them. */
export interface Known {
  readonly scrubber: Scrubber;
  readonly names: readonly string[];
}

export type Result = ReturnType<typeof openResult>;

export function openResult(
  { steps, onLeak = "fail", tag, publish }: Pick<Plan, "steps" | "onLeak" | "tag" | "publish">,
  surroundings: Surroundings,
) {
  const { scratch, tell } = surroundings;
  const store = openLayerStore(`${surroundings.state}/layers`, surroundings);
  const isImage = tag !== undefined || publish !== undefined;
  const layers: ImageLayer[] = [];
  let isSpoilt = false;

  const guardOf = ({ scrubber, names }: Known) =>
    createLeakGuard(scrubber, (value) => names[value] ?? "a token or handle of this run");

  /** @returns whether what was searched may be kept. */
  function decide(guard: LeakGuard, title: string): boolean {
    const detail = guard.report();
    if (!detail) return true;
    const leak = new Failure("secret_leaked", { detail: steps.length > 1 ? `${title}: ${detail}` : detail });
    if (onLeak === "fail") throw leak;
    tell(leak.toString());
    return onLeak === "warn";
  }

  return {
    store,

    /**
     * Searches what a step left, and makes it a layer.
     *
     * @param upper the folder with the changes, which nothing changes any more.
     * @param isKept whether the layer is wanted for anything but the image.
     * @returns the layer, if it is wanted and may be kept.
     * @throws {Failure} `secret_leaked`, where a leak ends the run.
     */
    async take(upper: string, known: Known, title: string, isKept = false): Promise<Draft | undefined> {
      const guard = guardOf(known);
      const changes = guard.watch(store.changes(upper));
      const draft = isImage || isKept ? await store.draft(changes, scratch) : undefined;
      if (!draft) for await (const { content } of changes) for await (const _ of content);
      if (!decide(guard, title)) {
        isSpoilt = true;
        return undefined;
      }
      if (draft) layers.push({ layer: draft.layer, archive: draft.archive, title });
      return draft;
    },

    /** After the last step. @param image the id of the one that the first step began with. */
    async finish(image: string, known: Known): Promise<void> {
      if (!isImage) return;
      if (isSpoilt) throw new Failure("image_not_made", { detail: "a secret is in it" });
      const check = (configuration: Buffer) => {
        const guard = guardOf(known);
        guard.search(configuration, "the image's configuration");
        decide(guard, "the image");
      };
      await makeImage({ image, layers, tag, publish, check }, surroundings);
    },
  };
}
