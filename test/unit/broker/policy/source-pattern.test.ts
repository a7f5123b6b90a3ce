/** Patterns and the sources of the URIs that they are about. */
import { describe, expect, test } from "vitest";
import type { Pattern } from "../../../../shared/glob.ts";
import { splitSource, withSource } from "../../../../shared/source-name.ts";
import { patterns } from "../../../support/policy.ts";

const fits = (pattern: Pattern, uri: string, effect: "allow" | "deny") =>
  patterns.compile(pattern, effect).matches(splitSource(uri));

describe("a pattern", () => {
  test.each<[Pattern, string, boolean]>([
    ["vault://a/b#c", "vault://a/b#c?source=one", true],
    ["vault://a/b#c", "vault://a/b#c?source=two", true],
    ["vault://**", "vault://a/b#c?version=2&source=one", true],
    ["vault://a/b#c?version=2", "vault://a/b#c?version=2&source=one", true],
    [{ exact: "vault://a/b#c" }, "vault://a/b#c?source=one", true],
    ["vault://a/b#c?source=one", "vault://a/b#c?source=one", true],
    ["vault://a/b#c?source=one", "vault://a/b#c?source=two", false],
    ["vault://**?source=pay-*", "vault://a/b#c?source=pay-eu", true],
    ["vault://**?source=pay-*", "vault://a/b#c?source=web", false],
    ["vault://a/b#c?version=2&source=one", "vault://a/b#c?version=2&source=one", true],
    ["**?source=one", "env://A?source=one", true],
    ["**?source=one", "env://A?source=two", false],
    [{ exact: "cmd://echo a" }, "cmd://echo a?source=one", true],
    [{ exact: "cmd://curl x?source=y" }, "cmd://curl x?source=y?source=one", true],
    [{ exact: "cmd://curl x" }, "cmd://curl x?source=y?source=one", false],
    ["op://*/**", "op://vault/item/field?attribute=otp&source=one", true],
  ])("%j and %s: %s, whether it allows or denies", (pattern, uri, expected) => {
    expect(fits(pattern, uri, "allow")).toBe(expected);
    expect(fits(pattern, uri, "deny")).toBe(expected);
  });

  test("that denies one source denies a URI of which nobody knows the source; one that allows does not allow it", () => {
    expect(fits("env://A?source=one", "env://A", "deny")).toBe(true);
    expect(fits("env://A?source=one", "env://A", "allow")).toBe(false);
  });

  test.each(["vault://a/b#c?source=one&version=2", "vault://a/b#c?source=One", "env://A?source="])(
    "%s is refused, because it would never fit",
    (pattern) => {
      for (const effect of ["allow", "deny"] as const) {
        expect(patterns.faultOf(pattern, effect)).toContain('has "source=" where no URI has it');
      }
    },
  );
});

test.each([
  ["env://A", "env://A?source=one"],
  ["vault://a#b?version=1", "vault://a#b?version=1&source=one"],
  ["cmd://x?source=y", "cmd://x?source=y&source=one"],
])("%s of a source is %s, and taken apart again", (text, canonical) => {
  expect(withSource(text, "one")).toBe(canonical);
  expect(splitSource(canonical)).toEqual({ text, source: "one" });
});
