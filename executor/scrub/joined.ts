// Reads on where base64 was wrapped, as if the line break were not there.
//
// To the automaton, a wrapped text is two texts: the one with its line breaks, which search.ts reads, and the
// one without those that wrap.ts found. The second differs from the first only as long as some pattern may
// reach across a break. So it starts at a break, from the node that the search had reached before it, and is
// followed byte by byte until its node no longer reaches back to the last break:
//
//   text       … Y 2 9 y c m V j ↵ d C 1 o b 3 J z Z S 4 …
//   search     … → → → → → → → → 0 → → → → → → → → → → →
//   joined                     └───→ → → → → → → idle

import { type Automaton, CHAIN, HIT, LEAF, LEAF_MASK, ROW } from "./automaton.ts";
import type { OnHit } from "./search.ts";

/** Positions count from the stream's start, line breaks and all. */
export interface Joined {
  /** No pattern reaches across a break so far. */
  idle(): boolean;
  /** Reads `bytes[from, to)`, of which the first has this position. */
  follow(automaton: Automaton, bytes: Uint8Array, from: number, to: number, position: number): void;
  /** A line break `[start, end)` is to be seen through; the search had reached `node` before it. */
  cross(automaton: Automaton, node: number, start: number, end: number): void;
  /** Where the bytes start that reach across a break, up to `position`, and may still become a hit. */
  heldFrom(automaton: Automaton, position: number): number;
  /** The same if a break begins at `position` and the search has reached `node`. */
  heldFromBreak(automaton: Automaton, node: number, position: number): number;
  /** Breaks that begin at `position` or after, to cross them again: start and end, one after the other. */
  breaksFrom(position: number): number[];
  /** Forgets everything. */
  reset(): void;
  /** Forgets breaks that end at `position` or before. */
  forget(position: number): void;
}

export function createJoined(onHit: OnHit): Joined {
  /** 0 is idle. */
  let node = 0;
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
    let at = 0;
    for (let i = depth - read; i < depth; i++) at = restOf(automaton, stepTo(automaton, at, bytes[i]!));
    return at;
  }

  return {
    idle: () => node === 0,
    follow(automaton, bytes, from, to, position) {
      if (node === 0) return;
      const { edges } = automaton;
      const since = position - from - lastEnd();
      for (let at = from; at < to; at++) {
        const byte = bytes[at]!;
        const chained = (edges[node]! & CHAIN) === byte;
        node = stepTo(automaton, node, byte);
        if (edges[node]! & HIT) {
          const pattern = automaton.outs[node]!;
          const length = automaton.lengths[pattern]!;
          const end = position - from + at + 1;
          // A shorter one lies behind the break, where the search finds it.
          if (length > since + at + 1) onHit(startOf(end, length), end, pattern);
          node = restOf(automaton, node);
        } else if (chained) continue;
        if (automaton.depthOf(node) <= since + at + 1) {
          node = 0;
          return;
        }
      }
    },
    cross(automaton, reached, start, end) {
      if (node === 0) node = sinceBreak(automaton, reached, start);
      sizes.push((sizes.at(-1) ?? forgotten) + end - start);
      ends.push(end);
    },
    heldFrom: (automaton, position) => (node === 0 ? position : startOf(position, automaton.depthOf(node))),
    heldFromBreak: (automaton, reached, position) =>
      startOf(position, automaton.depthOf(node === 0 ? sinceBreak(automaton, reached, position) : node)),
    breaksFrom(position) {
      return ends.flatMap((end, i) => {
        const size = sizes[i]! - (i === 0 ? forgotten : sizes[i - 1]!);
        return end - size >= position ? [end - size, end] : [];
      });
    },
    reset() {
      node = forgotten = 0;
      ends = [];
      sizes = [];
    },
    forget(position) {
      let count = 0;
      while (count < ends.length && ends[count]! <= position) count++;
      // The last one stays: it says how far back `node` may reach.
      if (count === ends.length) count--;
      if (count <= 0) return;
      forgotten = sizes[count - 1]!;
      ends = ends.slice(count);
      sizes = sizes.slice(count);
    },
  };
}

/** The node that `byte` leads to; it may be a leaf. */
function stepTo({ edges, links, rows, classes }: Automaton, node: number, byte: number): number {
  for (let at = node; ; at = links[at]!) {
    const edge = edges[at]!;
    if ((edge & CHAIN) === byte) return at + 1;
    if (edge & ROW) return rows[links[at]! + classes[byte]!]!;
  }
}

/** Where to rest after `node`: the same unless it is a leaf. */
function restOf({ edges, links }: Automaton, node: number): number {
  return (edges[node]! & LEAF_MASK) === LEAF ? links[node]! : node;
}
