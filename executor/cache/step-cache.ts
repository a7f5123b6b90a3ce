/**
 * The cache as one run sees it. The broker is asked first, and says what stands for the secrets; from that the keys are
 * made, and under them results are looked for. A step whose result is not there is run by one run on this host at a time, and the
 * others wait and take what it made. What goes wrong with the cache alone costs the run nothing but time.
 */

import { Failure } from "../../shared/failure.ts";
import type { Membership } from "../broker-client/client.ts";
import type { Secrets } from "../broker-client/secrets.ts";
import { makesImage, type Plan, type SecretSource, type Step, secretsOf } from "../plan/plan.ts";
import type { CachedResult } from "./entry.ts";
import type { KeptLayers } from "./kept-layers.ts";
import { countedOf, keyOfStep, obstacleOf } from "./key.ts";
import { prune } from "./pruning.ts";
import { createRecording } from "./recording.ts";
import type { SharedResults } from "./shared-results.ts";
import type { CacheStore, Lease } from "./store.ts";

export interface Run {
  readonly plan: Plan;
  /** The image's id. */
  readonly image: string;
  readonly secrets: Secrets;
  /** Ends waiting for others. */
  readonly signal: AbortSignal;
  readonly tell: (line: string) => void;
}

interface StepCacheSettings {
  readonly store: CacheStore;
  /** Of all results on this host, in bytes. */
  readonly sizeLimit: number;
  readonly layers: KeptLayers;
  /** Where executors share results. */
  readonly shared?: SharedResults;
  /** Whether it was asked for, and not only usual. */
  readonly explains: boolean;
}

/** Of a step among the others. */
export interface StepPosition {
  readonly index: number;
  /** The layers that it would find on the image; undefined where they are not known. */
  readonly layers: readonly string[] | undefined;
}

export type StepCache = ReturnType<typeof openStepCache>;

