// One stream being scrubbed: what is settled goes out, hidden runs as "***".
//
//   position    0 ............ shown ........ settled .......... read
//               went out       now going out   held back: may still become a secret
//
// A run's mask goes out as soon as its first byte is settled; the rest of the run then just vanishes.

import { type Current, createReader } from "./reader.ts";
import { createRuns } from "./runs.ts";

const mask = Uint8Array.of(0x2a, 0x2a, 0x2a);
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
  const runs = createRuns();
  const listener = { onHit: runs.add, onAgain: runs.dropFrom };
  let reader = createReader(current, listener);
  /** All before this went out or vanished. */
  let shown = 0;
  /** End of the last run whose mask went out. */
  let hiddenTo = -1;

  /** Renders `[shown, until)`; the bytes are the reader's tail, then `chunk`. */
  function render(chunk: Uint8Array, until: number): Uint8Array {
    const tail = reader.tail.bytes();
    const tailFrom = reader.position() - chunk.length - tail.length;
    const chunkFrom = tailFrom + tail.length;
    let out = new Uint8Array(until - shown + 2 * mask.length);
    let length = 0;

    function put(bytes: Uint8Array, from: number, to: number) {
      if (length + (to - from) > out.length) {
        const larger = new Uint8Array(2 * (length + to - from));
        larger.set(out.subarray(0, length));
        out = larger;
      }
      // A call costs more than a few bytes do.
      if (to - from > 32) out.set(bytes.subarray(from, to), length);
      else for (let i = from; i < to; i++) out[length + i - from] = bytes[i]!;
      length += to - from;
    }

    function show(to: number) {
      if (shown < to && shown < chunkFrom) {
        const end = Math.min(to, chunkFrom);
        put(tail, shown - tailFrom, end - tailFrom);
        shown = end;
      }
      if (shown < to) {
        put(chunk, shown - chunkFrom, to - chunkFrom);
        shown = to;
      }
    }

    while (runs.count > 0 && runs.start() < until) {
      const start = Math.max(runs.start(), shown);
      const end = runs.end();
      if (end > start) {
        show(start);
        if (start > hiddenTo) put(mask, 0, mask.length);
        hiddenTo = Math.max(hiddenTo, end);
        shown = Math.min(end, until);
      }
      if (end > until) break;
      runs.shift();
    }
    show(until);
    return out.subarray(0, length);
  }

  return {
    push(chunk) {
      const before = reader.position();
      reader.read(chunk);
      const settled = reader.position() - reader.held();
      let out: Uint8Array;
      if (runs.count === 0 && shown === before && settled >= before) {
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
      reader.refresh();
      const read = reader.position();
      if (reader.held() > harmless) runs.add(read - reader.held(), read);
      const rest = shown < read ? render(nothing, read) : nothing;
      reader.tail.wipe();
      reader = createReader(current, listener);
      while (runs.count > 0) runs.shift();
      shown = 0;
      hiddenTo = -1;
      return rest;
    },
  };
}
