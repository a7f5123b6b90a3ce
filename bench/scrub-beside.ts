// The scrubber of this tree beside the one of another checkout, on the same bytes in turn.
//
//   node bench/scrub-beside.ts FOLDER [MiB, default 4] [rounds, default 5] [a row's name or a part of it]
//
// FOLDER is a checkout of this project. Of each side the fastest round counts, by the time that the processor spent on it, so that what
// else the machine does matters little.

import { resolve } from "node:path";
import { createScrubber, type ScrubStream } from "../executor/scrub/scrubber.ts";
import { ciLog, tokens } from "./ci-log.ts";
import { chunkSize, dressed, type Hostile, hostile, type Input, inChunks, inLines } from "./hostile.ts";
import { table } from "./report.ts";

const count = 100;

const [folder, mebibytes = "4", rounds = "5", only = ""] = process.argv.slice(2);
const size = Number(mebibytes) << 20;
const other: { createScrubber: typeof createScrubber } = await import(
  resolve(folder ?? ".", "executor/scrub/scrubber.ts")
);

const log = ciLog(size);
const onLog = (forms: boolean, input: Input) => ({
  make: () => ({ secrets: tokens(count), text: log, forms }),
  input,
});
const rows: Record<string, { make: () => Hostile; input?: Input }> = {
  "CI log, in all forms": onLog(true, inChunks(log)),
  "CI log, as they are": onLog(false, inChunks(log)),
  "CI log, in all forms, a line a chunk": onLog(true, inLines(log)),
  "CI log, as they are, a line a chunk": onLog(false, inLines(log)),
};
for (const [name, make] of Object.entries({ ...hostile, ...dressed }))
  rows[name] = { make: () => make(count, size / 4) };

/** The processor's clock ticks this seldom, in microseconds, on some machines. */
const coarse = 60_000;

/** In megabytes a second of the processor's time. */
function speed(run: () => void, bytes: number): number {
  const before = process.threadCpuUsage();
  for (let runs = 1; ; runs++) {
    run();
    const { user, system } = process.threadCpuUsage(before);
    if (user + system >= coarse) return (runs * bytes) / (user + system);
  }
}

function pushAll(stream: ScrubStream, { chunks }: Input) {
  for (const chunk of chunks) stream.push(chunk);
  stream.end();
}

const target = new Uint8Array(chunkSize);
const lines: string[][] = [];
for (const [name, { make, input }] of Object.entries(rows)) {
  if (!name.includes(only)) continue;
  const given = make();
  const read = input ?? inChunks(given.text);
  const sides = [createScrubber, other.createScrubber].map((create) =>
    create(given.secrets, { forms: given.forms }),
  );
  const best = [0, 0, 0];
  for (let round = 0; round < Number(rounds); round++) {
    for (const [i, side] of sides.entries())
      best[i] = Math.max(
        best[i]!,
        speed(() => pushAll(side.stream(), read), read.size),
      );
    const copy = () => {
      for (const chunk of read.chunks) target.set(chunk);
    };
    best[2] = Math.max(best[2]!, speed(copy, read.size));
  }
  const [here, there, copy] = best as [number, number, number];
  lines.push([
    name,
    here.toFixed(0),
    there.toFixed(0),
    `${(here / there).toFixed(2)} ×`,
    `${((100 * here) / copy).toFixed(1)} %`,
  ]);
}
table(`${count} secrets, MB/s`, ["", "here", folder ?? "", "here / there", "of a copy"], lines);
