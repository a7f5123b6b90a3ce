/**
 * Patterns over URIs. Of most schemes the text of a URI is what counts; what the others ask of a pattern is handed in,
 * so that the policy knows no provider.
 */
import { compileGlob, type Glob, matches, overlaps, type Pattern } from "../../shared/glob.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";

/** A pattern over URIs, as a rule has it. */
export interface SecretPattern {
  readonly glob: Glob;
  /** What every URI that it matches begins with. */
  readonly prefix: string;
  /** What every URI that it matches ends with. */
  readonly suffix: string;
  matches(uri: string): boolean;
}

/** How patterns over the URIs of all schemes are read. */
export interface SecretPatterns {
  compile(pattern: Pattern, effect: "allow" | "deny"): SecretPattern;

  /** What is wrong with a pattern in a rule of this effect. */
  faultOf(pattern: Pattern, effect: "allow" | "deny"): string | undefined;
}

export function createSecretPatterns(all: readonly PatternDemands[]): SecretPatterns {
  const demanding = all.map((demands) => {
    const prefix = `${demands.scheme}://`;
    return { ...demands, prefix, any: compileGlob(`${prefix}**`) };
  });

  return {
    compile(pattern, effect) {
      const glob = compileGlob(pattern);
      if (effect === "allow") {
        return { glob, prefix: glob.prefix, suffix: glob.tail, matches: (uri) => matches(glob, uri) };
      }
      const denials = demanding.flatMap(({ prefix, any, denial }) =>
        denial && overlaps(glob, any) ? [{ prefix, denies: denial(glob) }] : [],
      );
      return {
        glob,
        // Names stand for ids, wherever in the URI these are.
        prefix:
          demanding.find(({ aliased, prefix }) => aliased && glob.prefix.startsWith(prefix))?.prefix ??
          glob.prefix,
        // What a scheme denies beside the text of the pattern can end in any way.
        suffix: denials.length > 0 ? "" : glob.tail,
        matches(uri) {
          const own = denials.find(({ prefix }) => uri.startsWith(prefix));
          return own ? own.denies(uri) : matches(glob, uri);
        },
      };
    },

    faultOf(pattern, effect) {
      const glob = compileGlob(pattern);
      const faults = demanding.map(({ any, ...demands }) =>
        overlaps(glob, any) ? demands.faultOf?.(glob, effect) : undefined,
      );
      return faults.find((fault) => fault !== undefined);
    },
  };
}
