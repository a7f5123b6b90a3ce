/** What somebody else wrote comes to a terminal as text: nothing that it obeys, hides or turns around. */
import { expect, test } from "vitest";
import { printable, printableJson } from "../../../shared/printable.ts";

test.each([
  ["an escape sequence", "\u001b[31mred\u001b]8;;http://x\u0007", "\\u{1b}[31mred\\u{1b}]8;;http://x\\u{7}"],
  ["C1, which some terminals obey", "a\u009b2Jb\u0085", "a\\u{9b}2Jb\\u{85}"],
  [
    "a line break, which could begin a line of its own",
    "a\r\nb\u2028c\u2029d",
    "a\\u{d}\\u{a}b\\u{2028}c\\u{2029}d",
  ],
  ["marks of direction", "abc\u202egpj.exe\u2066\u200f", "abc\\u{202e}gpj.exe\\u{2066}\\u{200f}"],
  ["what is not seen", "a\u200bb\ufeffc\u{e0041}\u007f", "a\\u{200b}b\\u{feff}c\\u{e0041}\\u{7f}"],
  ["half a character", "a\ud800b", "a\\u{d800}b"],
  ["ordinary text of any language", "日本 עברית é 🔑 *#/:", "日本 עברית é 🔑 *#/:"],
])("%s", (_, text, shown) => {
  expect(printable(text)).toBe(shown);
  const json = printableJson({ text });
  expect(json).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u);
  expect(JSON.parse(json)).toEqual({ text });
});
