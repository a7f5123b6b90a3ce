// Finds places where a pattern may begin, without looking at most bytes.
//
// Every pattern is at least m bytes long. Put a window of m bytes on the text and look at its last q bytes
// (a gram): if no pattern has that gram within its first m bytes, none begins in the first m-q+1 places of
// the window, and the window moves on by that much. So most bytes of most texts are never read.
//
//   text      … c o m p i l i n g   s r c / m a i n . t s …       m = 12, q = 4
//   window          [              g r a m ]  absent: move on by 9
//   window                            [              g r a m ]
//
// A gram that is known tells the least distance from it to the end of a window: move on by that; at distance
// 0 a pattern may begin at the window's start, if the window's first bytes are also the first of some pattern.
//
// `grams` is indexed by a hash of the gram:  bit 7: first bytes of some pattern; bits 0-6: 0 absent,
// else 1 + least distance. Two grams with one hash make the search slower, never wrong.

/** Longest window. A wider one skips little more and its grams fill the table. */
const widest = 64;

export interface Filter {
  /** m and q in the drawing. */
  readonly window: number;
  readonly gram: number;
  readonly grams: Uint8Array;
  /** Hashes are the upper bits of a 32-bit product. */
  readonly shift: number;
}

const STARTS = 0x80;
const DISTANCE = 0x7f;
/** Odd, bits well mixed: 2^32 divided by the golden ratio (Knuth, TAOCP volume 3, section 6.4). */
const MULTIPLIER = 0x9e3779b1 | 0;

/** `undefined` when a pattern is too short for any skipping to pay. */
export function buildFilter(patterns: readonly Uint8Array[]): Filter | undefined {
  let window = widest;
  for (const pattern of patterns) window = Math.min(window, pattern.length);
  if (window < 4 || patterns.length === 0) return undefined;
  const gram = window >= 8 ? 4 : 2;
  const places = window - gram + 1;

  // One in 16 places taken keeps chance hits rare; beyond 1 MiB the table would fall out of the caches.
  const bits = Math.min(20, Math.max(12, Math.ceil(Math.log2(patterns.length * places * 16))));
  const grams = new Uint8Array(1 << bits);
  const shift = 32 - bits;
  for (const pattern of patterns) {
    for (let at = 0; at < places; at++) {
      let word = 0;
      for (let k = gram - 1; k >= 0; k--) word = (word << 8) | pattern[at + k]!;
      const slot = Math.imul(word, MULTIPLIER) >>> shift;
      const known = grams[slot]! & DISTANCE;
      const distance = 1 + places - 1 - at;
      const least = known === 0 ? distance : Math.min(known, distance);
      grams[slot] = (grams[slot]! & STARTS) | (at === 0 ? STARTS : 0) | least;
    }
  }
  return { window, gram, grams, shift };
}
export function skip4(filter: Filter, view: DataView, from: number, to: number): number {
  const { grams, shift, window } = filter;
  const before = window - 4;
  const stride = before + 1;
  const last = to - 4;
  let at = from + before;
  while (at <= last) {
    while (at + stride <= last) {
      if (
        (grams[Math.imul(view.getInt32(at, true), MULTIPLIER) >>> shift]! |
          grams[Math.imul(view.getInt32(at + stride, true), MULTIPLIER) >>> shift]!) !==
        0
      )
        break;
      at += 2 * stride;
    }
    if (at > last) break;
    const found = grams[Math.imul(view.getInt32(at, true), MULTIPLIER) >>> shift]!;
    const distance = found & DISTANCE;
    if (distance === 0) at += stride;
    else if (distance > 1) at += distance - 1;
    else if (grams[Math.imul(view.getInt32(at - before, true), MULTIPLIER) >>> shift]! & STARTS) break;
    else at++;
  }
  return at - before;
}

export function skip2(filter: Filter, view: DataView, from: number, to: number): number {
  const { grams, shift, window } = filter;
  const before = window - 2;
  const stride = before + 1;
  const last = to - 2;
  let at = from + before;
  while (at <= last) {
    const found = grams[Math.imul(view.getUint16(at, true), MULTIPLIER) >>> shift]!;
    const distance = found & DISTANCE;
    if (distance === 0) at += stride;
    else if (distance > 1) at += distance - 1;
    else if (grams[Math.imul(view.getUint16(at - before, true), MULTIPLIER) >>> shift]! & STARTS) break;
    else at++;
  }
  return at - before;
}

export function skipBytes(filter: Filter, bytes: Uint8Array, from: number, to: number): number {
  const { grams, shift, window, gram } = filter;
  const before = window - gram;
  const stride = before + 1;
  const last = to - gram;
  const wide = gram === 4;
  let at = from + before;
  while (at <= last) {
    let word = bytes[at]! | (bytes[at + 1]! << 8);
    if (wide) word |= (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const found = grams[Math.imul(word, MULTIPLIER) >>> shift]!;
    if (found === 0) {
      at += stride;
      continue;
    }
    const distance = (found & DISTANCE) - 1;
    if (distance > 0) {
      at += distance;
      continue;
    }
    const start = at - before;
    word = bytes[start]! | (bytes[start + 1]! << 8);
    if (wide) word |= (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24);
    if (grams[Math.imul(word, MULTIPLIER) >>> shift]! & STARTS) break;
    at++;
  }
  return at - before;
}
