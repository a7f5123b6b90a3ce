// One stream being scrubbed: what is settled goes out, hidden runs as "***".
//
//   position    0 ............ shown ........ settled .......... read
//               went out       now going out   held back: may still become a secret
//
// A run's mask goes out as soon as its first byte is settled; the rest of the run then just vanishes.

import { isSpace } from "./bytes.ts";
import { type Current, createReader, type Listener } from "./reader.ts";
import { addRun, dropRuns, newRuns, shiftRuns } from "./runs.ts";

const star = 0x2a;
/** Length of a mask. */
const mask = 3;
const nothing = new Uint8Array(0);
/** Held bytes that flush() and end() still show: too few to tell anything. */
const harmless = 3;

/**
 * Scrubs one stream. Output does not depend on how the input is cut into chunks. A returned array may be the
 * chunk itself or a view of it, and is the caller's to keep.
 */
export interface ScrubStream {
  /** Takes bytes, gives what is settled. A chunk in which nothing is hidden or held comes back itself. */
  push(chunk: Uint8Array): Uint8Array;
  /**
   * For a terminal that has gone idle, never for a stored log: shows what is held back if it is 3 bytes or
   * fewer. A secret that completes later is still hidden, less what was shown.
   */
  flush(): Uint8Array;
  /** The rest. A held beginning of a secret is hidden if it is 4 bytes or longer. Then a new stream begins. */
  end(): Uint8Array;
}

export function createStream(current: Current): ScrubStream {
  const runs = newRuns();
  const listener: Listener = {
    every: false,
    onHit: (start, end) => addRun(runs, start, end),
    onAgain: (position) => dropRuns(runs, position),
  };
  let reader = createReader(current, listener);
  /** All before this went out or vanished. */
  let shown = 0;
  /** End of the last run whose mask went out. */
  let hiddenTo = -1;

  /** Renders `[shown, until)`; the bytes are the reader's tail, then `chunk`. */
  function render(chunk: Uint8Array, until: number): Uint8Array {
    const tail = reader.tail.bytes();
    const chunkFrom = reader.position() - chunk.length;
    const { starts, ends, limit } = runs;
    // A mask may be longer than what it hides.
    const out = new Uint8Array(until - shown + mask * (limit - runs.first));
    // There can be a run for every other byte, so this loop does without closures and their variables.
    let at = shown;
    let masked = hiddenTo;
    let length = 0;
    let run = runs.first;
    for (; run < limit && starts[run]! < until; run++) {
      const start = Math.max(starts[run]!, at);
      const end = ends[run]!;
      if (end > start) {
        copy(tail, chunk, at - chunkFrom, start - chunkFrom, out, length);
        length += start - at;
        if (start > masked) {
          out[length] = star;
          out[length + 1] = star;
          out[length + 2] = star;
          length += mask;
        }
        masked = Math.max(masked, end);
        at = Math.min(end, until);
      }
      if (end > until) break;
    }
    shiftRuns(runs, run);
    if (at < until) {
      copy(tail, chunk, at - chunkFrom, until - chunkFrom, out, length);
      length += until - at;
    }
    shown = until;
    hiddenTo = masked;
    return out.subarray(0, length);
  }

  return {
    push(chunk) {
      const before = reader.position();
      reader.read(chunk);
      const settled = reader.position() - reader.held();
      let out: Uint8Array;
      if (runs.limit === 0 && shown === before && settled >= before) {
        shown = settled;
        out = settled === reader.position() ? chunk : chunk.subarray(0, settled - before);
      } else {
        out = settled > shown ? render(chunk, settled) : nothing;
      }
      reader.keep(chunk);
      return out;
    },
    flush() {
      reader.refresh();
      if (reader.held() > harmless || shown === reader.position()) return nothing;
      return render(nothing, reader.position());
    },
    end() {
      reader.end();
      const read = reader.position();
      const held = reader.held();
      // A line break behind a dressed beginning is no part of it, as far as anybody knows.
      const loose = reader.isPlain() ? 0 : spacesAtEnd(reader.tail.bytes(), held);
      if (held - loose > harmless) addRun(runs, read - held, read - loose);
      const rest = shown < read ? render(nothing, read) : nothing;
      reader.tail.wipe();
      reader = createReader(current, listener);
      shiftRuns(runs, runs.limit);
      shown = 0;
      hiddenTo = -1;
      return rest;
    },
  };
}

/** Of the last `most` bytes. */
function spacesAtEnd(bytes: Uint8Array, most: number): number {
  let count = 0;
  while (count < most && isSpace(bytes[bytes.length - 1 - count]!)) count++;
  return count;
}

/** Copies `[from, to)` to `out`, where 0 is the first byte of `chunk`, and `tail` ends. */
function copy(
  tail: Uint8Array,
  chunk: Uint8Array,
  from: number,
  to: number,
  out: Uint8Array,
  at: number,
): void {
  let next = from;
  let put = at;
  if (next < 0) {
    const end = Math.min(to, 0);
    out.set(tail.subarray(tail.length + next, tail.length + end), put);
    put += end - next;
    next = end;
  }
  // A call costs more than a few bytes do.
  if (to - next > 32) out.set(chunk.subarray(next, to), put);
  else while (next < to) out[put++] = chunk[next++]!;
}
