/**
 * Two schemes whose patterns need care, because the text of a URI is not what the secret is:
 *
 *   - cmd:// is a program. A rule that allows one names it byte for byte; a wildcard would allow any other.
 *   - op:// names alias ids and ignore case, so text that differs can be the same secret. A rule that denies pins
 *     1Password's ids, and denies names in the pinned places too: any of them may stand for the pinned one.
 */
import { compileGlob, type Glob, matches, overlaps, type Pattern } from "./glob.ts";

/** A pattern over URIs, as a rule has it. */
export interface SecretPattern {
  readonly glob: Glob;
  /** What every URI that it matches begins with. */
  readonly prefix: string;
  matches(uri: string): boolean;
}

const anyCommand = compileGlob("cmd://**");
const onePassword = "op://";
const anyOnePassword = compileGlob(`${onePassword}**`);
const id = /^[a-z2-7]{26}$/;
const pinned = /^op:\/\/(?:(?:[a-z2-7]{26}|\*)\/){0,2}\*\*$/;

export function compileSecret(pattern: Pattern, effect: "allow" | "deny"): SecretPattern {
  const glob = compileGlob(pattern);
  const text = typeof pattern === "string" ? pattern : pattern.exact;
  if (effect === "deny" && text.startsWith(onePassword)) {
    const places = text.slice(onePassword.length).split("/");
    return { glob, prefix: onePassword, matches: (uri) => mayBePinned(places, uri) };
  }
  return { glob, prefix: glob.prefix, matches: (uri) => matches(glob, uri) };
}

function mayBePinned(places: readonly string[], uri: string): boolean {
  const segments = uri.slice(onePassword.length).split("/");
  return places.every((place, index) => {
    const segment = segments[index];
    if (segment === undefined) return place === "**";
    return place.startsWith("*") || segment === place || !id.test(segment);
  });
}

/** What is wrong with a pattern in a rule of this effect. */
export function faultOf(pattern: Pattern, effect: "allow" | "deny"): string | undefined {
  const glob = compileGlob(pattern);
  if (effect === "allow" && !glob.exact && overlaps(glob, anyCommand)) {
    return "would allow commands that it does not spell out: a cmd:// rule is exact, written { exact: cmd://… }; for other schemes begin with theirs, such as vault://**";
  }
  const text = typeof pattern === "string" ? pattern : pattern.exact;
  if (effect === "deny" && overlaps(glob, anyOnePassword) && text !== "**" && !pinned.test(text)) {
    return "denies op:// by a name, which the same secret can be had around: pin ids, op://VAULT-ID/ITEM-ID/** (* for any)";
  }
  return undefined;
}
