// What can be said of the patterns without looking at them one by one: enough to tell at most escapes and line breaks of a
// text that no pattern reaches across. A hint that is wrong by chance costs time, never a hit.

export interface Hints {
  /** First and last bytes of patterns. */
  readonly firsts: Uint8Array;
  readonly lasts: Uint8Array;
  /** Bytes that patterns have. */
  readonly used: Uint8Array;
  /** Bit for each pair of neighbours. */
  readonly pairs: Uint32Array;
  /** Bytes that a pattern begins with before a blank; bit for each pair of them. */
  readonly wordOfOne: Uint8Array;
  readonly wordsOfTwo: Uint32Array;
  /** Bit for the hash of each four neighbours. */
  readonly quads: Uint32Array;
  readonly quadShift: number;
}

const MULTIPLIER = 0x9e3779b1 | 0;

export function buildHints(patterns: readonly Uint8Array[]): Hints {
  const firsts = new Uint8Array(256);
  const lasts = new Uint8Array(256);
  const used = new Uint8Array(256);
  const pairs = new Uint32Array(1 << 11);
  const wordOfOne = new Uint8Array(256);
  const wordsOfTwo = new Uint32Array(1 << 11);
  const total = patterns.reduce((sum, { length }) => sum + length, 0);
  // One in 16 bits taken; beyond 128 KiB the table would fall out of the caches.
  const bits = Math.min(20, Math.max(16, Math.ceil(Math.log2(total * 16 + 1))));
  const quads = new Uint32Array(1 << (bits - 5));
  const quadShift = 32 - bits;
  for (const pattern of patterns) {
    firsts[pattern[0]!] = 1;
    lasts[pattern.at(-1)!] = 1;
    if (pattern[1] === 0x20) wordOfOne[pattern[0]!] = 1;
    else if (pattern[2] === 0x20) setPair(wordsOfTwo, pattern[0]!, pattern[1]!);
    for (let i = 0; i < pattern.length; i++) {
      used[pattern[i]!] = 1;
      if (i > 0) setPair(pairs, pattern[i - 1]!, pattern[i]!);
      if (i > 2) {
        const slot = quadSlot(pattern[i - 3]!, pattern[i - 2]!, pattern[i - 1]!, pattern[i]!, quadShift);
        quads[slot >> 5]! |= 1 << (slot & 31);
      }
    }
  }
  return { firsts, lasts, used, pairs, wordOfOne, wordsOfTwo, quads, quadShift };
}

const quadSlot = (a: number, b: number, c: number, d: number, shift: number): number =>
  Math.imul((a << 24) | (b << 16) | (c << 8) | d, MULTIPLIER) >>> shift;

function setPair(pairs: Uint32Array, a: number, b: number): void {
  const pair = a * 256 + b;
  pairs[pair >> 5]! |= 1 << (pair & 31);
}

const hasPair = (pairs: Uint32Array, a: number, b: number): boolean => {
  const pair = a * 256 + b;
  return ((pairs[pair >> 5]! >>> (pair & 31)) & 1) !== 0;
};

export const isPair = ({ pairs }: Hints, a: number, b: number): boolean => hasPair(pairs, a, b);

/** Whether some pattern may have a blank behind `a`, `b` and `c`, or begins with the last of them before a blank. */
export function isWordBefore(hints: Hints, a: number, b: number, c: number): boolean {
  return (
    hints.wordOfOne[c] === 1 ||
    hasPair(hints.wordsOfTwo, b, c) ||
    (isPair(hints, b, c) && isQuad(hints, a, b, c, 0x20))
  );
}

export function isQuad({ quads, quadShift }: Hints, a: number, b: number, c: number, d: number): boolean {
  const slot = quadSlot(a, b, c, d, quadShift);
  return ((quads[slot >> 5]! >>> (slot & 31)) & 1) !== 0;
}

export function wipeHints({ firsts, lasts, used, pairs, wordOfOne, wordsOfTwo, quads }: Hints): void {
  for (const table of [firsts, lasts, used, pairs, wordOfOne, wordsOfTwo, quads]) table.fill(0);
}
