// The search: which patterns end where, byte by byte, whatever the chunks.
//
// Two gears. In the first, a filter moves a window over the text. When the window may hold the start of a
// pattern, the automaton takes over at the window's start and reads byte by byte. It gives back when it has read
// 6 bytes or more and has fallen to a depth below 3: what it gives up, `depth` bytes that the filter will see
// again, is then less than half of what was read, so the work stays linear in the text. And it is shorter than any
// pattern that a filter looks for, so no hit is found twice.
//
// Where parts of secrets follow one another, a filter lets hardly a byte pass, and asking it costs more than it
// gains. So each time it does not pay, the automaton stays twice as long before it gives back.
//
// At the end of a chunk the automaton has read all of it, so that `place` alone says what came before.

import { type Filter, skip } from "./filter.ts";
import {
  AHEAD,
  type Automaton,
  DEPTH_SHIFT,
  flagsOf,
  HIT,
  hitAt,
  LEAF,
  ROOT,
  ROW,
  SHALLOW,
  TAG_BITS,
  TAG_HIT,
  TAG_SHALLOW,
} from "./layout.ts";

/** What the search of one stream has to remember. */
export interface Cursor {
  /** Where the automaton rests; the depth of that place is the number of bytes to hold back. */
  place: number;
  /** Bytes read since the stream began. */
  position: number;
  /** How many bytes the automaton reads at least when it takes over. */
  stay: number;
  /**
   * Upper bound of the basic steps so far (bytes the automaton read, links it followed, looks of the filters),
   * for the test that shows them to be linear.
   */
  steps: number;
}

/** Called for each hit: the longest pattern that ends at `end`, positions counted from the stream's start. */
export type OnHit = (start: number, end: number, pattern: number) => void;

/** A filter that let fewer bytes than this pass has not paid. */
const worthAsking = 32;
/** How long the automaton stays if the filter paid; twice what it may give back. */
const shortestStay = 2 * SHALLOW;
const longestStay = 1024;
/** Longer than any chunk. */
const forever = 0x3fffffff;

export function newCursor(position = 0): Cursor {
  return { place: ROOT, position, stay: shortestStay, steps: 0 };
}

/**
 * Reads `bytes[from, to)` and leaves the cursor at its end; `view` is viewOf(bytes). Hits come in ascending order of
 * their ends. Unless `every` hit is asked for, those that overlap or touch may come as one.
 */
