/** What the steps of a run leave behind: searched for values, made a layer each, and an image in the end. */
import { Failure } from "../../shared/failure.ts";
import { exportImage, type ImageLayer } from "../image/export.ts";
import { openLayerStore } from "../layers/layer-store.ts";
import { taking } from "../layers/paced-members.ts";
import { createLeakGuard, type LeakGuard } from "../leaks/leak-guard.ts";
import type { Known } from "../output/masking.ts";
import { makesImage, type Plan } from "../plan/plan.ts";

interface ResultSettings {
  /** Root's folder. */
  readonly state: string;
  /** A folder that goes with the run. */
  readonly scratch: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Takes warnings. */
  readonly tell: (line: string) => void;
}

interface Looking {
  /** Of the step, counted from 0. */
  readonly index: number;
  readonly title: string;
  /** Whether the layer is wanted for anything but the image. */
  readonly isKept: boolean;
  /** Throws when it takes too long. */
  readonly check: () => void;
}

export type RunResult = ReturnType<typeof openResult>;

export function openResult(
  plan: Pick<Plan, "steps" | "onLeak" | "tag" | "publish" | "storage">,
  surroundings: ResultSettings,
) {
  const { steps, onLeak = "fail", tag, publish, storage } = plan;
  const { scratch, tell } = surroundings;
  const store = openLayerStore(`${surroundings.state}/layers`, surroundings);
  const isImage = makesImage(plan);
  /** By the order of the steps; those that were run. */
  const made = new Map<number, ImageLayer>();
  let isSpoilt = false;

  const guardOf = ({ scrubber, names }: Known) =>
    createLeakGuard(scrubber, (value) => names[value] ?? "a token or handle of this run");

  /** @returns what was found, where the run goes on all the same. */
  function judge(guard: LeakGuard, title: string): string {
    const detail = guard.report();
    if (!detail) return "";
    const leak = new Failure("secret_leaked", { detail: steps.length > 1 ? `${title}: ${detail}` : detail });
    if (onLeak === "fail") throw leak;
    tell(leak.toString());
    if (onLeak !== "warn") isSpoilt = true;
    return detail;
  }

  return {
    /**
     * Searches what a step left, and makes it a layer.
     *
     * @param upper the folder with the changes, which nothing changes any more.
     * @returns the digest of the layer, if it is kept. What leaked is not, whatever else is done about it.
     * @throws {Failure} `secret_leaked`, where a leak ends the run.
     */
    async take(
      upper: string,
      known: Known,
      { index, title, isKept, check }: Looking,
    ): Promise<string | undefined> {
      const guard = guardOf(known);
      const changes = taking(guard.watch(store.changes(upper)), check);
      const draft = isImage || isKept ? await store.draft(changes, scratch, storage?.size) : undefined;
      if (!draft) for await (const { content } of changes) for await (const _ of content);
      const goesToStore = judge(guard, title) === "" && isKept;
      if (!draft) return undefined;
      const { layer } = draft;
      if (goesToStore) await draft.keep();
      const archive = goesToStore ? store.archiveOf(layer.digest) : draft.archive;
      made.set(index, { layer, archive, title });
      return goesToStore ? layer.digest : undefined;
    },

    /**
     * After the last step.
     *
     * @param image the id of the one that the first step began with.
     * @param cached digests of the layers of the steps that were not run, which are the first ones.
     */
    async finish(
      image: string,
      known: Known,
      { titles, cached }: { readonly titles: readonly string[]; readonly cached: readonly string[] },
    ): Promise<void> {
      if (isSpoilt) throw new Failure("image_not_made", { detail: "a secret is in it" });
      const layers = await Promise.all(
        titles.map(async (title, index) => made.get(index) ?? (await fromStore(cached[index], title))),
      );
      const check = (configuration: Buffer) => {
        const guard = guardOf(known);
        guard.search(configuration, "the image's configuration");
        judge(guard, "the image");
      };
      await exportImage({ image, layers, tag, publish, check }, surroundings);
    },
  };

  async function fromStore(digest: string | undefined, title: string): Promise<ImageLayer> {
    const layer = digest === undefined ? undefined : await store.find(digest);
    if (!layer) throw new Failure("image_not_made", { detail: `the files of ${title} are gone` });
    return { layer, archive: store.archiveOf(layer.digest), title };
  }
}
