// Tells of a place that triggers.ts found whether a pattern may reach across it, from the few bytes around. What
// it lets pass is read for good by dressed.ts; what it does not is in no hit.

import { colon, isBreak, isHex, isLetter, isLowerHex, isQuote, isSpace } from "./bytes.ts";
import { begins, createUnescape, mayEscape } from "./escapes.ts";
import { type Hints, isPair, isQuad, isWordBefore } from "./hints.ts";
import { BYTE, ITSELF, LENGTH_SHIFT, SOFT, wholeEscape } from "./whole-escapes.ts";

const blank = 0x20;
/** How far is looked for what follows white space or an escape. */
const ahead = 64;

/** Of so many letters in a row, the last few may be the beginning of something that goes on in the next line. */
export const longRun = 40;
/** Of so many, as in an encoding that was wrapped, fewer bytes than `surely` may. */
export const shortRun = 16;

/** The byte at a place; -1 beyond the chunk's end, -2 before all that is known. */
export type ByteAt = (at: number) => number;

/** What a pattern's byte may be dressed with. */
function isOdd(byte: number): boolean {
  return byte >= 0 && (kinds[byte]! & SPECIAL) !== 0;
}

/**
 * Whether a pattern without white space of its own may reach across the line break at `at`: only behind a run of letters, in a
 * dump, or where an escape is near. False is what most line breaks get, and there are many, so nothing here is a branch that the
 * processor would have to guess.
 */
export function mayMatter(bytes: Uint8Array, at: number): boolean {
  if (at < longRun || at + 8 > bytes.length) return true;
  const last = kinds[bytes[at - 1]!]!;
  const run =
    last & kinds[bytes[at - 6]!]! & kinds[bytes[at - 11]!]! & kinds[bytes[at - shortRun]!]! & LETTER;
  const digits = last & kinds[bytes[at - 2]!]! & HEX;
  const address =
    kinds[bytes[at + 1]!]! &
    kinds[bytes[at + 2]!]! &
    kinds[bytes[at + 3]!]! &
    kinds[bytes[at + 5]!]! &
    kinds[bytes[at + 6]!]! &
    HEX;
  return (run | digits | address | (last & (SPECIAL | COLON))) !== 0;
}

const LETTER = 1;
const HEX = 2;
const SPECIAL = 4;
const COLON = 8;
/** What each byte is. */
const kinds = Uint8Array.from(
  { length: 256 },
  (_, byte) =>
    (isLetter[byte] ? LETTER : 0) |
    (isHex(byte) ? HEX : 0) |
    (begins[byte] === 1 || byte === 0x24 || isQuote(byte) || isSpace(byte) ? SPECIAL : 0) |
    (byte === colon ? COLON : 0),
);

/** The same with the patterns at hand, for a line break with nothing but plain bytes around. */
export function mayReachAcross(hints: Hints, bytes: Uint8Array, at: number): boolean {
  if (at < longRun || at + 8 > bytes.length) return true;
  const c = bytes[at - 1]!;
  const n = bytes[at + 1]!;
  const o = bytes[at + 2]!;
  const p = bytes[at + 3]!;
  const last = kinds[c]!;
  if (((last | kinds[n]! | kinds[o]! | kinds[p]!) & SPECIAL) !== 0) return true;
  if ((kinds[n]! & kinds[o]! & kinds[p]! & kinds[bytes[at + 5]!]! & kinds[bytes[at + 6]!]! & HEX) !== 0)
    return true;
  const b = bytes[at - 2]!;
  const a = bytes[at - 3]!;
  // The table of pairs is small, the one of quads is not.
  if (
    isPair(hints, c, blank) &&
    isPair(hints, blank, n) &&
    (isQuad(hints, c, blank, n, o) || isQuad(hints, b, c, blank, n))
  )
    return true;
  const isLong =
    (last & kinds[bytes[at - 6]!]! & kinds[bytes[at - 11]!]! & kinds[bytes[at - shortRun]!]! & LETTER) !== 0;
  if (!isLong) return (last & (HEX | COLON)) !== 0 && isQuad(hints, bytes[at - 4]!, a, b, c);
  return (
    isQuad(hints, bytes[at - 4]!, a, b, c) ||
    isQuad(hints, b, c, n, o) ||
    isQuad(hints, a, b, c, n) ||
    isQuad(hints, c, n, o, p) ||
    (kinds[bytes[at - 8]!]! &
      kinds[bytes[at - 13]!]! &
      kinds[bytes[at - 19]!]! &
      kinds[bytes[at - 23]!]! &
      kinds[bytes[at - 27]!]! &
      kinds[bytes[at - 31]!]! &
      kinds[bytes[at - 35]!]! &
      kinds[bytes[at - longRun]!]! &
      LETTER) !==
      0
  );
}

