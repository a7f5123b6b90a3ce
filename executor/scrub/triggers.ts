// Finds where in a chunk a byte may not stand for itself: an escape begins, a quote or a dollar is doubled, white space
// is more than one blank. Most texts have few such places, so finding none must cost next to nothing: bytes that are
// rare are looked for by the engine's own search, line breaks and tabs sixteen bytes at a time.

import { isQuote, isSpace } from "./bytes.ts";
import { begins, mayBegin } from "./escapes.ts";
import { mayMatter } from "./glance.ts";

const backslash = 0x5c;
const percent = 0x25;
const ampersand = 0x26;
const equals = 0x3d;
const blank = 0x20;
const dollar = 0x24;

/** In chunks below this many bytes, each byte is looked at. */
const worthSearching = 1024;
/** So far is looked byte by byte before the engine is asked, which costs as much as these. */
const near = 16;

export interface Triggers {
  /** Goes over to a chunk. @param before the byte before it, or -1. */
  start(bytes: Uint8Array, view: DataView | undefined, before: number, doubled: Doubled): void;
  /** The first place at `from` or later, or the chunk's length. `from` never goes back within a chunk. */
  next(from: number): number;
}

/** What counts if it is doubled: what patterns have. */
export interface Doubled {
  readonly quotes: boolean;
  readonly dollars: boolean;
  readonly blanks: boolean;
}

/** The engine's search, where it has a fast one. */
const nativeIndexOf: ((this: Uint8Array, needle: number | Uint8Array, from: number) => number) | undefined =
  typeof Buffer === "undefined" ? undefined : Buffer.prototype.indexOf;

/** One for each stream, because a chunk may be as short as a line: nothing is made for it. */
export function createTriggers(): Triggers {
  let bytes: Uint8Array = new Uint8Array(0);
  let length = 0;
  let before = -1;
  let doubled: Doubled = { quotes: false, dollars: false, blanks: false };
  let needles = needlesOf(doubled);
  let plain = plainOf(doubled);
  /** Where each needle is next, and, last, the chunk's first byte if it is one of a pair. */
  let found: number[] = [];
  let nearest = 0;
  let searched = false;
  let controls: Int32Array = controlsFound;
  let control = 0;

  function isTrigger(at: number): boolean {
    const byte = bytes[at]!;
    if (begins[byte] === 1) return mayBegin(bytes, at);
    if (byte >= 0x09 && byte <= 0x0d) return true;
    if (byte !== blank && byte !== dollar && !isQuote(byte)) return false;
    const last = at > 0 ? bytes[at - 1]! : before;
    if (byte === blank) return doubled.blanks && isSpace(last);
    return byte === dollar ? doubled.dollars && last === dollar : doubled.quotes && isQuote(last);
  }

  /** Where `needle` is next; of a pair, the second one is the place. */
  function find(needle: number | Uint8Array, from: number): number {
    if (typeof needle !== "number") {
      const at = nativeIndexOf!.call(bytes, needle, Math.max(0, from - 1));
      return at < 0 ? length : at + 1;
    }
    for (let start = from; ; ) {
      const close = Math.min(start + near, length);
      let at = start;
      while (at < close && bytes[at] !== needle) at++;
      if (at === close) at = nativeIndexOf!.call(bytes, needle, close);
      if (at < 0 || at >= length) return length;
      if (mayBegin(bytes, at)) return at;
      start = at + 1;
    }
  }

  return {
    start(given, view, previous, pairs) {
      bytes = given;
      length = given.length;
      before = previous;
      if (pairs !== doubled) {
        doubled = pairs;
        needles = needlesOf(pairs);
        plain = plainOf(pairs);
      }
      searched = length >= worthSearching && view !== undefined && nativeIndexOf !== undefined;
      if (!searched) return;
      controls = findControls(bytes, view!, pairs.blanks);
      control = 0;
      found = needles.map((needle) => find(needle, 0));
      // What the byte before makes a pair of.
      if (isTrigger(0)) found.push(0);
      nearest = Math.min(...found);
    },
    next(from) {
      if (!searched) {
        // A loop reads what is its own faster than what is the closure's.
        const given = bytes;
        const end = length;
        const passes = plain;
        for (let at = from; ; at++) {
          while (
            at + 4 <= end &&
            (passes[given[at]!]! &
              passes[given[at + 1]!]! &
              passes[given[at + 2]!]! &
              passes[given[at + 3]!]!) ===
              1
          )
            at += 4;
          while (at < end && passes[given[at]!] === 1) at++;
          if (at >= end || isTrigger(at)) return at;
        }
      }
      if (nearest < from) {
        nearest = length;
        for (let i = 0; i < found.length; i++) {
          if (found[i]! < from) found[i] = i < needles.length ? find(needles[i]!, from) : length;
          nearest = Math.min(nearest, found[i]!);
        }
      }
      while (controls[control]! < from) control++;
      return Math.min(controls[control]!, nearest);
    },
  };
}

