// One reading of one stream: searches chunk after chunk, keeps the bytes that may still become a hit, and
// goes over to a new matcher when values joined.

import type { Matcher } from "./matcher.ts";
import { newCursor, type OnHit, search } from "./search.ts";
import { createTail, type Tail } from "./tail.ts";

/** The matcher in force. Its owner puts a new one in; readers notice at their next call. */
export interface Current {
  matcher: Matcher;
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

export function createReader(current: Current, onHit: OnHit): Reader {
  let matcher = current.matcher;
  let cursor = newCursor();
  const tail = createTail();

  function refresh() {
    if (matcher === current.matcher) return;
    matcher = current.matcher;
    // No byte before the tail can be part of a hit: the old patterns are among the new, and what was passed
    // on is gone. So the new automaton starts at the tail.
    const held = tail.bytes();
    cursor = newCursor(cursor.position - held.length);
    search(matcher.automaton, matcher.filter, cursor, held, 0, held.length, onHit);
    tail.keep(new Uint8Array(0), matcher.automaton.depthOf(cursor.node));
  }

  return {
    tail,
    position: () => cursor.position,
    held: () => matcher.automaton.depthOf(cursor.node),
    refresh,
    read(chunk) {
      refresh();
      search(matcher.automaton, matcher.filter, cursor, chunk, 0, chunk.length, onHit);
    },
    keep(chunk) {
      tail.keep(chunk, matcher.automaton.depthOf(cursor.node));
    },
  };
}
