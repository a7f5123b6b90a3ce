// The search: which patterns end where, byte by byte, whatever the chunks.
//
// Two gears. In the first, the filter moves a window over the text. When the window may hold the start of a
// pattern, the automaton takes over at the window's start and reads byte by byte. It gives back as soon as
// it has read more bytes than the square of its depth: what it has to give up, `depth` bytes that the
// filter will see again, is then small against what was read, so the work stays linear in the text.
//
// At the end of a chunk the automaton has read all of it, so that `node` alone says what came before.

import { type Automaton, CHAIN, DEEP, DEPTH_SHIFT, HIT, LEAF, LEAF_MASK, ROW } from "./automaton.ts";
import { DISTANCE, type Filter, MULTIPLIER, STARTS } from "./filter.ts";

/** What the search of one stream has to remember. */
export interface Cursor {
  /** The automaton's node; its depth is the number of bytes to hold back. */
  node: number;
  /** Bytes read since the stream began. */
  position: number;
  /** Where the last hit ended, so that a byte read twice is not reported twice. */
  lastEnd: number;
  /**
   * Basic steps so far (bytes the automaton read, links it followed, looks of the filter). For the test that
   * shows them to be linear.
   */
  steps: number;
}

/** Called for each hit: the longest pattern that ends at `end`, positions counted from the stream's start. */
export type OnHit = (start: number, end: number, pattern: number) => void;

export function newCursor(position = 0): Cursor {
  return { node: 0, position, lastEnd: -1, steps: 0 };
}

/** Reads `bytes[from, to)` and leaves the cursor at its end. Hits come in ascending order of their ends. */
export function search(
  automaton: Automaton,
  filter: Filter | undefined,
  cursor: Cursor,
  bytes: Uint8Array,
  from: number,
  to: number,
  onHit: OnHit,
): void {
  const { edges, links, rows, classes } = automaton;
  const base = cursor.position - from;
  const window = filter ? filter.window : 0;
  let node = cursor.node;
  let steps = 0;
  let at = from;
  for (;;) {
    if (node === 0 && filter !== undefined && at + window <= to) {
      const start = skip(filter, bytes, at, to);
      steps += looks;
      at = start;
    }
    const entered = at;
    let edge = edges[node]!;
    while (at < to) {
      const byte = bytes[at++]!;
      if ((edge & CHAIN) === byte) {
        edge = edges[++node]!;
        if (!(edge & HIT)) continue;
      } else {
        while (!(edge & ROW) && (edge & CHAIN) !== byte) {
          node = links[node]!;
          edge = edges[node]!;
          steps++;
        }
        node = edge & ROW ? rows[links[node]! + classes[byte]!]! : node + 1;
        edge = edges[node]!;
      }
      if (edge & HIT) {
        const end = base + at;
        if (end > cursor.lastEnd) {
          const pattern = automaton.outs[node]!;
          cursor.lastEnd = end;
          onHit(end - automaton.lengths[pattern]!, end, pattern);
        }
        // Rest on the longest proper prefix: a finished leaf is none.
        if ((edge & LEAF_MASK) === LEAF) {
          node = links[node]!;
          edge = edges[node]!;
        }
      }
      const depth = edge >> DEPTH_SHIFT;
      if (depth * depth < at - entered && depth < DEEP && at - depth + window <= to && filter !== undefined) {
        steps += at - entered;
        at -= depth;
        node = 0;
        break;
      }
    }
    if (at >= to) {
      steps += at - entered;
      break;
    }
  }
  cursor.node = node;
  cursor.position = base + to;
  cursor.steps += steps;
}

/** How often the last `skip` looked at the text. */
let looks = 0;

/** First place in `bytes[from, to)` where a pattern may begin, or where less than a window is left. */
function skip(filter: Filter, bytes: Uint8Array, from: number, to: number): number {
  const { grams, shift, window, gram } = filter;
  const before = window - gram;
  const stride = before + 1;
  const last = to - gram;
  let at = from + before;
  let count = 0;
  while (at <= last) {
    count++;
    const word =
      gram === 4
        ? bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
        : bytes[at]! | (bytes[at + 1]! << 8);
    const found = grams[Math.imul(word, MULTIPLIER) >>> shift]!;
    if (found === 0) {
      at += stride;
      continue;
    }
    const distance = (found & DISTANCE) - 1;
    if (distance > 0) {
      at += distance;
      continue;
    }
    const start = at - before;
    const first =
      gram === 4
        ? bytes[start]! | (bytes[start + 1]! << 8) | (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24)
        : bytes[start]! | (bytes[start + 1]! << 8);
    if (grams[Math.imul(first, MULTIPLIER) >>> shift]! & STARTS) {
      looks = count;
      return start;
    }
    at++;
  }
  looks = count;
  return at - before;
}
