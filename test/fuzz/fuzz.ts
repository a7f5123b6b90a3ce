// npm run fuzz [-- CASES [FIRST_SEED]]: plays that many games of the scrubber against the oracle, 10 million from
// seed 0 unless told otherwise, on all cores. A game depends on its seed alone. Prints a line every 100,000
// games; a game that was lost goes to corpus/ as JSON, where the normal tests play it again. Exit code 1 if any.

import { mkdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { draw } from "./draw.ts";
import { play } from "./game.ts";

/** Games a worker is given at once. */
const batch = 10_000;
const corpus = new URL("corpus/", import.meta.url);

interface Played {
  readonly lost: { readonly seed: number; readonly how: string }[];
}

function playBatch(first: number, count: number): Played {
  const lost: Played["lost"] = [];
  for (let seed = first; seed < first + count; seed++) {
    let how: string | undefined;
    try {
      how = play(draw(seed));
    } catch (error) {
      how = String((error as Error).stack);
    }
    if (how !== undefined) lost.push({ seed, how });
  }
  return { lost };
}

function work() {
  parentPort!.on("message", ({ first, count }: { first: number; count: number }) => {
    parentPort!.postMessage(playBatch(first, count));
  });
}

async function lead(cases: number, firstSeed: number) {
  const started = Date.now();
  const end = firstSeed + cases;
  let next = firstSeed;
  let played = 0;
  let losses = 0;
  const hire = () =>
    new Promise<void>((done, fail) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: "fuzz" });
      let count = 0;
      const give = () => {
        count = Math.min(batch, end - next);
        if (count <= 0) {
          worker.terminate().then(() => done(), fail);
          return;
        }
        worker.postMessage({ first: next, count });
        next += count;
      };
      worker.on("error", fail);
      worker.on("message", ({ lost }: Played) => {
        for (const { seed, how } of lost) {
          losses++;
          mkdirSync(corpus, { recursive: true });
          writeFileSync(new URL(`seed-${seed}.json`, corpus), `${JSON.stringify(draw(seed))}\n`);
          console.log(`seed ${seed} lost: ${how}`);
        }
        const before = Math.floor(played / 100_000);
        played += count;
        if (Math.floor(played / 100_000) > before || played === cases) {
          const seconds = (Date.now() - started) / 1000;
          console.log(
            `${played} of ${cases} games, ${losses} lost, ${Math.round(played / seconds)} a second`,
          );
        }
        give();
      });
      give();
    });
  console.log(`${cases} games from seed ${firstSeed}`);
  await Promise.all(Array.from({ length: availableParallelism() }, hire));
  process.exitCode = losses > 0 ? 1 : 0;
}

if (isMainThread) await lead(Number(process.argv[2] ?? 10_000_000), Number(process.argv[3] ?? 0));
else if (workerData === "fuzz") work();
