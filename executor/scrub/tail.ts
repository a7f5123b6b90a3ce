/** The last bytes of a stream, as many as are held back. */
export interface Tail {
  readonly length: number;
  /** Keeps the last `count` of the bytes kept so far and `chunk` together. Amortized O(chunk). */
  keep(chunk: Uint8Array, count: number): void;
  /** The byte so many places before the end, from 1 on; -2 if it is not kept. */
  last(back: number): number;
  /** View of the bytes, valid until the next call. */
  bytes(): Uint8Array;
  /** Zeroes the memory and keeps nothing. */
  wipe(): void;
}

const few = 128;

export function createTail(): Tail {
  // The bytes are buffer[start, end). They move to the front only when the buffer is full and at most half of
  // it is in use, so each byte moves a bounded number of times.
  let buffer = new Uint8Array(64);
  let start = 0;
  let end = 0;

  function makeRoom(wanted: number) {
    const kept = buffer.subarray(start, end);
    const needed = kept.length + wanted;
    if (2 * needed <= buffer.length) buffer.copyWithin(0, start, end);
    else {
      const larger = new Uint8Array(4 * needed);
      larger.set(kept);
      buffer.fill(0);
      buffer = larger;
    }
    end = kept.length;
    start = 0;
  }

  return {
    get length() {
      return end - start;
    },
    keep(chunk, count) {
      if (count <= chunk.length) start = end = 0;
      else start = end - (count - chunk.length);
      if (count === 0) return;
      const from = Math.max(0, chunk.length - count);
      const added = chunk.length - from;
      if (end + added > buffer.length) makeRoom(added);
      // A view costs more than a few bytes do.
      if (added > few) buffer.set(from > 0 ? chunk.subarray(from) : chunk, end);
      else for (let i = 0; i < added; i++) buffer[end + i] = chunk[from + i]!;
      end += added;
    },
    last: (back) => (back > end - start ? -2 : buffer[end - back]!),
    bytes: () => buffer.subarray(start, end),
    wipe() {
      buffer.fill(0);
      start = end = 0;
    },
  };
}
