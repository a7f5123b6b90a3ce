/**
 * What stands for the result of a step in the cache: SHA-256 over the version of this format, the broker, the
 * tenant, what the step starts from, and everything of the step that can change its result. Secrets count by
 * their cache ids, which the broker reckons from their values or from the cache keys that stand for them, and tells in a
 * check alone; the values are not here.
 */
import { createHash } from "node:crypto";
import type { Plan, SecretSource, Step } from "../plan/plan.ts";

/**
 * Another one for a change of what a result depends on, such as the defaults of a container. Results of 1 are never
 * looked for: their receipts named cache ids that handles carried.
 */
const version = "claimcheck-cache/2";

export interface Origin {
  /** The broker's name for itself. */
  readonly broker: string;
  readonly tenant: string;
  /** The key of the step before; the image's id for the first. */
  readonly parent: string;
  /** What the plan says of all steps, and what can change their results. */
  readonly storage?: Plan["storage"];
  readonly cacheIdOf: (source: SecretSource) => string;
}

interface Meaning<Value> {
  /** What of it can change the result, as JSON. */
  readonly counts: (value: Value, cacheIdOf: Origin["cacheIdOf"]) => unknown;
  /** Why such a step cannot be cached. */
  readonly forbids?: (value: Value) => string | false;
}

const sha256 = (bytes: string | Uint8Array) => createHash("sha256").update(bytes).digest("hex");

const asItIs: Meaning<unknown> = { counts: (value) => value };
const nothing: Meaning<unknown> = { counts: () => undefined };

const secrets: Meaning<readonly { readonly source: SecretSource }[]> = {
  counts: (all, cacheIdOf) => all.map(({ source, ...how }) => ({ ...how, cacheId: cacheIdOf(source) })),
};

/** Every field of a step is here, or this does not compile. */
const meanings: { readonly [Field in keyof Required<Step>]: Meaning<Step[Field]> } = {
  name: nothing,
  args: asItIs,
  entrypoint: asItIs,
  env: asItIs,
  user: asItIs,
  workdir: asItIs,
  files: {
    counts: (files) =>
      files.map(({ content, ...how }) => ({ ...how, ...(content && { content: sha256(content) }) })),
  },
  network: asItIs,
  memory: asItIs,
  cpus: asItIs,
  pidsLimit: asItIs,
  timeout: asItIs,
  readOnly: asItIs,
  init: asItIs,
  secretVariables: secrets,
  secretFiles: secrets,
  secretInput: { counts: (source, cacheIdOf) => source && cacheIdOf(source) },
  binds: { ...nothing, forbids: ({ length }) => length > 0 && "it shares files of this host" },
  interactive: { ...nothing, forbids: (is) => is && "it reads standard input" },
  terminal: { ...nothing, forbids: (is) => is && "it runs in a terminal" },
};

/** The same for what a plan says of all its steps. */
const planMeanings: { readonly [Field in keyof Required<Plan>]: Meaning<Plan[Field]> } = {
  image: nothing, // By its id, as the parent.
  registries: nothing, // Where the image came from.
  steps: nothing,
  hash: nothing, // Handles for one plan are refused in another, cached or not.
  masked: { ...nothing, forbids: (is) => !is && "its output is not masked" },
  shortSecrets: { ...nothing, forbids: (what) => what === "show" && "it may show short secrets" },
  onLeak: nothing, // What leaked is not kept, whatever else is done about it.
  tag: nothing,
  publish: nothing,
  storage: nothing, // With the origin.
};

const fields = Object.keys(meanings) as (keyof Step)[];
const planFields = Object.keys(planMeanings) as (keyof Plan)[];

/** @returns why the result of a step cannot be cached, whatever it is. */
export function obstacleOf(plan: Plan, step: Step): string | undefined {
  const reasons = [
    ...planFields.map((field) => (planMeanings[field] as Meaning<unknown>).forbids?.(plan[field])),
    ...fields.map((field) => (meanings[field] as Meaning<unknown>).forbids?.(step[field])),
  ];
  return reasons.find((reason) => typeof reason === "string") || undefined;
}

/** @returns 64 digits in hex. */
export function keyOfStep(step: Step, { cacheIdOf, ...origin }: Origin): string {
  const counted = fields.map((field) => [
    field,
    (meanings[field] as Meaning<unknown>).counts(step[field], cacheIdOf),
  ]);
  const text = JSON.stringify([version, origin, Object.fromEntries(counted)], sorted);
  return sha256(text);
}

/** For JSON.stringify: one spelling for an object, in whatever order its fields were put in. */
function sorted(_: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
