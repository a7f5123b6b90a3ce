// What real programs print of awkward values (test/vectors/scrub/make-tools.py): nothing of it is left to read.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { createScrubber } from "../../../../executor/scrub/scrubber.ts";

interface Tools {
  readonly values: readonly string[];
  /** What the command printed of each value, by its index, in base64. */
  readonly rows: readonly {
    readonly command: readonly string[];
    readonly prints: readonly (readonly [number, string])[];
  }[];
}

const file = new URL("../../../vectors/scrub/tools.json", import.meta.url);
const { values, rows }: Tools = JSON.parse(readFileSync(file, "utf8"));

/** So much of a value in a row, as it is or encoded, is a leak. */
const telling = 6;

/** All that long parts of what could be read back. */
function pieces(value: string): Set<string> {
  const bytes = Buffer.from(value);
  const texts = [value, bytes.toString("hex"), bytes.toString("hex").toUpperCase(), bytes.toString("base64")];
  for (const text of [...texts])
    texts.push(text.replaceAll(/(..)/g, "$1 "), text.replaceAll(/(....)/g, "$1 "));
  const found = new Set<string>();
  for (const text of texts)
    for (let at = 0; at + telling <= text.length; at++) found.add(text.slice(at, at + telling));
  return found;
}

/** Public words that stand in values, and what a program prints besides. */
const plain = /-----(BEGIN|END) [A-Z ]+-----|PRIVATE KEY|private_key|password|service|https?:\/\/|"type"/g;

const scrubbers = values.map((value) => createScrubber([Buffer.from(value)]));
const secrets = values.map(pieces);

function scrub(value: number, text: Buffer, size: number): string {
  const stream = scrubbers[value]!.stream();
  const parts: Uint8Array[] = [];
  for (let at = 0; at < text.length; at += size) parts.push(stream.push(text.subarray(at, at + size)));
  return Buffer.concat([...parts, stream.end()]).toString();
}

test.each(rows)("$command", ({ command, prints }) => {
  const leaks: string[] = [];
  for (const [value, printed] of prints) {
    const text = Buffer.from(printed, "base64");
    // od leaves out a line that repeats the one before: what is left is half a value.
    if (text.includes("*") && command.join().includes("od ")) continue;
    // The command itself changes these.
    if (command.join().includes("tr / _") && values[value]!.includes("/")) continue;
    // A dump that shows the text beside hides a value of several parts by its parts alone (docs/masking.md).
    if (/\| xxd$/.test(command.join(" ")) && /\n|\{"/.test(values[value]!)) continue;
    // console.log() takes its first text for a format.
    if (command[0] === "node" && values[value]!.includes("%o")) continue;
    const left = scrub(value, text, text.length);
    expect(scrub(value, text, 7)).toBe(left);
    expect(scrub(value, text, 1)).toBe(left);
    const readable = left.replaceAll(plain, "·");
    for (let at = 0; at + telling <= readable.length; at++)
      if (secrets[value]!.has(readable.slice(at, at + telling))) {
        leaks.push(
          `${JSON.stringify(values[value])}: ${JSON.stringify(text.toString())} → ${JSON.stringify(left)}`,
        );
        break;
      }
  }
  expect(leaks).toEqual([]);
});
