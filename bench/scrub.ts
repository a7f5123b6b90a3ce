// The scrubber's speed, beside a plain copy and beside other programs on the same bytes.
//
//   node bench/scrub.ts [MiB of log, default 32] [rounds, default 7] [a row's name or a part of it]
//
// With a name, only the rows of the scrubber that it fits are measured: `node bench/scrub.ts 16 3 "near misses"`.
// Each round measures everything once, one after the other, so that whatever else the machine does hits all of
// them; printed is the median of the rounds. Figures in MB/s say something about one machine only; those with
// a % are parts of a copy (Uint8Array.set of the same chunks) and of the same rounds, which travel better.

import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createScrubber, type Scrubber } from "../executor/scrub/scrubber.ts";
import { ciLog, tokens } from "./ci-log.ts";
import {
  chunkSize,
  dressed,
  hostile,
  type Input,
  inChunks,
  inLines,
  scrubberOf,
  scrubSpeed,
} from "./hostile.ts";
import { findPeers, writeSecrets } from "./peers.ts";

const counts = [1, 10, 100, 500, 1000, 5000];
/** For texts in a dress, of which there are many. */
const dressedCount = 100;
function copySpeed({ chunks, size }: Input): number {
  const target = new Uint8Array(chunkSize);
  const start = performance.now();
  for (const chunk of chunks) target.set(chunk);
  return size / 1e3 / (performance.now() - start);
}

function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1]!;
}

interface Row {
  readonly name: string;
  /** By count of secrets; undefined is not measured. */
  readonly cells: ((() => number) | undefined)[];
}

function measure(rows: readonly Row[], rounds: number): number[][] {
  const figures = rows.map(({ cells }) => cells.map((): number[] => []));
  for (let round = 0; round < rounds; round++) {
    for (const [r, { cells }] of rows.entries()) {
      for (const [c, cell] of cells.entries()) if (cell) figures[r]![c]!.push(cell());
    }
  }
  return figures.map((row) => row.map(median));
}

function table(title: string, rows: readonly Row[], figures: readonly number[][], copy?: number) {
  console.log(`\n${title}`);
  console.log(`${"secrets".padEnd(40)}${counts.map((count) => String(count).padStart(13)).join("")}`);
  for (const [r, { name }] of rows.entries()) {
    const cells = figures[r]!.map((speed) => {
      if (speed === undefined) return "".padStart(13);
      const digits = speed < 10 ? 1 : 0;
      return (
        copy ? `${speed.toFixed(digits)} ${((100 * speed) / copy).toFixed(1)}%` : speed.toFixed(digits)
      ).padStart(13);
    });
    console.log(`${name.padEnd(40)}${cells.join("")}`);
  }
}

