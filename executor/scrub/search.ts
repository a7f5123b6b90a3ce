// The search: which patterns end where, byte by byte, whatever the chunks.
//
// Two gears. In the first, a filter moves a window over the text. When the window may hold the start of a
// pattern, the automaton takes over at the window's start and reads byte by byte. It gives back when it has
// fallen to a depth below 3 and has read more bytes than the square of that depth: what it gives up, `depth`
// bytes that the filter will see again, is then small against what was read, so the work stays linear in the
// text. And it is shorter than any pattern that a filter looks for, so no hit is found twice.
//
// At the end of a chunk the automaton has read all of it, so that `place` alone says what came before.

import {
  type Automaton,
  CHAIN,
  DEPTH_SHIFT,
  flagsOf,
  HIT,
  hitAt,
  isLeaf,
  ROOT,
  ROW,
  SHALLOW,
  TAG_BITS,
  TAG_LOOK,
  TAG_SHALLOW,
} from "./automaton.ts";
import { type Filter, skip } from "./filter.ts";

/** What the search of one stream has to remember. */
export interface Cursor {
  /** Where the automaton rests; the depth of that place is the number of bytes to hold back. */
  place: number;
  /** Bytes read since the stream began. */
  position: number;
  /**
   * Upper bound of the basic steps so far (bytes the automaton read, links it followed, looks of the filters),
   * for the test that shows them to be linear.
   */
  steps: number;
}

/** Called for each hit: the longest pattern that ends at `end`, positions counted from the stream's start. */
export type OnHit = (start: number, end: number, pattern: number) => void;

export function newCursor(position = 0): Cursor {
  return { place: ROOT, position, steps: 0 };
}

/**
 * Reads `bytes[from, to)` and leaves the cursor at its end; `view` is viewOf(bytes). Hits come in ascending order of
 * their ends.
 */
export function search(
  automaton: Automaton,
  filters: readonly Filter[],
  cursor: Cursor,
  bytes: Uint8Array,
  view: DataView | undefined,
  from: number,
  to: number,
  onHit: OnHit,
): void {
  if (automaton.lengths.length === 0) {
    cursor.position += to - from;
    return;
  }
  const base = cursor.position - from;
  const [first, second] = filters;
  const window = Math.max(first?.window ?? 0, second?.window ?? 0);
  const giveBack = first ? SHALLOW : 0;
  // Where each filter last saw something; it has to look again only from behind that place.
  let seen = -1;
  let seenToo = -1;
  let place = cursor.place;
  let steps = 0;
  let at = from;
  for (;;) {
    if (place === ROOT && first !== undefined && at + window <= to) {
      if (seen < at) {
        seen = skip(first, bytes, view, at, to);
        steps += seen - at + 1;
      }
      if (second !== undefined && seenToo < at) {
        seenToo = skip(second, bytes, view, at, to);
        steps += seenToo - at + 1;
      }
      at = second === undefined ? seen : Math.min(seen, seenToo);
    }
    const entered = at;
    while (at < to) {
      at = walk(automaton, place, bytes, at, to);
      place = reached;
      steps += linksFollowed;
      let flags = flagsOf(automaton, place);
      if (flags & HIT) {
        const pattern = hitAt(automaton, place);
        const end = base + at;
        onHit(end - automaton.lengths[pattern]!, end, pattern);
        // Rest on the longest proper prefix: a finished leaf is none.
        if (isLeaf(flags)) {
          place = automaton.links[place]!;
          flags = flagsOf(automaton, place);
        }
      }
      const depth = flags >> DEPTH_SHIFT;
      if (depth < giveBack && depth * depth < at - entered && at - depth + window <= to) {
        steps += at - entered;
        at -= depth;
        place = ROOT;
        break;
      }
    }
    if (at >= to) {
      steps += at - entered;
      break;
    }
  }
  cursor.place = place;
  cursor.position = base + to;
  cursor.steps += steps;
}

/** Where the last walk() ended, and how many links it followed. */
let reached = ROOT;
let linksFollowed = 0;

/**
 * Reads `bytes[start, to)` from a place on, until a pattern ends or it has fallen back to where it is shallow, and
 * returns where it stopped. Nothing is called in this loop and nothing written, so that the engine can keep the
 * tables in registers.
 */
function walk(automaton: Automaton, from: number, bytes: Uint8Array, start: number, to: number): number {
  const { edges, links, rows, classes } = automaton;
  let place = from;
  let at = start;
  let followed = 0;
  read: while (at < to) {
    let byte = bytes[at++]!;
    let tags = TAG_LOOK;
    if (place >= 0) {
      // Down the chain, then along the links.
      let flags = edges[place]!;
      while ((flags & CHAIN) === byte) {
        flags = edges[++place]!;
        if (flags & ROW) place = links[place]!;
        if (flags & HIT) break read;
        if (at === to || flags & ROW) continue read;
        byte = bytes[at++]!;
      }
      do {
        place = links[place]!;
        followed++;
      } while (place >= 0 && (edges[place]! & CHAIN) !== byte);
      if (place >= 0) {
        flags = edges[++place]!;
        if (flags & ROW) place = links[place]!;
        if (flags & HIT) break;
        continue;
      }
      tags = TAG_LOOK | TAG_SHALLOW;
    }
    const next = rows[~place + classes[byte]!]!;
    place = next >> TAG_BITS;
    if (next & tags) break;
  }
  reached = place;
  linksFollowed = followed;
  return at;
}
