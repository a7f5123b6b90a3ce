/** How many values a text in JSON has, before it is parsed: a small text can say more than this process has time for. */

const [quote, backslash, comma, bracket, brace] = [0x22, 0x5c, 0x2c, 0x5b, 0x7b];

/** @returns whether there are more, of a text that is in JSON; of another text, whatever ends first. */
export function hasMoreValues(json: Uint8Array, limit: number): boolean {
  // Each comma and each bracket that opens has a value behind it, and there is one more.
  let count = 1;
  let isInString = false;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === quote) isInString = !isInString;
    else if (isInString) at += byte === backslash ? 1 : 0;
    else if ((byte === comma || byte === bracket || byte === brace) && ++count > limit) return true;
  }
  return false;
}
