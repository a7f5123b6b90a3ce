/** How plans name secrets: by a URI, a handle, or the name of a value that goes beside the plan. */
import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { Failure } from "../../shared/failure.ts";
import { takeCacheKey } from "../../shared/uri.ts";
import type { SecretSource } from "./plan.ts";

const word = z.string().check(z.minLength(1));

const handle = () =>
  described(
    word,
    "A handle that was issued before: a compact JWS, or the name of one that is given beside the plan.",
  );

const value = () =>
  described(word, "The name of a value that is given beside the plan, and wrapped at the broker.");

const cacheKey = () => described(word, "The name that stands for the value in caches.");

export const SecretReference = () =>
  z.union(
    [
      word,
      z.strictObject({ uri: word, cacheKey: cacheKey() }),
      z.strictObject({ handle: handle() }),
      z.strictObject({ value: value() }),
    ],
    { error: "write a URI, { uri: …, cacheKey: … }, { handle: … } or { value: … }" },
  );

export type SecretReference = z.infer<ReturnType<typeof SecretReference>>;

/** The same among the members of a secret file. */
export const referenceMembers = () => ({
  uri: z.optional(
    described(word, "The secret's URI, with ?cacheKey= if wanted; or write handle or value instead."),
  ),
  cacheKey: z.optional(cacheKey()),
  handle: z.optional(handle()),
  value: z.optional(value()),
});

/** In the place of one that is at fault. */
export const noSource: SecretSource = { value: "" };

export const sourceOf = (reference: SecretReference): SecretSource =>
  typeof reference === "string" ? takeCacheKey(reference) : reference;

/** The other way. */
export function referenceTo(source: SecretSource): SecretReference {
  if (!("uri" in source)) return source;
  const { uri, cacheKey } = source;
  return cacheKey === undefined ? uri : { uri, cacheKey };
}

interface Members {
  readonly uri?: string | undefined;
  readonly cacheKey?: string | undefined;
  readonly handle?: string | undefined;
  readonly value?: string | undefined;
}

/** @throws {Failure} `usage` where not exactly one secret is named. */
export function sourceOfFile(path: string, { uri, cacheKey, handle, value }: Members): SecretSource {
  if (cacheKey !== undefined && uri === undefined) {
    throw new Failure("usage", { detail: `the secret file ${path} has a cacheKey for no uri` });
  }
  const given: SecretReference[] = [
    ...(uri === undefined ? [] : [cacheKey === undefined ? uri : { uri, cacheKey }]),
    ...(handle === undefined ? [] : [{ handle }]),
    ...(value === undefined ? [] : [{ value }]),
  ];
  const [only] = given;
  if (only !== undefined && given.length === 1) return sourceOf(only);
  throw new Failure("usage", { detail: `the secret file ${path} needs one of uri, handle and value` });
}

/** The other way. */
export function membersTo(source: SecretSource) {
  const reference = referenceTo(source);
  return typeof reference === "string" ? { uri: reference } : reference;
}
