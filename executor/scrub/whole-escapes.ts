// Reads the escapes that are usual: whole, of one byte, and all at hand. What it does not know, escapes.ts reads byte by byte, with the
// same outcome; a text that is full of escapes goes through here.

import { isWord } from "./bytes.ts";
import { begins, controls, mayEscape } from "./escapes.ts";

const backslash = 0x5c;
const percent = 0x25;
const ampersand = 0x26;
const equals = 0x3d;
const LF = 0x0a;

/** Parts of what wholeEscape() gives: the byte, and whether it stands for itself, unescaped. */
export const BYTE = 0xff;
export const ITSELF = 1 << 8;
/** The escape is a line break that does not count; there is no byte. */
export const SOFT = 1 << 9;
/** The escape is a backslash before a letter, which is not counted as its beginning: it takes up the last byte alone. */
export const BARE = 1 << 10;
/** The length begins here. */
export const LENGTH_SHIFT = 11;

const mostBackslashes = 1000;

/** Value of a hex digit; 16 for what is none. */
const digits = Uint8Array.from({ length: 256 }, (_, byte) => {
  const value = Number.parseInt(String.fromCharCode(byte), 16);
  return Number.isNaN(value) ? 16 : value;
});

/** Of a backslash and this byte: what it stands for; 0x100 if that takes more bytes to tell. */
const afterBackslash = Uint16Array.from({ length: 256 }, (_, byte) => {
  if (digits[byte]! < 16 || byte === 0x78 || byte === 0x75 || byte === 0x55) return 0x100;
  return controls.get(byte) ?? byte;
});

const whole = (length: number, value: number) => (length << LENGTH_SHIFT) | value;

/**
 * The escape that begins at `at`, which is no part of another, in `bytes[at, to)`; -1 if it is not whole, does not stand for one byte, or
 * may begin another escape with what it stands for.
 */
export function wholeEscape(bytes: Uint8Array, at: number, to: number): number {
  // A few bytes more than most escapes have, so that nothing below has to look whether they are there.
  if (at + 8 >= to) return -1;
  const first = bytes[at]!;
  if (first === percent) return percented(bytes, at, to);
  if (first === backslash) return backslashed(bytes, at, to);
  return first === ampersand ? entity(bytes, at, to) : quotedPrintable(bytes, at, to);
}

function percented(bytes: Uint8Array, at: number, to: number): number {
  const next = bytes[at + 1]!;
  let value = (digits[next]! << 4) | digits[bytes[at + 2]!]!;
  if ((digits[next]! | digits[bytes[at + 2]!]!) > 15)
    return next === percent || next === 0x75 ? -1 : whole(1, ITSELF | percent);
  let length = 3;
  while (value === percent && at + length + 1 < to) {
    const high = digits[bytes[at + length]!]!;
    const low = digits[bytes[at + length + 1]!]!;
    if ((high | low) > 15) break;
    value = (high << 4) | low;
    length += 2;
  }
  return settled(bytes, at, to, length, value);
}

function backslashed(bytes: Uint8Array, at: number, to: number): number {
  let k = 1;
  while (at + k + 8 < to && bytes[at + k] === backslash && k < mostBackslashes) k++;
  if (at + k + 8 >= to || k === mostBackslashes) return -1;
  const from = at + k;
  const next = bytes[from]!;
  const value = afterBackslash[next]!;
  if (value < 0x100) {
    if (begins[value] === 1) return settled(bytes, at, to, k + 1, value);
    return whole(k + 1, value === next && isWord(value) ? BARE | value : value);
  }
  const a = digits[bytes[from + 1]!]!;
  const b = digits[bytes[from + 2]!]!;
  if (next === 0x78) return (a | b) > 15 ? -1 : settled(bytes, at, to, k + 3, (a << 4) | b);
  if (next === 0x75) {
    const c = digits[bytes[from + 3]!]!;
    const d = digits[bytes[from + 4]!]!;
    return (a | b) !== 0 || c > 7 || d > 15 ? -1 : settled(bytes, at, to, k + 5, (c << 4) | d);
  }
  if (next === 0x55) return -1;
  const n = digits[next]!;
  if (a > 15) return settled(bytes, at, to, k + 1, controls.get(next) ?? next);
  if (n > 3 || a > 7 || b > 7) return settled(bytes, at, to, k + 2, (n << 4) | a);
  return settled(bytes, at, to, k + 3, (n << 6) | (a << 3) | b);
}

function entity(bytes: Uint8Array, at: number, to: number): number {
  if (bytes[at + 1] !== 0x23) return mayEscape(ampersand, bytes[at + 1]!) ? -1 : whole(1, ITSELF | ampersand);
  const isHex = bytes[at + 2] === 0x78;
  let length = isHex ? 3 : 2;
  const from = length;
  let point = 0;
  for (; length < from + 4; length++) {
    const digit = digits[bytes[at + length]!]!;
    if (digit > (isHex ? 15 : 9)) break;
    point = point * (isHex ? 16 : 10) + digit;
  }
  if (length === from || point > 0x7f || bytes[at + length] !== 0x3b) return -1;
  return settled(bytes, at, to, length + 1, point);
}

function quotedPrintable(bytes: Uint8Array, at: number, to: number): number {
  const next = bytes[at + 1]!;
  if (next === LF) return whole(2, SOFT);
  if (next === 0x0d) return -1;
  const high = digits[next]!;
  const low = digits[bytes[at + 2]!]!;
  const value = (high << 4) | low;
  if ((high | low) > 15 || next >= 0x61 || bytes[at + 2]! >= 0x61 || isWord(value))
    return whole(1, ITSELF | equals);
  return settled(bytes, at, to, 3, value);
}

/** Unless what it stands for may go on as an escape. */
function settled(bytes: Uint8Array, at: number, to: number, length: number, value: number): number {
  if (begins[value] === 1 && (at + length >= to || mayEscape(value, bytes[at + length]!))) return -1;
  return whole(length, value);
}
