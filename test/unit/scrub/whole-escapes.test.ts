// What whole-escapes.ts reads at once is what escapes.ts reads byte by byte.

import fc from "fast-check";
import { expect, it } from "vitest";
import { begins, createUnescape } from "../../../executor/scrub/escapes.ts";
import {
  BARE,
  BYTE,
  ITSELF,
  LENGTH_SHIFT,
  SOFT,
  wholeEscape,
} from "../../../executor/scrub/whole-escapes.ts";

type Character = [byte: number, start: number, end: number, dressed: boolean];

/** @param known how many escapes were read at once is added here; none are without it. */
function read(text: Uint8Array, known?: { count: number }): Character[] {
  const characters: Character[] = [];
  const decoder = createUnescape((...character) => characters.push(character));
  for (let at = 0; at < text.length; ) {
    const byte = text[at]!;
    const found = known && begins[byte] === 1 && decoder.rests() ? wholeEscape(text, at, text.length) : -1;
    if (found < 0) {
      decoder.feed(byte, at, at + 1, false);
      at++;
      continue;
    }
    if (known) known.count++;
    const length = found >> LENGTH_SHIFT;
    if (found & SOFT) characters.push([-1, at, at, true]);
    else {
      const start = found & BARE ? at + length - 1 : at;
      characters.push([found & BYTE, start, at + length, (found & ITSELF) === 0]);
    }
    at += length;
  }
  decoder.end();
  return characters;
}

/** Escapes and halves of them. */
const part = fc.oneof(
  fc.constantFrom(
    "\\",
    "%",
    "&",
    "=",
    "%25",
    "\\u00",
    "\\x",
    "&#",
    "&#x",
    ";",
    "\n",
    "\r\n",
    "u{",
    "}",
    "%5C",
    "=3D",
    "%u0041",
  ),
  fc.string({ unit: fc.constantFrom(..."\\%&=#;ux{}09afAFnrtgzU4 \n\xe9"), maxLength: 6 }),
  fc.integer({ min: 0, max: 255 }).chain((byte) => {
    const hex = byte.toString(16).padStart(2, "0");
    return fc.constantFrom(
      `%${hex}`,
      `%25${hex}`,
      `=${hex.toUpperCase()}`,
      `\\x${hex}`,
      `\\u00${hex}`,
      `\\\\u00${hex}`,
      `\\${byte.toString(8).padStart(3, "0")}`,
      `\\${hex}`,
      `\\${String.fromCharCode(byte)}`,
      `&#${byte};`,
      `&#x${hex};`,
    );
  }),
);

it("an escape read at once is the one that is read byte by byte", () => {
  const known = { count: 0 };
  fc.assert(
    fc.property(fc.array(part, { maxLength: 12 }), (parts) => {
      const text = Buffer.from(parts.join(""), "latin1");
      expect(read(text, known)).toEqual(read(text));
    }),
    { numRuns: 3000 },
  );
  expect(known.count).toBeGreaterThan(1000);
});
