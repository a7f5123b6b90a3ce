/** The last bytes of a stream, as many as are held back. */
export interface Tail {
  readonly length: number;
  /** Keeps the last `count` of the bytes kept so far and `chunk` together. Amortized O(chunk). */
  keep(chunk: Uint8Array, count: number): void;
  /** View of the bytes, valid until the next call. */
  bytes(): Uint8Array;
  /** Zeroes the memory and keeps nothing. */
  wipe(): void;
}

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
      const added = count < chunk.length ? chunk.subarray(chunk.length - count) : chunk;
      if (end + added.length > buffer.length) makeRoom(added.length);
      buffer.set(added, end);
      end += added.length;
    },
    bytes: () => buffer.subarray(start, end),
    wipe() {
      buffer.fill(0);
      start = end = 0;
    },
  };
}
