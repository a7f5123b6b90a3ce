// What a value looks like to dressed.ts, however programs dress it: without escapes, each run of white space as one blank, of
// doubled quotes and dollars one. So one spelling stands for all that programs make of the value with escapes.
//
// A few more are needed where a dress leaves no trace or runs into what stands around the value: lines joined by nothing or by
// commas, `+` for a blank, and a value whose first letters complete an escape with what may stand before it (`=2F…` after a
// variable's name) or whose last ones begin one (`…%`).

import { isBreak, isQuote, isSpace } from "./bytes.ts";
import { createUnescape } from "./escapes.ts";

const blank = 0x20;
const dollar = 0x24;
const equals = 0x3d;
const percent = 0x25;
const backslash = 0x5c;

/** Shortest spelling that is searched, unless it is the value itself. */
const shortest = 5;
/** Shortest without what stood between the lines. */
const shortestJoined = 8;

/** All spellings of the value that dressed.ts searches for. They may repeat each other. */
export function canonicalSpellings(value: Uint8Array): Uint8Array[] {
  const found = contexts(value, shortest);
  // `%%` may be one escaped `%`, or two of which each has an escape of its own.
  if (value.some((byte, at) => byte === percent && value[at + 1] === percent)) {
    found.push(...contexts(value, shortest, true));
  }
  if (value.some(isBreak)) {
    for (const between of [",", "", " "]) {
      const joined = joinLines(value, between);
      found.push(...contexts(joined, between === " " ? shortest : shortestJoined));
      joined.fill(0);
    }
  }
  // \xNN and %NN may also mean a character of Latin-1, as in Python's ascii() and ECMAScript's escape().
  if (value.some((byte) => byte === 0xc2 || byte === 0xc3)) {
    const latin = latin1(value);
    found.push(...contexts(latin, shortest));
    latin.fill(0);
  }
  if (value.includes(blank)) {
    const form = value.map((byte) => (byte === blank ? 0x2b : byte));
    found.push(...contexts(form, shortest));
    form.fill(0);
  }
  return found;
}

/** @param each whether each `%` of the value has an escape of its own. */
function contexts(value: Uint8Array, least: number, each = false): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const before of [undefined, equals, percent, backslash]) {
    for (const whole of [true, false]) {
      const full = canonical(value, before, whole, each);
      found.push(...edges(full, before));
      full.fill(0);
    }
  }
  return found.filter((spelled) => {
    if (spelled.length >= least) return true;
    spelled.fill(0);
    return false;
  });
}

/** Without the quotes, dollars and white space around it, and without a `before` that stands for itself. */
function edges(full: Uint8Array, before: number | undefined): Uint8Array[] {
  const from = before !== undefined && full[0] === before ? 1 : 0;
  const inner = trim(full.subarray(from), isSpace);
  const bare = trim(inner, (byte) => isQuote(byte) || byte === dollar || isSpace(byte));
  return (bare.length < inner.length ? [inner, bare] : [inner]).map((part) => new Uint8Array(part));
}

/** @param whole false leaves out an escape that has begun at the end. */
function canonical(value: Uint8Array, before: number | undefined, whole: boolean, each: boolean): Uint8Array {
  const out = new Uint8Array(value.length + 8);
  let length = 0;
  const decoder = createUnescape((byte) => {
    const last = length > 0 ? out[length - 1]! : -1;
    if (byte < 0 || (isSpace(byte) && last === blank)) return;
    if ((isQuote(byte) && isQuote(last)) || ((byte === dollar || byte === percent) && byte === last)) return;
    out[length++] = isSpace(byte) ? blank : byte;
  });
  if (before !== undefined) decoder.feed(before, 0, 0, false);
  for (let i = 0; i < value.length; i++) decoder.feed(value[i]!, 0, 0, each && value[i] === percent);
  if (whole) decoder.end();
  decoder.wipe();
  const result = out.slice(0, length);
  out.fill(0);
  return result;
}

/** U+0080 to U+00FF as one byte, everything else as it is. */
function latin1(value: Uint8Array): Uint8Array {
  const out = new Uint8Array(value.length);
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const next = value[i + 1] ?? 0;
    if ((value[i] === 0xc2 || value[i] === 0xc3) && (next & 0xc0) === 0x80) {
      out[length++] = ((value[i]! & 3) << 6) | (next & 0x3f);
      i++;
    } else out[length++] = value[i]!;
  }
  const result = out.slice(0, length);
  out.fill(0);
  return result;
}

function joinLines(value: Uint8Array, between: string): Uint8Array {
  const out = new Uint8Array(value.length);
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    if (!isBreak(value[i]!)) out[length++] = value[i]!;
    else if (between !== "" && !isBreak(value[i - 1]!)) out[length++] = between.charCodeAt(0);
  }
  const result = out.slice(0, length);
  out.fill(0);
  return result;
}

export function trim(bytes: Uint8Array, drop: (byte: number) => boolean): Uint8Array {
  let start = 0;
  let end = bytes.length;
  while (start < end && drop(bytes[start]!)) start++;
  while (end > start && drop(bytes[end - 1]!)) end--;
  return bytes.subarray(start, end);
}
