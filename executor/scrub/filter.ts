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
// 0 a pattern may begin at the window's start, if the window's first 4 bytes are also the first of some pattern.
//
// `grams` is indexed by a hash: bits 0-6 are 0 for an absent gram, else 1 + least distance; bit 7 is set for the
// first 4 bytes of a pattern. Two words with one hash make the search slower, never wrong.

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

/** Patterns from this length on have windows wide enough for grams of 4 bytes. */
const long = 8;
const shortest = 4;

/**
 * A few short patterns must not make the windows of all others short, so they get a filter of their own. No
 * filter at all when a pattern is too short for any skipping to pay.
 */
export function buildFilters(patterns: readonly Uint8Array[]): Filter[] {
  if (patterns.some((pattern) => pattern.length < shortest)) return [];
  return [
    patterns.filter((pattern) => pattern.length >= long),
    patterns.filter((pattern) => pattern.length < long),
  ].flatMap((group) => (group.length > 0 ? [buildFilter(group)] : []));
}

function buildFilter(patterns: readonly Uint8Array[]): Filter {
  let window = widest;
  for (const pattern of patterns) window = Math.min(window, pattern.length);
  const gram = window >= long ? 4 : 2;
  const places = window - gram + 1;

  // One in 16 places taken keeps chance hits rare; beyond 1 MiB the table would fall out of the caches.
  const bits = Math.min(20, Math.max(12, Math.ceil(Math.log2(patterns.length * places * 16))));
  const grams = new Uint8Array(1 << bits);
  const shift = 32 - bits;
  const slotOf = (word: number) => Math.imul(word, MULTIPLIER) >>> shift;
  for (const pattern of patterns) {
    for (let at = 0; at < places; at++) {
      const slot = slotOf(wordAt(pattern, at, gram));
      const known = grams[slot]! & DISTANCE;
      const distance = places - at;
      grams[slot] = (grams[slot]! & STARTS) | (known === 0 ? distance : Math.min(known, distance));
    }
    const start = slotOf(wordAt(pattern, 0, 4));
    grams[start] = grams[start]! | STARTS;
  }
  return { window, gram, grams, shift };
}

/** The first `size` bytes from `at` on, little-endian. */
function wordAt(bytes: Uint8Array, at: number, size: number): number {
  let word = 0;
  for (let k = size - 1; k >= 0; k--) word = (word << 8) | bytes[at + k]!;
  return word;
}

/** Below this many bytes, making a view costs more than it gains. */
const worthAView = 1024;

/** What skip() reads words with. */
export function viewOf(bytes: Uint8Array): DataView | undefined {
  return bytes.length < worthAView
    ? undefined
    : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * First place in `bytes[from, to)` where a pattern may begin, or where less than a window is left. `view` is
 * viewOf(bytes); without one, words are put together byte by byte.
 */
export function skip(
  filter: Filter,
  bytes: Uint8Array,
  view: DataView | undefined,
  from: number,
  to: number,
): number {
  if (view === undefined) return skipBytes(filter, bytes, from, to);
  return filter.gram === 4 ? skip4(filter, view, from, to) : skip2(filter, view, from, to);
}

/** For grams of 4 bytes. */
function skip4(filter: Filter, view: DataView, from: number, to: number): number {
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

/** For grams of 2 bytes. */
function skip2(filter: Filter, view: DataView, from: number, to: number): number {
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
    else if (grams[Math.imul(view.getInt32(at - before, true), MULTIPLIER) >>> shift]! & STARTS) break;
    else at++;
  }
  return at - before;
}

/** For both, without a view. */
function skipBytes(filter: Filter, bytes: Uint8Array, from: number, to: number): number {
  const { grams, shift, window, gram } = filter;
  const before = window - gram;
  const stride = before + 1;
  const last = to - gram;
  const wide = gram === 4;
  let at = from + before;
  while (at <= last) {
    let word = bytes[at]! | (bytes[at + 1]! << 8);
    if (wide) word |= (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const distance = grams[Math.imul(word, MULTIPLIER) >>> shift]! & DISTANCE;
    if (distance === 0) at += stride;
    else if (distance > 1) at += distance - 1;
    else {
      const start = at - before;
      const first =
        bytes[start]! | (bytes[start + 1]! << 8) | (bytes[start + 2]! << 16) | (bytes[start + 3]! << 24);
      if (grams[Math.imul(first, MULTIPLIER) >>> shift]! & STARTS) break;
      at++;
    }
  }
  return at - before;
}
