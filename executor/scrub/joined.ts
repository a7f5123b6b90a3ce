// Reads on where base64 was wrapped, as if the line break were not there.
//
// To the automaton, a wrapped text is two texts: the one with its line breaks, which search.ts reads, and the
// one without those that wrap.ts found. The second differs from the first only as long as some pattern may
// reach across a break. So it starts at a break, from the place that the search had reached before it, and is
// followed byte by byte until its place no longer reaches back to the last break:
//
//   text       … Y 2 9 y c m V j ↵ d C 1 o b 3 J z Z S 4 …
//   search     … → → → → → → → → 0 → → → → → → → → → → →
//   joined                     └───→ → → → → → → idle

import { AHEAD, type Automaton, flagsOf, HIT, hitAt, LEAF, ROOT, step } from "./layout.ts";
import type { OnHit } from "./search.ts";

/** Positions count from the stream's start, line breaks and all. */
export interface Joined {
  /** No pattern reaches across a break so far. */
  idle(): boolean;
  /** Reads `bytes[from, to)`, of which the first has this position. */
  follow(automaton: Automaton, bytes: Uint8Array, from: number, to: number, position: number): void;
  /** A line break `[start, end)` is to be seen through; the search had reached `reached` before it. */
  cross(automaton: Automaton, reached: number, start: number, end: number): void;
  /** Where the bytes start that reach across a break, up to `position`, and may still become a hit. */
  heldFrom(automaton: Automaton, position: number): number;
  /** The same if a break begins at `position` and the search has reached `reached`. */
  heldFromBreak(automaton: Automaton, reached: number, position: number): number;
  /** Breaks that begin at `position` or after, to cross them again: start and end, one after the other. */
  breaksFrom(position: number): number[];
  /** Forgets everything. */
  reset(): void;
  /** May forget breaks that end at `position` or before. */
  forget(position: number): void;
}

export function createJoined(onHit: OnHit): Joined {
  /** The root is idle. */
  let place = ROOT;
  /** Known breaks: where each ends, and how many bytes it and all before it have. */
  let ends: number[] = [];
  let sizes: number[] = [];
  /** Bytes in breaks that were forgotten. */
  let forgotten = 0;

  const lastEnd = () => ends.at(-1) ?? Number.NEGATIVE_INFINITY;

  /** Position of the byte from which on there are `length` bytes up to `end`, not counting breaks. */
  function startOf(end: number, length: number): number {
    const start = end - (sizes.at(-1) ?? forgotten) - length;
    let low = 0;
    for (let high = ends.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (ends[middle]! - sizes[middle]! <= start) low = middle + 1;
      else high = middle;
    }
    return start + (low === 0 ? forgotten : sizes[low - 1]!);
  }

  /** `reached`, less what lies before the last break. */
  function sinceBreak(automaton: Automaton, reached: number, position: number): number {
    const read = position - lastEnd();
    const depth = automaton.depthOf(reached);
    if (depth <= read) return reached;
    const bytes = automaton.spell(reached);
    let at = ROOT;
    for (let i = depth - read; i < depth; i++) at = rest(automaton, step(automaton, at, bytes[i]!));
    return at;
  }

  return {
    idle: () => place === ROOT,
    follow(automaton, bytes, from, to, position) {
      if (place === ROOT) return;
      const { flags, labels } = automaton;
      const since = position - from - lastEnd();
      for (let at = from; at < to; at++) {
        if (place >= 0) {
          // Further down the chain, the place reaches back just as far as before.
          for (let ahead = flags[place]! & AHEAD; ahead > 1 && labels[place] === bytes[at]; ahead--) {
            place++;
            if (++at === to) return;
          }
        }
        const before = place;
        place = step(automaton, place, bytes[at]!);
        let lost = place !== before + 1;
        if (flagsOf(automaton, place) & HIT) {
          const pattern = hitAt(automaton, place);
          const length = automaton.lengths[pattern]!;
          const end = position - from + at + 1;
          // A shorter one lies behind the break, where the search finds it.
          if (length > since + at + 1) onHit(startOf(end, length), end, pattern);
          place = rest(automaton, place);
          lost = true;
        }
        if (lost && automaton.depthOf(place) <= since + at + 1) {
          place = ROOT;
          return;
        }
      }
    },
    cross(automaton, reached, start, end) {
      if (place === ROOT) place = sinceBreak(automaton, reached, start);
      sizes.push((sizes.at(-1) ?? forgotten) + end - start);
      ends.push(end);
    },
    heldFrom: (automaton, position) =>
      place === ROOT ? position : startOf(position, automaton.depthOf(place)),
    heldFromBreak: (automaton, reached, position) =>
      startOf(position, automaton.depthOf(place === ROOT ? sinceBreak(automaton, reached, position) : place)),
    breaksFrom(position) {
      return ends.flatMap((end, i) => {
        const size = sizes[i]! - (i === 0 ? forgotten : sizes[i - 1]!);
        return end - size >= position ? [end - size, end] : [];
      });
    },
    reset() {
      place = ROOT;
      forgotten = 0;
      ends = [];
      sizes = [];
    },
    forget(position) {
      // Half of them at a time, so that a long secret in many small chunks stays cheap. The last one stays: it
      // says how far back `place` may reach.
      const half = ends.length >> 1;
      if (half === 0 || ends[half - 1]! > position) return;
      forgotten = sizes[half - 1]!;
      ends = ends.slice(half);
      sizes = sizes.slice(half);
    },
  };
}

/** Where to rest at `place`: there, unless it is a leaf. */
function rest(automaton: Automaton, place: number): number {
  return flagsOf(automaton, place) & LEAF ? automaton.links[place]! : place;
}