/** Time, and memory still held after a full collection: by JavaScript objects and by array buffers. */
function compileCost(secrets: readonly Uint8Array[]): { ms: number; megabytes: number } {
  setFlagsFromString("--expose-gc");
  const gc: () => void = runInNewContext("gc");
  const used = () => {
    gc();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = used();
  const kept = createScrubber(secrets);
  const megabytes = (used() - before) / 1e6;
  const times: number[] = [];
  for (let i = 0; i < 9; i++) {
    const start = performance.now();
    createScrubber(secrets);
    times.push(performance.now() - start);
  }
  kept.wipe();
  return { ms: median(times), megabytes };
}

export async function run(mebibytes = 32, rounds = 7, only = ""): Promise<void> {
  const wanted = (name: string) => name.includes(only);
  const log = Buffer.from(ciLog(mebibytes << 20));
  const large = inChunks(log);
  const lines = inLines(log);
  const perLine = log.length / lines.chunks.length;
  const raw = counts.map((count) => createScrubber(tokens(count), { forms: false }));
  const all = counts.map((count) => createScrubber(tokens(count)));

  const logRows: Row[] = [
    { name: "copy", cells: [() => copySpeed(large)] },
    { name: "secrets as they are", cells: raw.map((scrubber) => () => scrubSpeed(scrubber, large)) },
    { name: "in all forms", cells: all.map((scrubber) => () => scrubSpeed(scrubber, large)) },
    { name: "in all forms, a line a chunk", cells: all.map((scrubber) => () => scrubSpeed(scrubber, lines)) },
    { name: "as they are, a line a chunk", cells: raw.map((scrubber) => () => scrubSpeed(scrubber, lines)) },
  ].filter(({ name }) => name === "copy" || wanted(name));
  const logFigures = measure(logRows, rounds);
  const copy = logFigures[0]![0]!;
  table(
    `CI log, ${mebibytes} MiB in 32 KiB chunks, ${perLine.toFixed(0)} bytes a line; MB/s and % of the copy`,
    logRows,
    logFigures,
    copy,
  );

  const hostileRows = Object.entries(hostile)
    .filter(([name]) => wanted(name))
    .map(([name, make]): Row => {
      const cells = counts.map((count) => {
        const given = make(count, (mebibytes << 20) / 8);
        const scrubber = scrubberOf(given);
        const input = inChunks(given.text);
        return () => scrubSpeed(scrubber, input);
      });
      return { name, cells };
    });
  for (const [name, make] of Object.entries(dressed).filter(([name]) => wanted(name))) {
    const given = make(dressedCount, (mebibytes << 20) / 64);
    const scrubber = scrubberOf(given);
    const input = inChunks(given.text);
    const cell = () => scrubSpeed(scrubber, input);
    hostileRows.push({ name, cells: counts.map((count) => (count === dressedCount ? cell : undefined)) });
  }
  if (hostileRows.length > 0)
    table("hostile inputs, MB/s and % of the copy", hostileRows, measure(hostileRows, rounds), copy);
  if (only !== "") return;

  const shortMix = [4, 6, 8, 16].map((length) =>
    createScrubber([...tokens(90), ...tokens(10, 9, length)], { forms: false }),
  );
  const shortFigures = measure(
    [{ name: "short", cells: shortMix.map((scrubber) => () => scrubSpeed(scrubber, large)) }],
    rounds,
  )[0]!;
  console.log("\nCI log, 100 secrets as they are, 10 of them short; MB/s and % of the copy");
  for (const [i, length] of [4, 6, 8, 16].entries()) {
    const speed = shortFigures[i]!;
    console.log(
      `  ${length} bytes`.padEnd(30) +
        `${speed.toFixed(0)} ${((100 * speed) / copy).toFixed(1)}%`.padStart(13),
    );
  }

  console.log("\ncompiling secrets in all forms; memory is heapUsed + arrayBuffers after a full collection");
  for (const count of [100, 500]) {
    const { ms, megabytes } = compileCost(tokens(count));
    console.log(
      `  ${count} secrets`.padEnd(30) + `${ms.toFixed(0)} ms ${megabytes.toFixed(1)} MB`.padStart(13),
    );
  }

  const { peers, missing, folder, close } = findPeers(log);
  try {
    const files = counts.map((count) => writeSecrets(folder, tokens(count)));
    // Another program has just had the caches, so the first pass is for warming up, as theirs over the page cache.
    const warm = (scrubber: Scrubber) => () => median([0, 1, 2].map(() => scrubSpeed(scrubber, large)));
    const peerRows: Row[] = [
      { name: "the scrubber", cells: raw.map(warm) },
      ...peers.map(({ name, measure }) => ({
        name,
        // One command of sed a secret: beyond 100 a round would take minutes.
        cells: files.map((file, i) =>
          name.startsWith("sed") && counts[i]! > 100 ? undefined : () => measure(file),
        ),
      })),
    ];
    const peerFigures = measure(peerRows, Math.min(rounds, 3));
    table("beside others: the same log, secrets as they are, MB/s", peerRows, peerFigures);
    console.log("\ntimes faster than each");
    for (const [r, { name }] of peerRows.entries()) {
      if (r === 0) continue;
      const times = peerFigures[r]!.map((speed, c) =>
        (speed === undefined ? "" : (peerFigures[0]![c]! / speed).toFixed(1)).padStart(13),
      );
      console.log(`${name.padEnd(30)}${times.join("")}`);
    }
    for (const sentence of missing) console.log(`not measured: ${sentence}`);
  } finally {
    close();
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  await run(Number(process.argv[2] ?? 32), Number(process.argv[3] ?? 7), process.argv[4]);
}
