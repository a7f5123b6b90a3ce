/**
 * Patterns over URIs. Of most schemes the text of a URI is what counts; what the others ask of a pattern is handed in,
 * so that the policy knows no provider.
 */
import { compileGlob, type Glob, matches, overlaps, type Pattern } from "../../shared/glob.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import type { Sourced } from "../../shared/source-name.ts";

/** A pattern over URIs, as a rule has it. */
export interface SecretPattern {
  /** Over URIs without their source. */
  readonly glob: Glob;
  /** Over names of sources; about every source where it is missing. */
  readonly source?: Glob;
  /** What every URI that it matches begins with. */
  readonly prefix: string;
  /** What every URI that it matches ends with. */
  readonly suffix: string;
  matches(uri: Sourced): boolean;
}

const textOf = (pattern: Pattern) => (typeof pattern === "string" ? pattern : pattern.exact);

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

  const isVerbatim = (pattern: Pattern) =>
    demanding.some(({ verbatim, prefix }) => verbatim && textOf(pattern).startsWith(prefix));

  /** A pattern may end in the source that it is about, where `*` is any text. */
  function splitPattern(pattern: Pattern): { readonly pattern: Pattern; readonly source?: Pattern } {
    const text = textOf(pattern);
    const found = isVerbatim(pattern) ? null : /[?&]source=([a-z0-9*-]+)$/.exec(text);
    if (!found) return { pattern };
    const [before, source] = [text.slice(0, found.index), found[1] as string];
    return typeof pattern === "string"
      ? { pattern: before, source }
      : { pattern: { exact: before }, source: { exact: source } };
  }

  return {
    compile(pattern, effect) {
      const split = splitPattern(pattern);
      const glob = compileGlob(split.pattern);
      const source = split.source === undefined ? undefined : compileGlob(split.source);
      // Of a URI whose source nobody knows, a denial of any source is a denial.
      const from = ({ source: named }: Sourced) =>
        source === undefined || (named === undefined ? effect === "deny" : matches(source, named));
      const own = { glob, ...(source && { source }) };
      if (effect === "allow") {
        return {
          ...own,
          prefix: glob.prefix,
          suffix: glob.tail,
          matches: (uri) => from(uri) && matches(glob, uri.text),
        };
      }
      const denials = demanding.flatMap(({ prefix, any, denial }) =>
        denial && overlaps(glob, any) ? [{ prefix, denies: denial(glob) }] : [],
      );
      return {
        ...own,
        // Names stand for ids, wherever in the URI these are.
        prefix:
          demanding.find(({ aliased, prefix }) => aliased && glob.prefix.startsWith(prefix))?.prefix ??
          glob.prefix,
        // What a scheme denies beside the text of the pattern can end in any way.
        suffix: denials.length > 0 ? "" : glob.tail,
        matches(uri) {
          if (!from(uri)) return false;
          const scheme = denials.find(({ prefix }) => uri.text.startsWith(prefix));
          return scheme ? scheme.denies(uri.text) : matches(glob, uri.text);
        },
      };
    },

    faultOf(pattern, effect) {
      const { pattern: text } = splitPattern(pattern);
      const glob = compileGlob(text);
      if (/[?&]source=/.test(textOf(text)) && !isVerbatim(text)) {
        return `has "source=" where no URI has it: a pattern ends in ?source=NAME, or in &source=NAME after other parameters`;
      }
      const faults = demanding.map(({ any, ...demands }) =>
        overlaps(glob, any) ? demands.faultOf?.(glob, effect) : undefined,
      );
      return faults.find((fault) => fault !== undefined);
    },
  };
}