export function search(
  automaton: Automaton,
  filters: readonly Filter[],
  cursor: Cursor,
  bytes: Uint8Array,
  view: DataView | undefined,
  from: number,
  to: number,
  every: boolean,
  onHit: OnHit,
): void {
  if (automaton.lengths.length === 0) {
    cursor.position += to - from;
    return;
  }
  const base = cursor.position - from;
  const [first, second] = filters;
  const window = Math.max(first?.window ?? 0, second?.window ?? 0);
  // Where each filter last saw something; it has to look again only from behind that place.
  let seen = -1;
  let seenToo = -1;
  let { place, stay } = cursor;
  let steps = 0;
  let at = from;
  for (;;) {
    if (first === undefined) stay = forever;
    else if (place === ROOT && at + window <= to) {
      const asked = at;
      if (seen < at) {
        seen = skip(first, bytes, view, at, to);
        steps += seen - at + 1;
      }
      if (second !== undefined && seenToo < at) {
        seenToo = skip(second, bytes, view, at, to);
        steps += seenToo - at + 1;
      }
      at = second === undefined ? seen : Math.min(seen, seenToo);
      stay = at - asked < worthAsking ? Math.min(2 * stay, longestStay) : shortestStay;
    }
    const entered = at;
    while (at < to) {
      const quiet = stay > shortestStay && at - entered < stay;
      const lookFrom = quiet ? forever : entered + shortestStay;
      at = walk(automaton, place, bytes, view, at, quiet ? Math.min(to, entered + stay) : to, lookFrom);
      place = reached;
      steps += linksFollowed;
      if (hitsEnd > hitsLimit) report(automaton, base, every, onHit);
      const depth = flagsOf(automaton, place) >> DEPTH_SHIFT;
      if (depth < SHALLOW && at - entered >= stay && at - depth + window <= to) {
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
  report(automaton, base, every, onHit);
  cursor.place = place;
  cursor.position = base + to;
  cursor.stay = stay;
  cursor.steps += steps;
}

/**
 * Hits that walk() met and that were not reported yet: where each ends, and its place. To look up what a hit is
 * means to wait for memory; for many at a time, the processor waits for all of them at once.
 */
const hits = new Int32Array(2048);
const hitsLimit = hits.length - 2;
let hitsEnd = 0;

function report(automaton: Automaton, base: number, every: boolean, onHit: OnHit): void {
  const { outs, rows, width, lengths } = automaton;
  const count = hitsEnd;
  if (count === 0) return;
  let pattern = hitAt(automaton, hits[1]!);
  let runEnd = hits[0]!;
  let runStart = runEnd - lengths[pattern]!;
  for (let i = 2; i < count; i += 2) {
    const place = hits[i + 1]!;
    const next = outs[place >= 0 ? place : rows[~place + width + 1]!]!;
    const end = hits[i]!;
    const start = end - lengths[next]!;
    if (start > runEnd || every) {
      onHit(base + runStart, base + runEnd, pattern);
      runStart = start;
      pattern = next;
    } else if (start < runStart) runStart = start;
    runEnd = end;
  }
  onHit(base + runStart, base + runEnd, pattern);
  hitsEnd = 0;
}

/** Where the last walk() ended, and how many links it followed. */
let reached = ROOT;
let linksFollowed = 0;

/**
 * Reads `bytes[start, to)` from a place on, until there is no room for more hits or, from `lookFrom` on, a row has led
 * to where it is shallow, and returns where it stopped. Nothing is called in this loop, so that the engine can keep the tables in
 * registers.
 */
function walk(
  automaton: Automaton,
  from: number,
  bytes: Uint8Array,
  view: DataView | undefined,
  start: number,
  to: number,
  lookFrom: number,
): number {
  const { flags, labels, labelWords, links, rows, classes } = automaton;
  const tags = lookFrom === forever ? TAG_HIT : TAG_HIT | TAG_SHALLOW;
  const lastWord = view === undefined ? -1 : to - 4;
  let place = from;
  let at = start;
  let followed = 0;
  let end = hitsEnd;
  while (at < to) {
    if (place < 0) {
      let next: number;
      do {
        next = rows[~place + classes[bytes[at++]!]!]!;
        place = next >> TAG_BITS;
      } while ((next & tags) === 0 && place < 0 && at < to);
      if (next & TAG_HIT) {
        hits[end] = at;
        hits[end + 1] = place;
        end += 2;
        // Rest on the longest proper prefix: a finished leaf is none.
        if (place >= 0 && flags[place]! & LEAF) place = links[place]!;
        if (end > hitsLimit) break;
      } else if ((next & tags) !== 0 && at >= lookFrom) break;
    } else {
      // Down the chain, four bytes at a time as far as possible, then along the links.
      let ahead = flags[place]! & AHEAD;
      while (ahead > 4 && at <= lastWord) {
        const difference = view!.getInt32(at, true) ^ labelWords.getInt32(place, true);
        if (difference !== 0) {
          const same = (31 - Math.clz32(difference & -difference)) >> 3;
          at += same;
          place += same;
          break;
        }
        at += 4;
        place += 4;
        ahead -= 4;
      }
      while (at < to && ahead > 0 && labels[place] === bytes[at]) {
        at++;
        place++;
        ahead--;
      }
      if (ahead > 0) {
        if (at === to) break;
        const byte = bytes[at]!;
        do {
          place = links[place]!;
          followed++;
        } while (place >= 0 && labels[place] !== byte);
        continue;
      }
      const arrived = flags[place]!;
      if (arrived & ROW) place = links[place]!;
      if (arrived & HIT) {
        hits[end] = at;
        hits[end + 1] = place;
        end += 2;
        if (arrived & LEAF) place = links[place]!;
        if (end > hitsLimit) break;
      }
    }
  }
  reached = place;
  linksFollowed = followed;
  hitsEnd = end;
  return at;
}
