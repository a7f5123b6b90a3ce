// What a run shows, what its cache keeps, and what the leak guard finds: each sees every family of docs/masking.md.

import { describe, expect, test } from "vitest";
import { createRecording } from "../../../../executor/cache/recording.ts";
import { createFileSearch } from "../../../../executor/leaks/file-search.ts";
import { buildScrubber } from "../../../../executor/output/forward.ts";
import { Secret } from "../../../../shared/secret.ts";
import { found } from "../../../support/scrub-families.ts";

const hidden = found.filter(({ left }) => left.includes("***"));
const scrubberOf = (value: string) =>
  buildScrubber([{ name: "TOKEN", value: new Secret(Buffer.from(value)) }], [], "refuse");

test("there is a family for each kind of form", () => {
  expect(hidden.length).toBeGreaterThan(40);
});

describe("a run shows a mask, and its cache keeps it", () => {
  test.each(hidden)("$says: $printed", ({ value, printed, left }) => {
    const recording = createRecording();
    const scrubber = scrubberOf(value);
    for (const stream of ["stdout", "stderr"] as const) {
      const scrub = recording.of(scrubber.stream(), stream);
      expect(Buffer.concat([scrub.push(Buffer.from(printed)), scrub.end()]).toString()).toBe(left);
    }
    expect(recording.output()!.stdout.toString()).toBe(left);
    expect(recording.output()!.stderr.toString()).toBe(left);
  });
});

describe("the leak guard finds it in a file", () => {
  test.each(hidden)("$says: $printed", ({ value, printed }) => {
    const scrubber = scrubberOf(value);
    const bytes = Buffer.from(printed);
    const search = createFileSearch(scrubber.finder(), 2 * scrubber.longest + 1000);
    const findings = [...search.push({ offset: 0, bytes }), ...search.end(bytes.length)];
    expect(findings.length).toBeGreaterThan(0);
    expect(findings.every((finding) => finding.value === 0)).toBe(true);
  });
});
