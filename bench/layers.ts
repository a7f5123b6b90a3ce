/**
 * What it costs to make a layer of 100 MB of changed files, and to search them for values, beside GNU tar, which only
 * copies them into an archive, and `buildah commit`, which makes an image of them. One round does each of them once.
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLayerStore } from "../executor/layers/layer-store.ts";
import { createLeakGuard } from "../executor/leaks/leak-guard.ts";
import { createScrubber } from "../executor/scrub/scrubber.ts";
import { image } from "./bundle.ts";
import { median, table } from "./report.ts";

const rounds = 7;
const megabyte = 1e6;
const secrets = 10;
const environment = { PATH: process.env.PATH ?? "" };

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bench-"));
  try {
    for (const [title, files] of [
      ["one file of 100 MB", 1],
      ["10,000 files of 10 kB", 10_000],
    ] as const) {
      const upper = join(folder, `upper-${files}`);
      fill(upper, files, (100 * megabyte) / files);
      const times = await measure(upper, join(folder, `run-${files}`));
      const reference = median(times.get("tar") as number[]);
      table(
        `${title}, medians of ${rounds} interleaved rounds`,
        ["", "ms", "beside tar"],
        [...times].map(([name, all]) => [
          name,
          median(all).toFixed(0),
          `${(median(all) / reference).toFixed(2)} ×`,
        ]),
      );
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Half of it is text, as that of a build is. */
function fill(folder: string, files: number, size: number): void {
  mkdirSync(folder);
  const line = Buffer.from("src/main.ts(12,5): warning: an import that nobody uses, 0x1f8b in all\n");
  const text = Buffer.alloc(size / 2, line);
  for (let index = 0; index < files; index++) {
    writeFileSync(join(folder, `file-${index}`), Buffer.concat([text, randomBytes(size / 2)]));
  }
}

async function measure(upper: string, scratch: string): Promise<Map<string, number[]>> {
  mkdirSync(scratch);
  const store = openLayerStore(join(scratch, "layers"), { environment });
  const values = Array.from({ length: secrets }, () => Buffer.from(randomBytes(20).toString("hex")));
  const scrubber = createScrubber(values);
  const guarded = () => createLeakGuard(scrubber, String).watch(store.changes(upper));
  const contenders: [name: string, act: () => unknown][] = [
    ["tar", () => execFileSync("tar", ["--create", "--file", `${scratch}/tar`, "-C", upper, "."])],
    ["a layer", () => store.draft(store.changes(upper), scratch)],
    [
      "the leak guard",
      async () => {
        for await (const { content } of guarded()) for await (const _ of content);
      },
    ],
    ["a layer and the leak guard", () => store.draft(guarded(), scratch)],
  ];
  const times = new Map<string, number[]>();
  const note = (name: string, start: number) =>
    times.set(name, [...(times.get(name) ?? []), performance.now() - start]);
  for (let round = 0; round <= rounds; round++) {
    for (const [name, act] of contenders) {
      const start = performance.now();
      await act();
      note(name, start);
      for (const file of readdirSync(scratch)) rmSync(join(scratch, file), { recursive: true });
    }
    const container = buildah("from", "--pull-never", image);
    execFileSync("cp", ["-a", `${upper}/.`, buildah("mount", container)]);
    const start = performance.now();
    const id = buildah("commit", "--quiet", "--rm", container);
    note("buildah commit", start);
    buildah("rmi", id);
  }
  // The first round warms up.
  return new Map([...times].map(([name, all]) => [name, all.slice(1)]));
}

const buildah = (...args: string[]) => execFileSync("buildah", args).toString().trim();

if (import.meta.main) await run();
