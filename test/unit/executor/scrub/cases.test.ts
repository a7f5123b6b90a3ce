// The shared cases, as given, in one chunk, and byte by byte.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createScrubber } from "../../../../executor/scrub/scrubber.ts";

/** See cases.json: `after` is the whole output after each chunk, `flush` the chunks after which it is called. */
interface Case {
  name: string;
  mode: "patterns" | "values";
  secrets: string[];
  chunks: string[];
  expected: string;
  after?: string[];
  flush?: number[];
  encoding?: "base64";
}

const file = new URL("../../../vectors/scrub/cases.json", import.meta.url);
const cases: Case[] = JSON.parse(readFileSync(file, "utf8"));

test.each(cases)("$name", ({ mode, secrets, chunks, expected, after, flush, encoding }) => {
  const coding: BufferEncoding = encoding ?? "utf8";
  const bytes = (text: string) => Buffer.from(text, coding);
  const scrubber = createScrubber(secrets.map(bytes), { forms: mode === "values" });
  const given = chunks.map(bytes);

  const stream = scrubber.stream();
  let output = Buffer.alloc(0);
  for (const [i, chunk] of given.entries()) {
    output = Buffer.concat([output, stream.push(chunk)]);
    if (flush?.includes(i)) output = Buffer.concat([output, stream.flush()]);
    if (after?.[i] !== undefined) expect(output.toString(coding)).toBe(bytes(after[i]).toString(coding));
  }
  output = Buffer.concat([output, stream.end()]);
  expect(output.toString(coding)).toBe(bytes(expected).toString(coding));

  // A flush belongs to its place between the chunks as given.
  if (flush) return;
  const whole = Buffer.concat(given);
  for (const size of [whole.length, 1]) {
    const parts = Array.from({ length: Math.ceil(whole.length / size) || 0 }, (_, i) =>
      stream.push(whole.subarray(i * size, (i + 1) * size)),
    );
    expect(Buffer.concat([...parts, stream.end()]).toString(coding)).toBe(bytes(expected).toString(coding));
  }
});
