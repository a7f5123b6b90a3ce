// Hex as people read it: a byte or two at a time, with a blank or a colon in between.
//
//   od -An -tx1, Go's "% x"          68 75 6e 74 65 72
//   fingerprints, openssl            68:75:6E:74:65:72
//   xxd                              6875 6e74 6572, and 68 756e 7465 72 where it begins in the middle of a group

import { hexDigits } from "./respell.ts";

export function dumps(value: Uint8Array): Uint8Array[] {
  return [false, true].flatMap((upper) => [
    dump(value, upper, 0x20, 1, 0),
    dump(value, upper, 0x3a, 1, 0),
    dump(value, upper, 0x20, 2, 0),
    dump(value, upper, 0x20, 2, 1),
  ]);
}

/** @param phase how many bytes of the first group stand before the value. */
function dump(value: Uint8Array, upper: boolean, between: number, group: number, phase: number): Uint8Array {
  const out = new Uint8Array(3 * value.length);
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    if (i > 0 && (i + phase) % group === 0) out[length++] = between;
    const digits = hexDigits(value[i]!, 2);
    for (let k = 0; k < 2; k++) out[length++] = (upper ? digits.toUpperCase() : digits).charCodeAt(k);
  }
  const result = out.slice(0, length);
  out.fill(0);
  return result;
}
