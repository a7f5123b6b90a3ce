/**
 * Conditions over a token's claims. All of them have to hold; of several patterns for one claim, one has to.
 * A claim is text, a number or a truth value; of a list, one member has to match.
 */
import { compileGlob, covers, type Glob, matches, overlaps, type Pattern } from "../../shared/glob.ts";

export type Claims = Readonly<Record<string, unknown>>;

/**
 * Claims from their JSON. A number that a double cannot hold is kept as its digits: rounded, two of them would be the
 * same principal, tenant or repository.
 *
 * @throws where it is no JSON object.
 */
export function readClaims(text: string): Record<string, unknown> {
  const claims: unknown = JSON.parse(text, (_, value: unknown, context?: { readonly source?: string }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    if (context?.source !== undefined) return context.source;
    throw new Error("before Node.js 21 the digits of this number are lost");
  });
  if (typeof claims === "object" && claims !== null && !Array.isArray(claims)) return { ...claims };
  throw new Error("claims are no JSON object");
}

/** As it stands in the file; nested where the claim is, as Kubernetes' are. */
export interface Who {
  readonly [claim: string]: Pattern | readonly Pattern[] | Who;
}

/** One claim, and what it may be. */
export interface Condition {
  readonly path: readonly string[];
  /** The path as one text, to compare it by. */
  readonly claim: string;
  readonly globs: readonly Glob[];
}

export function compileWho(who: Who, within: readonly string[] = []): Condition[] {
  return Object.entries(who).flatMap(([name, value]) => {
    const path = [...within, name];
    const claim = path.join("\0");
    if (isPattern(value)) return [{ path, claim, globs: [compileGlob(value)] }];
    if (Array.isArray(value)) return [{ path, claim, globs: value.map(compileGlob) }];
    return compileWho(value as Who, path);
  });
}

const isPattern = (value: unknown): value is Pattern =>
  typeof value === "string" ||
  (typeof value === "object" && value !== null && typeof (value as { exact?: unknown }).exact === "string");

function find(claims: Claims, path: readonly string[]): unknown {
  let value: unknown = claims;
  for (const name of path) {
    // A claim named `constructor` is not there because every object has one.
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Claims)[name];
  }
  return value;
}

const textsOf = (value: unknown): readonly string[] =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean" ? [String(value)] : [];

/** A claim's values as texts; none where it is not there or is no text. */
export function valuesOf(claims: Claims, path: readonly string[]): readonly string[] {
  const value = find(claims, path);
  return Array.isArray(value) ? value.flatMap(textsOf) : textsOf(value);
}

export function holds({ path, globs }: Condition, claims: Claims): boolean {
  return valuesOf(claims, path).some((value) => globs.some((glob) => matches(glob, value)));
}

/** Like `holds`, but a list never does: two of its members could belong to two tenants. */
export function holdsAlone({ path, globs }: Condition, claims: Claims): boolean {
  return textsOf(find(claims, path)).some((value) => globs.some((glob) => matches(glob, value)));
}

/** Whether everybody who fulfils `narrow` fulfils `wide`. */
export function coversWho(wide: readonly Condition[], narrow: readonly Condition[]): boolean {
  return wide.every(({ claim, globs }) => {
    const same = narrow.find((condition) => condition.claim === claim);
    return same?.globs.every((inner) => globs.some((outer) => covers(outer, inner))) ?? false;
  });
}

/** Whether nobody whose claims are no lists can fulfil both. */
export function excludes(a: readonly Condition[], b: readonly Condition[]): boolean {
  return a.some(({ claim, globs }) => {
    const same = b.find((condition) => condition.claim === claim);
    return same !== undefined && !globs.some((left) => same.globs.some((right) => overlaps(left, right)));
  });
}
