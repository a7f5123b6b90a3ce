/** Patterns against regular expressions that say the same, and against all short texts. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileGlob, covers, matches, overlaps } from "../../../shared/glob.ts";
import { toRegExp } from "../../support/linear-policy.ts";

const letters = ["a", "b", "/", "#"];
const text = fc.array(fc.constantFrom(...letters), { maxLength: 12 }).map((parts) => parts.join(""));
const pattern = fc
  .array(fc.constantFrom(...letters, "*", "**", "a", "*"), { maxLength: 7 })
  .map((parts) => parts.join(""));

/** Every text of up to six of these letters; c is one that no pattern names. */
const texts: string[] = [""];
for (let from = 0, length = 0; length < 6; length += 1) {
  const to = texts.length;
  for (; from < to; from += 1)
    for (const letter of ["a", "/", "#", "c"]) texts.push(`${texts[from]}${letter}`);
}

const short = fc
  .array(fc.constantFrom("a", "/", "#", "*", "**"), { maxLength: 4 })
  .map((parts) => parts.join(""));

test("a pattern matches what the same regular expression matches", () => {
  fc.assert(
    fc.property(pattern, text, (wild, tried) => {
      expect(matches(compileGlob(wild), tried)).toBe(toRegExp(wild).test(tried));
    }),
    { numRuns: 20_000 },
  );
});

test("an exact pattern matches itself, stars and all, and nothing else", () => {
  const star = compileGlob({ exact: "cmd://ls *" });
  expect(matches(star, "cmd://ls *")).toBe(true);
  expect(matches(star, "cmd://ls a")).toBe(false);
  expect(matches(star, "cmd://ls ")).toBe(false);
});

test("one pattern covers another when it matches every text that the other does", () => {
  fc.assert(
    fc.property(short, short, (wide, narrow) => {
      const [outer, inner] = [toRegExp(wide), toRegExp(narrow)];
      const counterexample = texts.find((tried) => inner.test(tried) && !outer.test(tried));
      expect(covers(compileGlob(wide), compileGlob(narrow))).toBe(counterexample === undefined);
    }),
    { numRuns: 1_500 },
  );
});

test("two patterns overlap when some text matches both", () => {
  fc.assert(
    fc.property(short, short, (a, b) => {
      const [left, right] = [toRegExp(a), toRegExp(b)];
      expect(overlaps(compileGlob(a), compileGlob(b))).toBe(
        texts.some((tried) => left.test(tried) && right.test(tried)),
      );
    }),
    { numRuns: 1_500 },
  );
});

describe("a text that somebody chose to be slow", () => {
  test.each([
    ["**a**a**a**a**a**a**b", "a".repeat(8192)],
    ["*a*a*a*a*a*a*a*a*b", "a".repeat(8192)],
    ["**/*a*/**a*a*b", "/a".repeat(4096)],
  ])("%s is answered all the same", (wild, tried) => {
    expect(matches(compileGlob(wild), tried)).toBe(false);
  });
});
