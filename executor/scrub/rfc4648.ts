// Base64 (RFC 4648 sections 4 and 5) of a value wherever it stands in a longer text, and hex (section 8).

import { hexDigits, range, respell, spelling } from "./respell.ts";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const pad = 0x3d;

/**
 * The letters that `value` becomes inside a longer text, when `before` bytes (modulo 3) stand in front of it.
 * A letter that also carries bits of a neighbour is left out. If the text ends with the value, the last
 * letter carries zeros instead: `tail` is the spelling with that letter, `padded` has the padding, too.
 *
 *   before = 1   | x x x x x x x x|v v v v v v v v|v v v v v v v v|
 *   letters      |  mixed    |   mixed   |    v      |     v     |
 */
function base64Letters(value: Uint8Array, before: number, lastTwo: string) {
  const letters = alphabet + lastTwo;
  const first = before === 0 ? 0 : before + 1;
  const bits = 8 * (before + value.length);
  const byteAt = (i: number) => (i < before ? 0 : (value[i - before] ?? 0));
  const count = Math.ceil(bits / 6);
  const padding = (4 - (count % 4)) % 4;
  const padded = new Uint8Array(count - first + padding).fill(pad);
  for (let k = first; k < count; k++) {
    const bit = 6 * k;
    const pair = (byteAt(bit >> 3) << 8) | byteAt((bit >> 3) + 1);
    padded[k - first] = letters.charCodeAt((pair >> (10 - (bit & 7))) & 63);
  }
  const tail = padded.slice(0, count - first);
  return { whole: padding === 0 ? tail : tail.slice(0, -1), tail, padded };
}

/** Letters that carry nothing but the value, and the end of a text that ends with it. */
export function base64(value: Uint8Array): Uint8Array[] {
  return [0, 1, 2].flatMap((before) => {
    const { whole, tail, padded } = base64Letters(value, before, "+/");
    if (tail !== whole) tail.fill(0);
    return [whole, padded];
  });
}

/**
 * Only where it differs from base64: there it may also end without padding. (Were the unpadded end searched
 * for every value, it would take a letter of the text that follows.)
 */
export function base64url(value: Uint8Array): Uint8Array[] {
  return [0, 1, 2].flatMap((before) => {
    const { whole, tail, padded } = base64Letters(value, before, "-_");
    if (tail.includes(0x2d) || tail.includes(0x5f)) return [whole, tail, padded];
    for (const unused of [whole, tail, padded]) unused.fill(0);
    return [];
  });
}

const lowerHex = spelling(range(0, 255, (byte) => hexDigits(byte, 2)));
const upperHex = lowerHex.map((digits) => digits?.toUpperCase());

export function hex(value: Uint8Array): Uint8Array[] {
  return [lowerHex, upperHex].map((table) => respell(value, table));
}
