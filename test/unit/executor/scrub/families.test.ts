// docs/masking.md says what is found and what is not: each of its lines has an example, and each example turns red when the
// piece of code that finds it is taken out of a copy of the scrubber.

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { createScrubber } from "../../../../executor/scrub/scrubber.ts";
import { type Family, found, missed } from "../../../support/scrub-families.ts";

const source = fileURLToPath(new URL("../../../../executor/scrub", import.meta.url));
const page = readFileSync(new URL("../../../../docs/masking.md", import.meta.url), "utf8");
const copies = mkdtempSync(join(tmpdir(), "claimcheck-mechanisms-"));
afterAll(() => rmSync(copies, { recursive: true }));

function scrub(create: typeof createScrubber, { value, printed }: Family, size = printed.length * 4): string {
  const stream = create([Buffer.from(value)], { shortValues: "show" }).stream();
  const text = Buffer.from(printed);
  const out: Uint8Array[] = [];
  for (let at = 0; at < text.length; at += size) out.push(stream.push(text.subarray(at, at + size)));
  return Buffer.concat([...out, stream.end()]).toString();
}

function replaceOnce(path: string, code: string, instead: string): void {
  const whole = readFileSync(path, "utf8");
  expect(whole.split(code).length, `${code} stands in ${path} once`).toBe(2);
  writeFileSync(
    path,
    whole.replace(code, () => instead),
  );
}

test.each([...found, ...missed])("$says: $printed", (family) => {
  expect(scrub(createScrubber, family)).toBe(family.left);
  expect(scrub(createScrubber, family, 1)).toBe(family.left);
});

describe("without the code that finds it, it is not found", () => {
  test.each(found.map((family, i) => ({ ...family, i })))("$says: $printed", async (family) => {
    const [file, code, instead] = family.breaks!;
    const folder = join(copies, `${family.i}`);
    cpSync(source, folder, { recursive: true });
    replaceOnce(join(folder, file), code, instead);
    // The usual escapes are read a second way, with the same outcome: whole-escapes.test.ts compares.
    const usual = ["if (at + 8 >= to) return -1;", "if (to >= 0) return -1;"] as const;
    if (file === "escapes.ts") replaceOnce(join(folder, "whole-escapes.ts"), ...usual);
    const broken = await import(pathToFileURL(join(folder, "scrubber.ts")).href);
    expect(scrub(broken.createScrubber, family)).not.toBe(family.left);
  });
});

/** Rows of tables and of lists, with their further lines; without the tables' heads. */
function linesOf(heading: string): string[] {
  const section = new RegExp(`^## ${heading}\n(.*?)(?=^## )`, "ms").exec(page)![1]!;
  return section.split(/\n(?=[-|] |\n)/).filter((line) => /^\n?(- |\| (?!form|escape|---))/.test(line));
}

describe("each line of docs/masking.md has an example", () => {
  test.each(["Values and their parts", "Encodings", "Escapes", "White space"])("%s", (heading) => {
    const lines = linesOf(heading);
    expect(lines.length).toBeGreaterThan(1);
    expect(lines.filter((line) => !found.some(({ says }) => line.includes(says)))).toEqual([]);
  });

  test("What is not found", () => {
    const lines = linesOf("What is not found");
    // These take two streams, a place in a line that the fuzz job knows, a long dump, or 64 KiB: other tests have them.
    const elsewhere = /standard output|last three characters|its text beside|over 64 KiB/;
    const alone = lines.filter(
      (line) => !elsewhere.test(line) && !missed.some(({ says }) => line.includes(says)),
    );
    expect(alone).toEqual([]);
    expect(lines.filter((line) => elsewhere.test(line)).length).toBe(4);
  });

  test("each example is of a line of it", () => {
    const text = page.replaceAll(/\s+/g, " ");
    expect([...found, ...missed].filter(({ says }) => !text.includes(says))).toEqual([]);
  });
});
