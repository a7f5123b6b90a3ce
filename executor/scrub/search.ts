// The search: which patterns end where, byte by byte, whatever the chunks.
//
// Two gears. In the first, the filter moves a window over the text. When the window may hold the start of a
// pattern, the automaton takes over at the window's start and reads byte by byte. It gives back as soon as
// it has read more bytes than the square of its depth: what it has to give up, `depth` bytes that the
// filter will see again, is then small against what was read, so the work stays linear in the text.
//
// At the end of a chunk the automaton has read all of it, so that `node` alone says what came before.

import { type Automaton, CHAIN, DEPTH_SHIFT, HIT, LEAF, LEAF_MASK, ROW } from "./automaton.ts";
import { type Filter, skip2, skip4, skipBytes } from "./filter.ts";

/** Below this many bytes, making a view costs more than it gains. */
const worthAView = 1024;
/** Nodes less deep than 3 are those at which giving back to the filter is considered. */
const SHALLOW = 3 << DEPTH_SHIFT;

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
  const view =
    to - from < worthAView ? undefined : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const window = filter ? filter.window : 0;
  const shallow = filter ? SHALLOW : 0;
  let node = cursor.node;
  let steps = 0;
  let at = from;
  for (;;) {
    if (node === 0 && filter !== undefined && at + window <= to) {
      if (view === undefined) at = skipBytes(filter, bytes, at, to);
      else at = filter.gram === 4 ? skip4(filter, view, at, to) : skip2(filter, view, at, to)
    }
    const entered = at;
    let edge = edges[node]!;
    while (at < to) {
      const byte = bytes[at++]!;
      if ((edge & CHAIN) === byte) {
        edge = edges[++node]!;
        if (!(edge & HIT)) continue;
      } else {
        for (;;) {
          if (edge & ROW) {
            node = rows[links[node]! + classes[byte]!]!;
            break;
          }
          node = links[node]!;
          edge = edges[node]!;
          steps++;
          if ((edge & CHAIN) === byte) {
            node++;
            break;
          }
        }
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
      if (edge < shallow) {
        const depth = edge >> DEPTH_SHIFT;
        if (depth * depth < at - entered && at - depth + window <= to) {
          steps += at - entered;
          at -= depth;
          node = 0;
          break;
        }
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
