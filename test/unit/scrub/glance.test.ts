// What the few bytes around an escape or a line break must not rule out.

import { expect, it, test } from "vitest";
import { createScrubber } from "../../../executor/scrub/scrubber.ts";

const bytes = (text: string) => Buffer.from(text, "latin1");

function scrub(value: string, ...chunks: string[]): string {
  const stream = createScrubber([bytes(value)]).stream();
  const out = chunks.map((chunk) => Buffer.from(stream.push(bytes(chunk))));
  return Buffer.concat([...out, stream.end()]).toString("latin1");
}

const value = "k7Qp2XwZr9LmT4vB";

test.each([...value].map((character, at) => [at, character] as const))(
  "a value of which character %i alone is escaped, among letters",
  (at, character) => {
    const hex = character.charCodeAt(0).toString(16);
    for (const escaped of [`%${hex}`, `\\u00${hex}`, `&#x${hex};`, `=\n${character}`])
      expect(scrub(value, `before${value.slice(0, at)}${escaped}${value.slice(at + 1)}behind`)).toMatch(
        /^before(=\n)?\*\*\*behind$/,
      );
  },
);

const dump = bytes(value)
  .toString("hex")
  .replace(/..(?=.)/g, "$& ");

it("a dump goes on in the next line and the next chunk, wherever its line ended", () => {
  for (let at = 2; at < dump.length; at += 3)
    expect(scrub(value, `zzzz${dump.slice(0, at)}\n`, `${dump.slice(at + 1)}\n`)).toBe("zzzz***\n");
});

it("white space behind the first character of a value is a line break at the end of a chunk", () => {
  expect(scrub("k 7Qp2XwZr9LmT4vB", "zzzzk\n", "7Qp2XwZr9LmT4vB\n")).toBe("zzzz***\n");
});

it("an encoding goes on behind a line's beginning that is one word with it, but for a sign", () => {
  const encoded = bytes(`${value}${value}${value}`).toString("base64");
  for (const lead of ["12:00:01|", "a|b|", "> app|"]) {
    const text = `${encoded.slice(0, 41)}\n${lead}${encoded.slice(41)}\n`;
    expect(scrub(`${value}${value}${value}`, text), lead).toMatch(/^\*\*\*\n?$/);
  }
});