export function createGlance(): (hints: Hints, bytes: Uint8Array, byteAt: ByteAt, at: number) => boolean {
  let first = -1;
  let firstEnd = 0;
  const decoder = createUnescape((byte, _, end) => {
    if (first !== -1) return;
    first = byte;
    firstEnd = end;
  });

  function glanceEscape(hints: Hints, bytes: Uint8Array, byteAt: ByteAt, at: number): boolean {
    const found = at < 0 ? -1 : wholeEscape(bytes, at, bytes.length);
    if (found >= 0 && (found & SOFT) === 0) {
      if (found & ITSELF) return false;
      first = found & BYTE;
      firstEnd = at + (found >> LENGTH_SHIFT);
    } else {
      const second = byteAt(at + 1);
      if (second !== -1 && !mayEscape(byteAt(at), second)) return false;
      first = -1;
      decoder.reset();
      let next = at;
      for (; first === -1 && next < at + ahead; next++) {
        const byte = byteAt(next);
        if (byte === -1) return true;
        decoder.feed(byte, next, next + 1, false);
      }
      // Nothing, or a line break that does not count.
      if (first < 0) return true;
      if (firstEnd === at + 1) return false;
    }
    if (isSpace(first)) return glanceSpace(hints, byteAt, at, firstEnd, isBreak(first));
    const before = byteAt(at - 1);
    if (hints.used[first] === 0) return false;
    if (!isOdd(before) && hints.firsts[first] === 0 && before >= 0 && !isPair(hints, before, first))
      return false;
    if (first >= 0x80) return true;
    const after = byteAt(firstEnd);
    const known = amongPlain(hints, byteAt, at, first, firstEnd);
    if (known !== undefined) return known;
    return after < 0 || isOdd(after) || hints.lasts[first] === 1 || isPair(hints, first, after);
  }

  /** Whether four neighbours of a pattern, `byte` among them, stand at `[at, end)` and around; undefined unless all around is plain. */
  function amongPlain(
    hints: Hints,
    byteAt: ByteAt,
    at: number,
    byte: number,
    end: number,
  ): boolean | undefined {
    const a = byteAt(at - 3);
    const b = byteAt(at - 2);
    const c = byteAt(at - 1);
    const n = byteAt(end);
    const o = byteAt(end + 1);
    const p = byteAt(end + 2);
    if ((a | b | c | n | o | p) < 0) return undefined;
    if (((kinds[a]! | kinds[b]! | kinds[c]! | kinds[n]! | kinds[o]! | kinds[p]!) & SPECIAL) !== 0)
      return undefined;
    return (
      isQuad(hints, a, b, c, byte) ||
      isQuad(hints, b, c, byte, n) ||
      isQuad(hints, c, byte, n, o) ||
      isQuad(hints, byte, n, o, p)
    );
  }

  /** @param from behind the white space as far as it is known. @param given whether a line broke in it. */
  function glanceSpace(hints: Hints, byteAt: ByteAt, at: number, from: number, given: boolean): boolean {
    let start = at;
    let broke = given;
    while (isSpace(byteAt(start - 1)) && at - start < ahead) broke = isBreak(byteAt(--start)) || broke;
    const c = byteAt(start - 1);
    if (c === -2) return false;
    if (isOdd(c)) return true;
    if (hints.used[c] === 0) return false;
    const b = byteAt(start - 2);
    const a = byteAt(start - 3);
    const isLong = broke && isRun(byteAt, start, shortRun);
    if (broke && a >= 0 && isQuad(hints, byteAt(start - 4), a, b, c)) {
      if (isLong || byteAt(start - 8) < 0) return true;
      if (
        (isHex(c) || c === colon) &&
        isQuad(hints, byteAt(start - 8), byteAt(start - 7), byteAt(start - 6), byteAt(start - 5))
      )
        return true;
    }
    let next = from;
    while (isSpace(byteAt(next)) && next < at + ahead) broke = isBreak(byteAt(next++)) || broke;
    const n = byteAt(next);
    // What is not known yet decides of what is held, so only what is to be held counts.
    if (n < 0) {
      const isPlain = a >= 0 && b >= 0 && !isOdd(a) && !isOdd(b);
      const goesOn = isPair(hints, c, blank) && (!isPlain || isWordBefore(hints, a, b, c));
      return goesOn || (isLong && isRun(byteAt, start, longRun));
    }
    if (isOdd(n)) return true;
    const o = byteAt(next + 1);
    const p = byteAt(next + 2);
    if (o < 0 || isOdd(o)) return isPair(hints, c, n) || isPair(hints, c, blank);
    // With white space of its own: at least two bytes stand before it or behind it.
    if (isQuad(hints, c, blank, n, o) || (b >= 0 && isQuad(hints, b, c, blank, n))) return true;
    if (!isLong) return false;
    if (isQuad(hints, b, c, n, o) || isQuad(hints, a, b, c, n)) return true;
    if (p < 0 || isOdd(p) ? isPair(hints, c, n) : isQuad(hints, c, n, o, p)) return true;
    return isRun(byteAt, start, longRun);
  }

  return (hints, bytes, byteAt, at) => {
    const byte = byteAt(at);
    if (byte < 0) return false;
    if (isSpace(byte)) return glanceSpace(hints, byteAt, at, at + 1, isBreak(byte));
    if (isQuote(byte) || byte === 0x24) return true;
    return glanceEscape(hints, bytes, byteAt, at);
  };
}

/** Shortest address of a dump, in digits: od has 7, xxd and hexdump have 8. */
export const address = 7;
export const longestAddress = 8;

/** Whether a dump's line begins at `at`, or may. */
export function isDump(byteAt: ByteAt, at: number): boolean {
  for (let i = 0; i <= longestAddress; i++) {
    const byte = byteAt(at + i);
    if (byte === -1) return i > 0;
    if (!isLowerHex(byte)) return i >= address && (byte === blank || byte === colon);
  }
  return false;
}

/** Whether a run of letters of this length ends right before `end`. */
function isRun(byteAt: ByteAt, end: number, length: number): boolean {
  for (let at = end - 1; at >= end - length; at--) {
    const byte = byteAt(at);
    if (byte < 0 || isLetter[byte] === 0) return false;
  }
  return true;
}
