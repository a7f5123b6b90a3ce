import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ClaimcheckError } from "../../../shared/errors.ts";
import { head, splitParameters, splitUri, takeCacheKey } from "../../../shared/uri.ts";
import { refusalOf } from "../../support/refusal.ts";

describe("a secret URI", () => {
  test.each([
    ["env://NAME", "env", "NAME"],
    ["file:///etc/hosts", "file", "/etc/hosts"],
    ["op://vault/item/field", "op", "vault/item/field"],
    ["a1://", "a1", ""],
    ["cmd://curl https://host/path", "cmd", "curl https://host/path"],
    ["env://a://b", "env", "a://b"],
  ])("%s is split at the first ://", (uri, scheme, rest) => {
    expect(splitUri(uri)).toEqual({ scheme, rest });
  });

  test.each([
    "",
    "NAME",
    "env:NAME",
    "env:/NAME",
    "://NAME",
    "ENV://NAME",
    "1a://x",
    "a b://x",
    "é://x",
    "env\n://x",
  ])("%j is none", async (uri) =>
    expect(await refusalOf(() => splitUri(uri))).toMatchObject({ code: "invalid_uri" }),
  );
});

describe("parameters", () => {
  const known = ["trim", "cacheKey"];

  test.each<[string, string, Record<string, string>]>([
    ["NAME", "NAME", {}],
    ["NAME?trim=newline", "NAME", { trim: "newline" }],
    ["NAME?trim=", "NAME", { trim: "" }],
    ["NAME?cacheKey=a%26b%3D%20c&trim=newline", "NAME", { cacheKey: "a&b= c", trim: "newline" }],
    ["NAME?cacheKey=a%2526", "NAME", { cacheKey: "a%26" }],
    ["NAME?cacheKey=a=b?c", "NAME", { cacheKey: "a=b?c" }],
  ])("of %s are split and decoded once", (rest, path, parameters) => {
    const split = splitParameters(rest, known);
    expect(split.path).toBe(path);
    expect(Object.fromEntries(split.parameters)).toEqual(parameters);
  });

  test.each([
    ["unknown", "NAME?trin=newline"],
    ["without a value", "NAME?trim"],
    ["without a name", "NAME?=newline"],
    ["empty", "NAME?"],
    ["ending in &", "NAME?trim=newline&"],
    ["there twice", "NAME?trim=newline&trim=newline"],
    ["not percent-encoded well", "NAME?trim=%zz"],
    ["of another case", "NAME?Trim=newline"],
    ["a name every object has", "NAME?constructor=1"],
  ])("that are %s are refused", async (_, rest) => {
    expect(await refusalOf(() => splitParameters(rest, known))).toMatchObject({ code: "invalid_uri" });
  });
});

describe("the cache key in a URI", () => {
  test.each([
    ["env://A", { uri: "env://A" }],
    ["env://A?cacheKey=k", { uri: "env://A", cacheKey: "k" }],
    ["env://A?cacheKey=", { uri: "env://A", cacheKey: "" }],
    ["env://A?cacheKey=a%26b", { uri: "env://A", cacheKey: "a&b" }],
    ["env://A?trim=newline&cacheKey=k", { uri: "env://A?trim=newline", cacheKey: "k" }],
    ["env://A?cacheKey=k&trim=newline", { uri: "env://A?trim=newline", cacheKey: "k" }],
    ["env://A?trim=newline", { uri: "env://A?trim=newline" }],
    ["cmd://fetch 'a?cacheKey=k'", { uri: "cmd://fetch 'a?cacheKey=k'" }],
  ])("is taken out of %s", (uri, taken) => expect(takeCacheKey(uri)).toEqual(taken));

  test.each(["env://A?cacheKey=a&cacheKey=b", "env://A?cacheKey=%"])("is refused in %s", async (uri) => {
    expect(await refusalOf(() => takeCacheKey(uri))).toMatchObject({ code: "invalid_uri" });
  });
});

describe("people paste values where a URI belongs, so", () => {
  test.each([
    ["", ""],
    ["ab", "ab"],
    ["abc", "abc"],
    ["abcd", "abc…"],
    ["a\u{1f511}bcd", "a\u{1f511}b…"],
    ["\u{1f511}\u{1f511}\u{1f511}\u{1f511}", "\u{1f511}\u{1f511}\u{1f511}…"],
  ])("of %j an error shows %j", (text, shown) => expect(head(text)).toBe(shown));

  test("head never shows more than 3 characters, and no half of one", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        const shown = head(text).replace(/…$/, "");
        expect([...shown].length).toBeLessThanOrEqual(3);
        expect(shown.isWellFormed()).toBe(true);
        expect(text.startsWith(shown)).toBe(true);
      }),
    );
  });

  // Characters that the grammar gives a meaning, between ones that only a value would have.
  const pasted = fc.string({ unit: fc.constantFrom(..."envcmd:/?&=%#aZ9 é\n\0") });

  test.each<[string, (text: string) => unknown]>([
    ["splitUri", splitUri],
    ["splitParameters", (text) => splitParameters(text, ["trim", "cacheKey"])],
    ["takeCacheKey", takeCacheKey],
  ])("%s throws coded errors only, and they show at most 3 characters of it", (_, parse) => {
    fc.assert(
      fc.property(fc.oneof(pasted, fc.string({ unit: "binary" })), (text) => {
        try {
          parse(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ClaimcheckError);
          const { detail, message } = error as ClaimcheckError;
          // A marker at the fourth character has to be gone from what is shown.
          const quoted = /^(?:unknown parameter )?"([\s\S]*?)…?"/.exec(detail ?? "")?.[1] ?? "";
          if (quoted !== "trim" && quoted !== "cacheKey") expect([...quoted].length).toBeLessThanOrEqual(3);
          expect(message).toBe("The secret URI is invalid.");
        }
      }),
      { numRuns: 500 },
    );
  });
});
