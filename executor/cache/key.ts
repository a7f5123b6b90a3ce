/**
 * What stands for the result of a step in the cache: SHA-256 over the version of this format, the broker, the
 * tenant, what the step starts from, and everything of the step that can change its result. Secrets count by
 * their cache ids, which the broker reckons from their values or from the cache keys that stand for them, and tells in a
 * check alone; the values are not here.
 */
import { createHash } from "node:crypto";
import type { CacheIdOf, Meaning } from "../plan/field.ts";
import type { Plan, Step } from "../plan/plan.ts";
import { planFields, planRowOf } from "../plan/plan-table.ts";
import { rowOf, stepFields } from "../plan/step-table.ts";

/**
 * Another one for a change of what a result depends on, such as the defaults of a container. Results of 1 are never
 * looked for: their receipts named cache ids that handles carried.
 */
const version = "claimcheck-cache/2";

export interface Origin extends Partial<Plan> {
  /** The broker's name for itself. */
  readonly broker: string;
  readonly tenant: string;
  /** The key of the step before; the image's id for the first. */
  readonly parent: string;
  readonly cacheIdOf: CacheIdOf;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** @returns why the result of a step cannot be cached, whatever it is. */
export function obstacleOf(plan: Plan, step: Step): string | undefined {
  const reasons = [
    ...planFields.map((field) => obstacle(planRowOf(field).cache, plan[field])),
    ...stepFields.map((field) => obstacle(rowOf(field).cache, step[field])),
  ];
  return reasons.find((reason) => typeof reason === "string");
}

/** What a plan says of all its steps, and what can change their results. */
export const countedOf = (plan: Plan): Partial<Plan> =>
  Object.fromEntries(
    planFields
      .filter((field) => planRowOf(field).cache === "counts" && plan[field] !== undefined)
      .map((field) => [field, plan[field]]),
  );

/** @returns 64 digits in hex. */
export function keyOfStep(step: Step, { cacheIdOf, ...origin }: Origin): string {
  const counted = stepFields.map((field) => [field, counts(rowOf(field).cache, step[field], cacheIdOf)]);
  const text = JSON.stringify([version, origin, Object.fromEntries(counted)], sorted);
  return sha256(text);
}

const obstacle = (cache: Meaning<unknown>, value: unknown) =>
  typeof cache === "object" && "forbids" in cache && cache.forbids(value);

function counts(cache: Meaning<unknown>, value: unknown, cacheIdOf: CacheIdOf): unknown {
  if (cache === "counts") return value;
  return typeof cache === "object" && "counts" in cache ? cache.counts(value, cacheIdOf) : undefined;
}

/** For JSON.stringify: one spelling for an object, in whatever order its fields were put in. */
function sorted(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
