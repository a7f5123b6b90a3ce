/**
 * What AWS's schemes ask of patterns. A version of a secret has an id, labels and no name at all where it is the current
 * one, and the source's own region has no name either. So a rule that denies a secret denies it in all of them, and a rule
 * that denies one field denies the secret as a whole too.
 */
import { compileGlob, matches, type Pattern } from "../../shared/glob.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";

export function awsPatterns(scheme: string): PatternDemands {
  return {
    scheme,
    aliased: true,

    faultOf({ pattern, prefix }, effect) {
      if (effect === "allow" || !prefix.startsWith(`${scheme}://`)) return undefined;
      const { query, name } = split(pattern);
      const isClear =
        query === undefined ? !/\*.*\b(field|version|stage|region)=/s.test(textOf(name)) : isField(query);
      if (isClear) return undefined;
      return `denies ${scheme}:// in one version, stage or region, but the same secret has others: write ${scheme}://NAME, or ${scheme}://NAME?field=FIELD for one field`;
    },

    denial(glob) {
      const { name, query } = split(glob.pattern);
      const names = compileGlob(name);
      const fields = query !== undefined && isField(query) ? compileGlob(fieldIn(query)) : undefined;
      return (uri) => {
        if (matches(glob, uri)) return true;
        const { text, field } = parts(uri);
        return matches(names, text) && (!fields || field === undefined || matches(fields, field));
      };
    },
  };
}

const textOf = (pattern: Pattern) => (typeof pattern === "string" ? pattern : pattern.exact);
const like = (pattern: Pattern, text: string): Pattern =>
  typeof pattern === "string" ? text : { exact: text };

interface Split {
  readonly name: Pattern;
  /** Missing where the pattern has none. */
  readonly query?: Pattern;
}

function split(pattern: Pattern): Split {
  const text = textOf(pattern);
  const at = text.indexOf("?");
  if (at < 0) return { name: pattern };
  return { name: like(pattern, text.slice(0, at)), query: like(pattern, text.slice(at + 1)) };
}

const isField = (query: Pattern) => /^field=[^?&]+$/.test(textOf(query));
const fieldIn = (query: Pattern) => like(query, textOf(query).slice("field=".length));

/** In a canonical URI the field comes last. */
function parts(uri: string): { readonly text: string; readonly field: string | undefined } {
  return { text: uri.replace(/\?.*$/s, ""), field: /[?&]field=([^&]*)$/s.exec(uri)?.[1] };
}
