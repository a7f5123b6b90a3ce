/**
 * What a cached result costs: a cold `claimcheck run --cache` that finds it, beside one that has to make it, one that
 * does not look, and `podman run`. One round starts each of them once.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Contender, claimcheck, podman, time } from "./cold-command.ts";
import { median, table } from "./report.ts";

const rounds = 25;
const miss = "a miss";

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bench-"));
  const cached = ["--cache", "--cache-dir", join(folder, "cache")];
  const hit = { ...claimcheck(...cached), name: "a hit" };
  const contenders: readonly Contender[] = [
    hit,
    { ...claimcheck(...cached), name: miss },
    { ...claimcheck(), name: "without --cache" },
    ...podman(),
  ];
  try {
    // The first one makes the result, and reads all files once.
    for (const contender of contenders) time(contender);
    const times = new Map(contenders.map(({ name }) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const each of contenders) {
        const other = ["--env", `ROUND=${round}`];
        const contender = each.name === miss ? { ...claimcheck(...cached, ...other), name: miss } : each;
        times.get(each.name)?.push(time(contender));
      }
    }
    const medians = new Map([...times].map(([name, all]) => [name, median(all)]));
    const reference = medians.get("podman run") ?? (medians.get(miss) as number);
    table(
      `A cold claimcheck run --cache, medians of ${rounds} interleaved rounds`,
      ["", "ms", medians.has("podman run") ? "beside podman run" : "beside a miss"],
      [...medians].map(([name, each]) => [name, each.toFixed(0), `${(each / reference).toFixed(2)} ×`]),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (import.meta.main) await run();
