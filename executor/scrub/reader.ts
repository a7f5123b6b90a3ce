// One reading of one stream: searches chunk after chunk, also across the line breaks of wrapped base64, keeps
// the bytes that may still become a hit, and goes over to a new matcher when values joined.

import { viewOf } from "./filter.ts";
import { createJoined } from "./joined.ts";
import { ROOT } from "./layout.ts";
import type { Matcher } from "./matcher.ts";
import { newCursor, type OnHit, search } from "./search.ts";
import { createTail, type Tail } from "./tail.ts";
import { CR, findWraps, type LineState } from "./wrap.ts";

/** The matcher in force. Its owner puts a new one in; readers notice at their next call. */
export interface Current {
  matcher: Matcher;
}

/** Where a reader reports what it finds. */
export interface Listener {
  readonly onHit: OnHit;
  /** False if hits that overlap or touch may come as one, named after any of them. */
  readonly every: boolean;
  /** All hits that begin at `position` or later are about to be reported again, and new ones among them. */
  onAgain(position: number): void;
}

export interface Reader {
  /** Bytes read so far. */
  position(): number;
  /** Length of the longest suffix of what was read that is a proper prefix of some pattern. */
  held(): number;
  /** The held bytes as of the last keep(). */
  readonly tail: Tail;
  /** Searches the chunk. keep() must follow. */
  read(chunk: Uint8Array): void;
  /** Brings `tail` up to date with the chunk just read. */
  keep(chunk: Uint8Array): void;
  /** Goes over to the matcher in force, if it is another one; hits among the held bytes are reported. */
  refresh(): void;
}

const noWraps: readonly number[] = [];

export function createReader(current: Current, { every, onHit, onAgain }: Listener): Reader {
  let matcher = current.matcher;
  let cursor = newCursor();
  let held = 0;
  /** Of the chunk that is being read. */
  let view: DataView | undefined;
  const tail = createTail();
  const line: LineState = { run: 0, cr: false };
  const joined = createJoined(onHit);
  /** Between chunks: the last byte is a CR that may begin a wrap, and the search had reached `place` before it. */
  let open: { place: number } | undefined;

  function searchTo(bytes: Uint8Array, from: number, to: number) {
    if (from < to) search(matcher.automaton, matcher.filters, cursor, bytes, view, from, to, every, onHit);
  }

  /**
   * Reads on up to `to`, past a break `[from, behind)` if that is not empty. Hits across a break come first, so
   * that those that follow end behind where they begin.
   */
  function readOn(bytes: Uint8Array, from: number, behind: number, to: number) {
    joined.follow(matcher.automaton, bytes, behind, to, cursor.position + behind - from);
    searchTo(bytes, from, to);
  }

  /** `wraps` as findWraps() gives them, of this chunk; its last byte may be a CR that may begin one. */
  function searchWrapped(bytes: Uint8Array, wraps: readonly number[], openEnd: boolean) {
    const { automaton } = matcher;
    const base = cursor.position;
    let from = 0;
    let behind = 0;
    let next = 0;
    if (open) {
      if (wraps[0] === -1) {
        joined.cross(automaton, open.place, base - 1, base + 1);
        behind = 1;
        next = 2;
      } else joined.follow(automaton, Uint8Array.of(CR), 0, 1, base - 1);
      open = undefined;
    }
    for (; next < wraps.length; next += 2) {
      const start = wraps[next]!;
      readOn(bytes, from, behind, start);
      from = start;
      behind = wraps[next + 1]!;
      joined.cross(automaton, cursor.place, base + start, base + behind);
    }
    if (openEnd) {
      const last = bytes.length - 1;
      readOn(bytes, from, behind, last);
      open = { place: cursor.place };
      searchTo(bytes, last, bytes.length);
    } else readOn(bytes, from, behind, bytes.length);
  }

  function updateHeld() {
    const { automaton } = matcher;
    const { position, place } = cursor;
    const from = open
      ? joined.heldFromBreak(automaton, open.place, position - 1)
      : joined.heldFrom(automaton, position);
    // A CR alone is no beginning of anything: something must stand before it.
    const reach = open && from === position - 1 ? 0 : position - from;
    held = Math.max(automaton.depthOf(place), reach);
    joined.forget(position - held);
  }

  function refresh() {
    if (matcher === current.matcher) return;
    matcher = current.matcher;
    // No byte before the tail can be part of a hit: it was passed on. So the new automaton starts there.
    const bytes = tail.bytes();
    const from = cursor.position - bytes.length;
    const wraps = joined.breaksFrom(from).map((position) => position - from);
    const openEnd = open !== undefined && bytes.length > 0;
    // If nothing was held, nothing stands before the CR that a pattern could begin with.
    open = open && bytes.length === 0 ? { place: ROOT } : undefined;
    joined.reset();
    cursor = newCursor(from);
    onAgain(from);
    view = viewOf(bytes);
    if (bytes.length > 0) searchWrapped(bytes, wraps, openEnd);
    updateHeld();
    tail.keep(new Uint8Array(0), held);
  }

  return {
    tail,
    position: () => cursor.position,
    held: () => held,
    refresh,
    read(chunk) {
      refresh();
      if (chunk.length === 0) return;
      view = viewOf(chunk);
      const wraps = matcher.seesWraps ? findWraps(line, chunk) : noWraps;
      if (wraps.length === 0 && !line.cr && !open && joined.idle()) {
        search(matcher.automaton, matcher.filters, cursor, chunk, view, 0, chunk.length, every, onHit);
        held = matcher.automaton.depthOf(cursor.place);
        return;
      }
      searchWrapped(chunk, wraps, line.cr);
      updateHeld();
    },
    keep(chunk) {
      tail.keep(chunk, held);
    },
  };
}
