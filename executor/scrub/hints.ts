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
  const total = patterns.reduce((sum, { length }) => sum + length, 0);
  // One in 16 bits taken; beyond 128 KiB the table would fall out of the caches.
  const bits = Math.min(20, Math.max(16, Math.ceil(Math.log2(total * 16 + 1))));
  const quads = new Uint32Array(1 << (bits - 5));
  const quadShift = 32 - bits;
  for (const pattern of patterns) {
    firsts[pattern[0]!] = 1;
    lasts[pattern.at(-1)!] = 1;
    for (let i = 0; i < pattern.length; i++) {
      used[pattern[i]!] = 1;
      if (i > 0) {
        const pair = pattern[i - 1]! * 256 + pattern[i]!;
        pairs[pair >> 5]! |= 1 << (pair & 31);
      }
      if (i > 2) {
        const slot = quadSlot(pattern[i - 3]!, pattern[i - 2]!, pattern[i - 1]!, pattern[i]!, quadShift);
        quads[slot >> 5]! |= 1 << (slot & 31);
      }
    }
  }
  return { firsts, lasts, used, pairs, quads, quadShift };
}

const quadSlot = (a: number, b: number, c: number, d: number, shift: number): number =>
  Math.imul((a << 24) | (b << 16) | (c << 8) | d, MULTIPLIER) >>> shift;

export function isPair({ pairs }: Hints, a: number, b: number): boolean {
  const pair = a * 256 + b;
  return ((pairs[pair >> 5]! >>> (pair & 31)) & 1) !== 0;
}

export function isQuad({ quads, quadShift }: Hints, a: number, b: number, c: number, d: number): boolean {
  const slot = quadSlot(a, b, c, d, quadShift);
  return ((quads[slot >> 5]! >>> (slot & 31)) & 1) !== 0;
}

export function wipeHints({ firsts, lasts, used, pairs, quads }: Hints): void {
  for (const table of [firsts, lasts, used, pairs, quads]) table.fill(0);
}
