/**
 * A container that prints 1 GiB through `claimcheck run` as published with ten secrets, masked and unmasked, and through
 * runc alone; the other end of the pipe is `cat`, for all of them. What it prints is a log that it makes first and then
 * repeats; only the printing is measured, between what it says on standard error before and after.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { bareBundle, image } from "./bundle.ts";
import { median, table } from "./report.ts";

const rounds = 5;
const secrets = 10;

/** 17 MB of text in the container's own memory, 64 times over. */
const program = `
  i=0; while [ $i -lt 150000 ]; do echo "$i 2026-03-01T12:00:00Z [INFO] Compiling module-$i (/home/runner/work/project/src/module-$i.ts) in $i ms"; i=$((i+1)); done > /dev/shm/log
  echo begin $(wc -c < /dev/shm/log) >&2
  n=0; while [ $n -lt 64 ]; do cat /dev/shm/log; n=$((n+1)); done
  echo end >&2`;

const env: NodeJS.ProcessEnv = { ...process.env };
for (let n = 0; n < secrets; n++) env[`SECRET_${n}`] = `secret-number-${n}-of-the-throughput-bench`;

export async function run(): Promise<void> {
  const entry = fileURLToPath(new URL("../dist/claimcheck.cjs", import.meta.url));
  const flags = Array.from({ length: secrets }, (_, n) => ["--secret-env", `S${n}=env://SECRET_${n}`]).flat();
  const command = (...more: string[]) => [
    process.execPath,
    entry,
    "run",
    ...more,
    ...flags,
    image,
    "sh",
    "-c",
    program,
  ];
  const bare = bareBundle(["sh", "-c", program]);
  const contenders: [name: string, argv: string[]][] = [
    ["claimcheck run | cat", command()],
    ["claimcheck run --no-masking | cat", command("--no-masking")],
    ["runc run | cat", ["runc", "run", "--bundle", bare.folder, "claimcheck-throughput"]],
  ];
  try {
    const rates = new Map(contenders.map(([name]) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      for (const [name, argv] of contenders) rates.get(name)?.push(await measure(argv));
    }
    const medians = contenders.map(([name]) => [name, median(rates.get(name) ?? [])] as const);
    const unmasked = medians[1]?.[1] as number;
    const runc = medians[2]?.[1] as number;
    table(
      `A container printing 1 GiB with ${secrets} secrets, medians of ${rounds} interleaved rounds`,
      ["", "MB/s", "beside --no-masking", "beside runc run | cat"],
      medians.map(([name, rate]) => [
        name,
        rate.toFixed(0),
        `${(rate / unmasked).toFixed(2)} ×`,
        `${(rate / runc).toFixed(2)} ×`,
      ]),
    );
  } finally {
    bare.remove();
  }
}

/** Megabytes a second. */
async function measure(argv: readonly string[]): Promise<number> {
  const child = spawn("sh", ["-c", '"$@" | cat > /dev/null', "sh", ...argv], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let bytes = 0;
  let start = 0;
  let end = 0;
  createInterface({ input: child.stderr }).on("line", (line) => {
    const [word, size] = line.split(" ");
    if (word === "begin") {
      bytes = 64 * Number(size);
      start = performance.now();
    } else if (word === "end") {
      end = performance.now();
    }
  });
  await once(child, "close");
  if (end === 0) throw new Error(`${argv[0]} did not come to its end`);
  return bytes / 1000 / (end - start);
}

if (import.meta.main) await run();