export function openStepCache(
  { store, layers: keptLayers, shared, sizeLimit, explains }: StepCacheSettings,
  run: Run,
) {
  const { plan, image, secrets, signal, tell } = run;
  const obstacles = plan.steps.map((step) => obstacleOf(plan, step));
  const first = obstacles.findIndex((obstacle) => obstacle !== undefined);
  /** Behind a step that cannot be cached nobody knows what the next one starts from. */
  const cacheable = first < 0 ? plan.steps.length : first;
  let lease: { readonly key: string; readonly held: Lease } | undefined;
  let membership: Membership | undefined;
  let isExplained = !explains;
  const usesSecrets = plan.steps.some((step) => secretsOf(step).length > 0);
  let broken = false;

  if (explains && first >= 0) tell(`not cached, because ${obstacles[first]}`);

  const unnamedIn = (step: Step) =>
    secretsOf(step).find(({ source }) => secrets.cacheIdOf(source) === undefined);

  /**
   * By what the broker said of the handles as they are now: those that expire are asked for again, and may stand for other
   * values. Up to the first step with a secret that has no id.
   */
  function keys(): string[] {
    const made: string[] = [];
    for (const step of plan.steps.slice(0, cacheable)) {
      if (!membership || unnamedIn(step)) break;
      const cacheIdOf = (source: SecretSource) => secrets.cacheIdOf(source) as string;
      const origin = { ...membership, parent: made.at(-1) ?? image, ...countedOf(plan) };
      made.push(keyOfStep(step, { ...origin, cacheIdOf }));
    }
    return made;
  }

  /** The keys from this step on, as the broker has just confirmed them. */
  async function ask(from: number): Promise<string[]> {
    // The keys of those before it are part of its own.
    const asked = plan.steps.slice(membership ? from : 0, cacheable);
    membership = await secrets.check(asked);
    const [barred] = asked.flatMap((step) => unnamedIn(step) ?? []);
    if (barred && !isExplained) tell(`not cached, because the policy says "cache: never" for ${barred.name}`);
    isExplained ||= barred !== undefined;
    return keys().slice(from);
  }

  /** The results that are there, up to the first that is not. */
  async function look(wanted: readonly string[]): Promise<CachedResult[]> {
    const results: CachedResult[] = [];
    for (const key of wanted) {
      const result = await store.find(key);
      if (!result) break;
      results.push(result);
    }
    return results;
  }

  /** Behind the last of them either nothing is run, or what is run finds the files that it and those before it left. */
  async function usable(
    results: readonly CachedResult[],
    { index, layers: below }: StepPosition,
  ): Promise<CachedResult[]> {
    if (index + results.length === plan.steps.length && !makesImage(plan)) return [...results];
    for (let count = results.length; count > 0; count--) {
      const { layers } = results[count - 1] as CachedResult;
      const fits = layers.length === index + count && below?.every((each, depth) => each === layers[depth]);
      if (fits && (await areReady(layers))) return results.slice(0, count);
    }
    return [];
  }

  async function areReady(layers: readonly string[]): Promise<boolean> {
    for (const digest of layers) if (!(await keptLayers.use(digest))) return false;
    return true;
  }

  async function release(): Promise<void> {
    const before = lease;
    lease = undefined;
    await before?.held.release();
  }

  async function take(place: StepPosition): Promise<CachedResult[]> {
    const from = place.index;
    const wanted = from < cacheable ? await ask(from) : [];
    const [next] = wanted;
    if (next === undefined) {
      await release();
      return [];
    }
    const there = await usable(await look(wanted), place);
    if (there.length > 0) {
      await release();
      return there;
    }
    const onWait = () => tell("waiting for another run of the same step");
    const held = await store.claim(next, signal, onWait);
    await release();
    lease = { key: next, held };
    let results = await usable(await look(wanted), place);
    if (results.length === 0 && (await receive(from, next)))
      results = await usable(await look(wanted), place);
    if (results.length === 0) return [];
    await release();
    // Meanwhile somebody may have revoked a handle, or one may have expired.
    const now = await ask(from);
    return results.every((_, index) => now[index] === wanted[index]) ? results : take(place);
  }

  /** Has the store have what another executor made. */
  async function receive(index: number, key: string): Promise<boolean> {
    const made = plan.steps.slice(0, index + 1);
    const isLast = made.length === plan.steps.length;
    const believe = (receipt: string) => secrets.readReceipt(receipt, made, key);
    const result = await shared?.fetch(key, believe, !isLast || makesImage(plan));
    if (result) await lease?.held.put(result);
    return result !== undefined;
  }

  async function share(index: number, key: string, result: CachedResult): Promise<void> {
    const made = plan.steps.slice(0, index + 1);
    await shared?.push(key, result, (manifest) =>
      secrets.attest(made, { key, manifest }).catch((failure: Failure) => {
        tell(`the result was not shared (${failure.code})`);
        return undefined;
      }),
    );
  }

  /**
   * Without the cache a run goes on, also where the policy has no word for it; without the broker's yes to its secrets it
   * does not.
   */
  async function survive<T>(what: () => Promise<T>, otherwise: T): Promise<T> {
    if (broken) return otherwise;
    try {
      return await what();
    } catch (thrown) {
      const { code = "internal" } = thrown as NodeJS.ErrnoException;
      const isRefusal = usesSecrets && thrown instanceof Failure && code !== "forbidden";
      if (signal.aborted || isRefusal) throw thrown;
      broken = true;
      tell(`the run continues without the cache (${code})`);
      return otherwise;
    }
  }

  return {
    /** The results of the next step and the ones after it, as many as are there: they need not be run. */
    take: (next: StepPosition): Promise<CachedResult[]> => survive(() => take(next), []),

    /** For the output of a step that could not be taken; undefined when its result cannot be kept. */
    record: () => (lease && !broken ? createRecording() : undefined),

    /** Keeps the result of the step that could not be taken. */
    keep: (index: number, result: Omit<CachedResult, "image">): Promise<void> =>
      survive(async () => {
        const key = keys()[index];
        if (key === undefined || lease?.key !== key) return;
        await lease.held.put({ ...result, image: plan.image });
        await share(index, key, { ...result, image: plan.image });
      }, undefined),

    /** Lets others make what this run has not made, and makes room. */
    async close(): Promise<void> {
      const made = lease !== undefined;
      // Whatever goes wrong here, the run is over.
      await release().catch(() => {});
      if (made) await prune({ store, layers: keptLayers }, sizeLimit).catch(() => {});
    },
  };
}
