/**
 * Tokens that name a key: whoever sends one has to prove by that key. The issuer's own signature ties the two together,
 * in one of these claims:
 *
 *     aud      BROKER#jkt=THUMBPRINT, where the job chooses what its token is for (GitHub, Buildkite, Kubernetes)
 *     cnf.jkt  THUMBPRINT, as RFC 9449 has it
 */
import { peekPayload } from "./jws-peek.ts";
import { isSealed } from "./sealed-token.ts";

const mark = "#jkt=";
const thumbprintForm = /^[A-Za-z0-9_-]{43}$/;

/** What a token is to be asked for. */
export const boundAudience = (audience: string, jkt: string): string => `${audience}${mark}${jkt}`;

interface TokenClaims {
  readonly aud?: unknown;
  readonly cnf?: unknown;
}

/**
 * @returns the thumbprint of the key that a token names; undefined where it names none.
 * @throws where it names several, or one in a form that nobody here understands.
 */
export function keyOf({ aud, cnf }: TokenClaims, audience: string): string | undefined {
  const audiences = (Array.isArray(aud) ? aud : [aud]).filter((each) => typeof each === "string");
  const prefix = boundAudience(audience, "");
  const named = new Set<unknown>(
    audiences.filter((each) => each.startsWith(prefix)).map((each) => each.slice(prefix.length)),
  );
  if (cnf !== undefined) named.add((cnf as { jkt?: unknown } | null)?.jkt);
  const [jkt] = named;
  if (named.size === 0) return undefined;
  if (named.size === 1 && typeof jkt === "string" && thumbprintForm.test(jkt)) return jkt;
  throw new Error("the token names several keys, or one in an unknown form");
}

/** Whether a token of ours looks as if it named a key, or is sealed with one; the broker decides. */
export function namesKey(token: string): boolean {
  if (isSealed(token)) return true;
  try {
    const { aud, cnf } = peekPayload(token);
    return cnf !== undefined || [aud].flat().some((each) => String(each).includes(mark));
  } catch {
    return false;
  }
}
