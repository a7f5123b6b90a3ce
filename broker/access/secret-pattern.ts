/**
 * Patterns over URIs. Of most schemes the text of a URI is what counts; the others say in their own files what they
 * ask of a pattern.
 */
import { commandPatterns } from "../providers/cmd.ts";
import { onePasswordPatterns } from "../providers/op.ts";
import { compileGlob, type Glob, matches, overlaps, type Pattern } from "./glob.ts";

const demanding = [commandPatterns, onePasswordPatterns].map((demands) => {
  const prefix = `${demands.scheme}://`;
  return { ...demands, prefix, all: compileGlob(`${prefix}**`) };
});

/** A pattern over URIs, as a rule has it. */
export interface SecretPattern {
  readonly glob: Glob;
  /** What every URI that it matches begins with. */
  readonly prefix: string;
  matches(uri: string): boolean;
}

export function compileSecret(pattern: Pattern, effect: "allow" | "deny"): SecretPattern {
  const glob = compileGlob(pattern);
  if (effect === "deny") {
    const text = typeof pattern === "string" ? pattern : pattern.exact;
    const scheme = demanding.find(({ prefix }) => text.startsWith(prefix));
    if (scheme?.denial) return { glob, prefix: scheme.prefix, matches: scheme.denial(text) };
  }
  return { glob, prefix: glob.prefix, matches: (uri) => matches(glob, uri) };
}

/** What is wrong with a pattern in a rule of this effect. */
export function faultOf(pattern: Pattern, effect: "allow" | "deny"): string | undefined {
  const glob = compileGlob(pattern);
  const faults = demanding.map(({ all, ...demands }) =>
    overlaps(glob, all) ? demands.faultOf(glob, effect) : undefined,
  );
  return faults.find((fault) => fault !== undefined);
}
