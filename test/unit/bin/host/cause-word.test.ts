/** What the operator's logs say of a cause. */
import { expect, test } from "vitest";
import { causeWord } from "../../../../bin/host/cause-word.ts";

test.each<[string, unknown, string | undefined]>([
  ["its code", Object.assign(new Error("guessme"), { code: "ECONNRESET" }), "ECONNRESET"],
  [
    "its name, where its code is no word",
    Object.assign(new TypeError("x"), { code: "guessme: 1" }),
    "TypeError",
  ],
  ["nothing, where neither is a word", { code: "gu/essme", name: "guess me" }, undefined],
  ["nothing of a text", "guessme", undefined],
  ["nothing, where there is none", undefined, undefined],
])("%s", (_, cause, word) => expect(causeWord(cause)).toBe(word));
