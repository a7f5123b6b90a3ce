// One reading of one stream: searches chunk after chunk, plain and dressed, keeps the bytes that may still become a
// hit, and goes over to a new matcher when values joined.

import { createDressed, recentBytes } from "./dressed.ts";
import { viewOf } from "./filter.ts";
import type { Matcher } from "./matcher.ts";
import { newCursor, type OnHit, search } from "./search.ts";
import { createTail, type Tail } from "./tail.ts";

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
  /** How many bytes at the end may still become part of a hit. */
  held(): number;
  /** Whether the plain search alone holds as many. */
  isPlain(): boolean;
  /** The held bytes as of the last keep(), and some before them. */
  readonly tail: Tail;
  /** Searches the chunk. keep() must follow. */
  read(chunk: Uint8Array): void;
  /** Brings `tail` up to date with the chunk just read. */
  keep(chunk: Uint8Array): void;
  /** Goes over to the matcher in force, if it is another one; hits among the held bytes are reported. */
  refresh(): void;
  /** No more bytes come: what has begun as an escape stands for itself. */
  end(): void;
}

interface Found {
  readonly start: number;
  readonly end: number;
  readonly pattern: number;
}

export function createReader(current: Current, { every, onHit, onAgain }: Listener): Reader {
  let matcher = current.matcher;
  let cursor = newCursor();
  let held = 0;
  const tail = createTail();
  let found: Found[] = [];
  const note: OnHit = (start, end, pattern) => found.push({ start, end, pattern });
  const dressed = createDressed(note);

  /** Searches what dressed.ts has searched, and reports what both found by its ends. */
  function searchPlain(bytes: Uint8Array, view: DataView | undefined) {
    const { automaton, filters } = matcher;
    if (found.length === 0) {
      search(automaton, filters, cursor, bytes, view, 0, bytes.length, every, onHit);
      return;
    }
    search(automaton, filters, cursor, bytes, view, 0, bytes.length, every, note);
    reportFound();
  }

  function reportFound() {
    found.sort((a, b) => a.end - b.end || a.start - b.start);
    // Of those that end at one place, the longest.
    for (const [i, { start, end, pattern }] of found.entries())
      if (found[i - 1]?.end !== end) onHit(start, end, pattern);
    found = [];
  }

  function updateHeld() {
    const { position, place } = cursor;
    held = matcher.automaton.depthOf(place);
    if (matcher.dressing) held = Math.max(held, position - dressed.heldFrom(position));
  }

  function refresh() {
    if (matcher === current.matcher) return;
    matcher = current.matcher;
    // No byte before those held can be part of a hit: it was passed on. So the new automaton starts there.
    const bytes = tail.bytes().slice(Math.max(0, tail.length - held));
    const from = cursor.position - bytes.length;
    dressed.reset();
    cursor = newCursor(from);
    onAgain(from);
    if (bytes.length > 0) {
      if (matcher.dressing) dressed.replay(matcher, bytes, from);
      searchPlain(bytes, viewOf(bytes));
    }
    updateHeld();
    bytes.fill(0);
  }

  return {
    tail,
    position: () => cursor.position,
    held: () => held,
    isPlain: () => held === matcher.automaton.depthOf(cursor.place),
    refresh,
    read(chunk) {
      refresh();
      if (chunk.length === 0) return;
      const view = viewOf(chunk);
      if (matcher.dressing) dressed.read(matcher, chunk, view, cursor.position, tail);
      searchPlain(chunk, view);
      updateHeld();
    },
    keep(chunk) {
      const known = tail.length + chunk.length;
      tail.keep(chunk, matcher.dressing ? Math.min(known, Math.max(held, recentBytes)) : held);
    },
    end() {
      refresh();
      if (!matcher.dressing) return;
      dressed.end();
      reportFound();
      updateHeld();
    },
  };
}