function needlesOf({ quotes, dollars, blanks }: Doubled): (number | Uint8Array)[] {
  return [
    backslash,
    percent,
    ampersand,
    equals,
    ...(blanks ? [twoBlanks] : []),
    ...(quotes ? twoQuotes : []),
    ...(dollars ? [twoDollars] : []),
  ];
}

const twoBlanks = Uint8Array.of(blank, blank);
const twoDollars = Uint8Array.of(dollar, dollar);
const twoQuotes = [0x22, 0x27].flatMap((a) => [0x22, 0x27].map((b) => Uint8Array.of(a, b)));

/** 1 for bytes that are never a trigger. */
function plainOf({ quotes, dollars, blanks }: Doubled): Uint8Array {
  const plain = new Uint8Array(256).fill(1);
  for (const byte of [backslash, percent, ampersand, equals]) plain[byte] = 0;
  for (let byte = 0x09; byte <= 0x0d; byte++) plain[byte] = 0;
  if (quotes) plain[0x22] = plain[0x27] = 0;
  if (dollars) plain[dollar] = 0;
  if (blanks) plain[blank] = 0;
  return plain;
}

/** A bit for each byte below 0x0E in a word; with one of them, there may be more bits than that. */
const tops = 0x80808080 | 0;
const low = (word: number) => (word - 0x0e0e0e0e) & ~word;

/** Where tabs, LF, VT, FF and CR are. */
function findControls(bytes: Uint8Array, view: DataView, every: boolean): Int32Array {
  const { length } = bytes;
  let found = controlsFound;
  let count = 0;
  const last = length - 16;
  let at = 0;
  while (at <= last) {
    const a = low(view.getInt32(at, true));
    const b = low(view.getInt32(at + 4, true));
    const c = low(view.getInt32(at + 8, true));
    const d = low(view.getInt32(at + 12, true));
    if (((a | b | c | d) & tops) === 0) {
      at += 16;
      continue;
    }
    // Bits 0 to 3 of each: which of the word's bytes may be one. The lowest bit is never one too many.
    const bits =
      (gather(a) >>> 28) | ((gather(b) >>> 28) << 4) | ((gather(c) >>> 28) << 8) | ((gather(d) >>> 28) << 12);
    at += 31 - Math.clz32(bits & -bits);
    if (count > found.length - 20) found = growControls();
    found[count] = at;
    count += bytes[at]! >= 0x09 && (every || mayMatter(bytes, at)) ? 1 : 0;
    at++;
  }
  for (; at < length; at++) if (bytes[at]! >= 0x09 && bytes[at]! <= 0x0d) found[count++] = at;
  found[count] = length;
  return found;
}

/** The top bit of each byte, as the word's upper four bits, the first byte's lowest. */
const gather = (word: number) => Math.imul((word & tops) >>> 7, 0x10204080);

/** Of the last chunk, and its length behind them: one chunk is searched at a time. */
let controlsFound = new Int32Array(1024);

function growControls(): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * controlsFound.length);
  larger.set(controlsFound);
  controlsFound = larger;
  return larger;
}
