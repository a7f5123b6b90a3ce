// A value byte by byte, as people read it: in hex a byte or two at a time, or in decimal.
//
//   od -An -tx1, Go's "% x"          68 75 6e 74 65 72
//   fingerprints, openssl            68:75:6E:74:65:72
//   .NET's BitConverter              68-75-6E-74-65-72
//   xxd                              6875 6e74 6572, and 68 756e 7465 72 where it begins in the middle of a group
//   xxd -i, Go's %#v                 0x68, 0x75, 0x6e
//   Node's JSON of a Buffer          104,117,110
//   Node's <Buffer …>                68 75 6e 74, of a longer value the first 50 bytes

import { hexDigits, put } from "./respell.ts";

const lowerHex = (byte: number) => hexDigits(byte, 2);
const upperHex = (byte: number) => lowerHex(byte).toUpperCase();

/** So many bytes Node shows of a Buffer. */
const bufferShown = 50;

export function dumps(value: Uint8Array): Uint8Array[] {
  return [
    ...[lowerHex, upperHex].flatMap((spell) => [
      dump(value, spell, " "),
      dump(value, spell, ":"),
      dump(value, spell, "-"),
      dump(value, spell, " ", 2, 0),
      dump(value, spell, " ", 2, 1),
    ]),
    dump(value, (byte) => `0x${lowerHex(byte)}`, ", "),
    ...(value.length > bufferShown ? [dump(value.subarray(0, bufferShown), lowerHex, " ")] : []),
  ];
}

/**
 * Without white space: elsewhere it is aligned (`98,  97, 99`), and two blanks begin no search where a value has none, so what is
 * found would depend on how the text is cut.
 */
export function numbers(value: Uint8Array): Uint8Array[] {
  return [dump(value, String, ",")];
}

/** @param phase how many bytes of the first group stand before the value. */
function dump(
  value: Uint8Array,
  spell: (byte: number) => string,
  between: string,
  group = 1,
  phase = 0,
): Uint8Array {
  const out = new Uint8Array(6 * value.length);
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    if (i > 0 && (i + phase) % group === 0) length = put(out, length, between);
    length = put(out, length, spell(value[i]!));
  }
  const result = out.slice(0, length);
  out.fill(0);
  return result;
}
