/**
 * Patterns over canonical URIs, claims and cache keys:
 *
 *     *     any text without "/" and "#"
 *     **    any text
 *
 * Everything else stands for itself, and there is no escape: a text with a star in it is given as `exact`.
 * Requesters choose the texts, so matching takes time in proportion to pattern times text, never more.
 */
import { printable } from "./printable.ts";

export type Pattern = string | { readonly exact: string };

/** For people to read. */
export const showPattern = (pattern: Pattern): string =>
  printable(typeof pattern === "string" ? pattern : `exactly ${pattern.exact}`);

export interface Glob {
  readonly pattern: Pattern;
  /** The text before the first wildcard; all of it where there is none. */
  readonly prefix: string;
  /** Whether `prefix` is the one text that matches. */
  readonly exact: boolean;
  /** The text after the last wildcard; all of it where there is none. */
  readonly tail: string;
  /** One of the texts that match, in which no wildcard stands for anything that a pattern is likely to name. */
  readonly sample: string;
  /** What stands between the wildcards, with the kind of the wildcard before it. */
  readonly rest: readonly { readonly deep: boolean; readonly literal: string }[];
}

const separator = /[/#]/g;
/** No character at all (Unicode, section 23.7). */
const unlikely = "\uffff";

export function compileGlob(pattern: Pattern): Glob {
  if (typeof pattern !== "string") {
    const text = pattern.exact;
    return { pattern, prefix: text, exact: true, tail: text, sample: text, rest: [] };
  }
  const [prefix = "", ...parts] = pattern.split(/(\*+)/);
  const rest = [];
  for (let at = 0; at < parts.length; at += 2) {
    rest.push({ deep: (parts[at] as string).length > 1, literal: parts[at + 1] as string });
  }
  const sample = prefix + rest.map(({ literal }) => `${unlikely}${literal}`).join("");
  return { pattern, prefix, exact: rest.length === 0, tail: rest.at(-1)?.literal ?? prefix, sample, rest };
}

export function matches({ prefix, exact, rest }: Glob, text: string): boolean {
  if (exact) return text === prefix;
  if (!text.startsWith(prefix)) return false;
  const last = rest.length - 1;
  // Every place, ascending, up to which the pattern's parts so far can have matched.
  let ends = [prefix.length];
  for (let index = 0; index < last; index += 1) {
    const { deep, literal } = rest[index] as Glob["rest"][number];
    ends = deep ? after(text, literal, ends[0] as number, text.length) : afterShallow(text, literal, ends);
    if (ends.length === 0) return false;
  }
  const { deep, literal } = rest[last] as Glob["rest"][number];
  const tail = text.length - literal.length;
  if (!text.endsWith(literal)) return false;
  if (deep) return (ends[0] as number) <= tail;
  const before = text.slice(0, tail);
  const free = Math.max(before.lastIndexOf("/"), before.lastIndexOf("#")) + 1;
  return ends.some((end) => end >= free && end <= tail);
}

/** Where occurrences of a literal end that begin in `from..to`. */
function after(text: string, literal: string, from: number, to: number): number[] {
  const ends: number[] = [];
  for (let at = text.indexOf(literal, from); at >= 0 && at <= to; at = text.indexOf(literal, at + 1)) {
    ends.push(at + literal.length);
  }
  return ends;
}

function afterShallow(text: string, literal: string, starts: readonly number[]): number[] {
  const ends: number[] = [];
  let searched = 0;
  for (const start of starts) {
    separator.lastIndex = start;
    const wall = separator.exec(text)?.index ?? text.length;
    for (const end of after(text, literal, Math.max(start, searched), wall)) ends.push(end);
    searched = Math.max(searched, wall + 1);
  }
  return ends;
}

const shallow = -1;
const deep = -2;
/** Stands for all characters that neither pattern names. */
const other = -3;

/** A glob as an automaton: state i is before symbol i, and a wildcard's state is its own successor. */
function symbols(glob: Glob): number[] {
  const codes = (text: string) => Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  return [
    ...codes(glob.prefix),
    ...glob.rest.flatMap((part) => [part.deep ? deep : shallow, ...codes(part.literal)]),
  ];
}

const accepts = (symbol: number | undefined, code: number) =>
  symbol === deep || (symbol === shallow ? code !== 0x2f && code !== 0x23 : symbol === code);

const isWild = (symbol: number | undefined) => symbol === deep || symbol === shallow;

/** Whether some text matches both. */
export function overlaps(a: Glob, b: Glob): boolean {
  if (a.exact) return matches(b, a.prefix);
  if (b.exact) return matches(a, b.prefix);
  // Most pairs differ where they are literal, which costs less to see than to build anything for.
  if (!a.prefix.startsWith(b.prefix) && !b.prefix.startsWith(a.prefix)) return false;
  if (!a.tail.endsWith(b.tail) && !b.tail.endsWith(a.tail)) return false;
  const [left, right] = [symbols(a), symbols(b)];
  const seen = new Set<number>();
  const open: [number, number][] = [[0, 0]];
  for (let state = open.pop(); state; state = open.pop()) {
    const [i, j] = state;
    const key = i * (right.length + 1) + j;
    if (seen.has(key)) continue;
    seen.add(key);
    if (i === left.length && j === right.length) return true;
    if (isWild(left[i])) open.push([i + 1, j]);
    if (isWild(right[j])) open.push([i, j + 1]);
    // Two wildcards need no step of their own: whatever both take, the shorter text without it is taken too.
    if (!isWild(left[i]) && i < left.length && accepts(right[j], left[i] as number)) {
      open.push([i + 1, isWild(right[j]) ? j : j + 1]);
    } else if (!isWild(right[j]) && j < right.length && accepts(left[i], right[j] as number)) {
      open.push([isWild(left[i]) ? i : i + 1, j + 1]);
    }
  }
  return false;
}

/** Whether `wide` matches every text that `narrow` matches. */
export function covers(wide: Glob, narrow: Glob): boolean {
  if (narrow.exact) return matches(wide, narrow.prefix);
  if (wide.exact || !matches(wide, narrow.sample)) return false;
  const [outer, inner] = [symbols(wide), symbols(narrow)];
  const alphabet = [...new Set([...outer.filter((symbol) => symbol >= 0), 0x2f, 0x23, other])];

  /** States reachable without a character: past wildcards that match nothing. */
  const close = (states: Iterable<number>): number[] => {
    const closed = new Set<number>();
    for (const state of states) {
      for (let at = state; !closed.has(at); at += 1) {
        closed.add(at);
        if (!isWild(outer[at])) break;
      }
    }
    return [...closed].sort((a, b) => a - b);
  };
  const step = (states: readonly number[], code: number) =>
    close(states.flatMap((at) => (accepts(outer[at], code) ? [isWild(outer[at]) ? at : at + 1] : [])));

  // A text that `narrow` matches and `wide` does not, looked for along all texts at once.
  const seen = new Set<string>();
  const open: [at: number, states: readonly number[]][] = [[0, close([0])]];
  for (let state = open.pop(); state; state = open.pop()) {
    const [at, states] = state;
    const key = `${at}:${states}`;
    if (seen.has(key)) continue;
    seen.add(key);
    const symbol = inner[at];
    if (symbol === undefined) {
      if (!states.includes(outer.length)) return false;
    } else if (!isWild(symbol)) open.push([at + 1, step(states, symbol)]);
    else {
      open.push([at + 1, states]);
      for (const code of alphabet) if (accepts(symbol, code)) open.push([at, step(states, code)]);
    }
  }
  return true;
}
