/** How the text of `claimcheck shell` becomes words. */
import { describe, expect, test } from "vitest";
import { parseScript, type Word } from "../../../../bin/chain/pipeline.ts";

type Plain = string | Plain[];
const plain = ({ content }: Word): Plain => (typeof content === "string" ? content : content.map(plain));
const words = (text: string) => parseScript(text).map((stages) => stages.map((stage) => stage.map(plain)));

describe("a script", () => {
  test.each<[string, string, Plain[][][]]>([
    ["is verbs with bars between", "a b | c", [[["a", "b"], ["c"]]]],
    ["goes on after a bar", "a |\n\n  # why\n b", [[["a"], ["b"]]]],
    ["goes on after an escaped line break", "a \\\n b", [[["a", "b"]]]],
    ["ends at a line break or a semicolon", "a\nb; c\n", [[["a"]], [["b"]], [["c"]]]],
    ["can be empty", " \n;# nothing\n", []],
    ["has comments where words begin", "a # b | c\nd#e", [[["a"]], [["d#e"]]]],
  ])("%s", (_, text, pipelines) => expect(words(text)).toEqual(pipelines));
});

describe("a word", () => {
  test.each<[string, string, Plain]>([
    ["in single quotes is as it is", "'a \"$B\" \\n | c'", 'a "$B" \\n | c'],
    ["in double quotes has escapes", '"a \\"\\$B\\" \\n \\\\"', 'a "$B" \\n \\'],
    ["is made of parts", `a'b c'"d e"\\ f`, "ab cd e f"],
    ["can be empty", "''", ""],
    ["can hold a line break", "'a\nb'", "a\nb"],
    ["can be a secret", "$(secret 'env://A B' --cache-key k)", ["secret", "env://A B", "--cache-key", "k"]],
  ])("%s", (_, text, word) => expect(words(`verb ${text}`)).toEqual([[["verb", word]]]));
});

test.each([
  ["a 'b", 1, 3, "this quote is not closed"],
  ['a |\n  "b', 2, 3, "this quote is not closed"],
  ["a | | b", 1, 5, "a verb is missing"],
  ["| a", 1, 1, "a verb is missing"],
  ["a |", 1, 4, "a verb is missing"],
  ["a $B", 1, 3, "write . only inside single quotes"],
  ['a "b $B"', 1, 6, "write . only inside single quotes"],
  ["a b$(c)", 1, 4, "write . only inside single quotes"],
  ["a $(b", 1, 3, "this is not closed with a )"],
  ["a $(b | c)", 1, 3, "this is not closed with a )"],
  ["a )", 1, 3, "nothing was opened that this closes"],
])("%j is wrong at %i:%i", (text, line, column, reason) => {
  expect(() => parseScript(text)).toThrow(
    expect.objectContaining({
      code: "usage",
      detail: expect.stringMatching(`^line ${line}, column ${column}: ${reason.replace(")", "\\)")}`),
    }),
  );
});
