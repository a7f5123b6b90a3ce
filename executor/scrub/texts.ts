// Reads texts that stand for others: JSON strings and base64.

import { createUnescape } from "./escapes.ts";

const quote = 0x22;
const backslash = 0x5c;

/** The string whose quote is at `at`, without its escapes, and the place behind it. */
export function readJsonString(bytes: Uint8Array, at: number): { text: Uint8Array; end: number } {
  let end = at + 1;
  while (end < bytes.length && bytes[end] !== quote) end += bytes[end] === backslash ? 2 : 1;
  const out = new Uint8Array(Math.max(0, end - at));
  let length = 0;
  // Only escapes that begin with a backslash, and one after the other: `\\n` is a backslash and an n.
  const decoder = createUnescape((byte) => {
    if (byte >= 0) out[length++] = byte;
  });
  for (let i = at + 1; i < Math.min(end, bytes.length); i++) {
    if (bytes[i] !== backslash) {
      out[length++] = bytes[i]!;
      continue;
    }
    if (bytes[i + 1] === backslash) {
      out[length++] = backslash;
      i++;
      continue;
    }
    const pair =
      bytes[i + 1] === 0x75 &&
      (bytes[i + 2]! | 0x20) === 0x64 &&
      (bytes[i + 3]! & 0x5f) !== 0 &&
      isHigh(bytes[i + 3]!);
    const size = bytes[i + 1] === 0x75 ? (pair ? 12 : 6) : 2;
    const blank = shortEscapes.get(bytes[i + 1]!);
    if (blank !== undefined) out[length++] = blank;
    else {
      for (let k = i; k < Math.min(i + size, end); k++) decoder.feed(bytes[k]!, 0, 0, false);
      decoder.end();
      decoder.wipe();
    }
    i += size - 1;
  }
  const text = out.slice(0, length);
  out.fill(0);
  return { text, end: Math.min(end + 1, bytes.length) };
}

const isHigh = (byte: number) =>
  byte === 0x38 || byte === 0x39 || (byte | 0x20) === 0x61 || (byte | 0x20) === 0x62;

const shortEscapes = new Map([
  [0x62, 0x08],
  [0x66, 0x0c],
  [0x6e, 0x0a],
  [0x72, 0x0d],
  [0x74, 0x09],
]);

const places = new Int8Array(256).fill(-1);
for (const [i, c] of [..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"].entries())
  places[c.charCodeAt(0)] = i;
for (const [c, i] of [
  ["+", 62],
  ["-", 62],
  ["/", 63],
  ["_", 63],
] as const)
  places[c.charCodeAt(0)] = i;

/** Shortest text that is taken for base64, in letters: shorter ones are so by chance. */
const shortestEncoded = 12;

/** What base64 stands for, if it is a text; white space is no part of it. */
export function decodeBase64(bytes: Uint8Array): Uint8Array | undefined {
  const out = new Uint8Array(Math.ceil((bytes.length * 3) / 4));
  let length = 0;
  let letters = 0;
  let bits = 0;
  let ended = false;
  let valid = true;
  for (let i = 0; i < bytes.length && valid; i++) {
    const byte = bytes[i]!;
    if (byte <= 0x20) continue;
    const place = places[byte]!;
    if (byte === 0x3d) ended = true;
    else if (place < 0 || ended) valid = false;
    else {
      letters++;
      bits = (bits << 6) | place;
      if (letters % 4 !== 1) {
        const behind = 2 * ((4 - (letters % 4)) % 4);
        out[length++] = (bits >> behind) & 0xff;
        bits &= (1 << behind) - 1;
      }
    }
  }
  const isText =
    valid &&
    letters >= shortestEncoded &&
    out.subarray(0, length).every((byte) => byte >= 0x20 || (byte >= 9 && byte <= 13));
  const text = isText && isUtf8(out.subarray(0, length)) ? out.slice(0, length) : undefined;
  out.fill(0);
  return text;
}

function isUtf8(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; ) {
    const lead = bytes[i]!;
    const size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (size === 0 || i + size > bytes.length) return false;
    for (let k = 1; k < size; k++) if ((bytes[i + k]! & 0xc0) !== 0x80) return false;
    i += size;
  }
  return true;
}
