/**
 * A container that prints 1 GiB, through `claimcheck run` as published with ten secrets: masked, unmasked, and beside
 * `runc run | cat`. What it prints is a log that it makes first and then repeats; only the printing is measured,
 * between its first line and its last.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { bareBundle, image } from "./bundle.ts";
import { median, table } from "./report.ts";

const rounds = 5;
const secrets = 10;

/** 16 MiB of text in the container's own memory, 64 times over. */
const program = `
  i=0; while [ $i -lt 150000 ]; do echo "$i 2026-03-01T12:00:00Z [INFO] Compiling module-$i (/home/runner/work/project/src/module-$i.ts) in $i ms"; i=$((i+1)); done > /dev/shm/log
  echo begin
  n=0; while [ $n -lt 64 ]; do cat /dev/shm/log; n=$((n+1)); done`;

const env: NodeJS.ProcessEnv = { ...process.env };
for (let n = 0; n < secrets; n++) env[`SECRET_${n}`] = `secret-number-${n}-of-the-throughput-bench`;

export async function run(): Promise<void> {
  const entry = fileURLToPath(new URL("../dist/claimcheck.js", import.meta.url));
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
    ["masked", command()],
    ["--no-masking", command("--no-masking")],
    ["runc run | cat", ["sh", "-c", 'runc run --bundle "$0" claimcheck-throughput | cat', bare.folder]],
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

/** Megabytes a second from the word "begin" to the end. */
async function measure([command = "", ...args]: readonly string[]): Promise<number> {
  const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "ignore"] });
  let bytes = 0;
  let start = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    start ||= performance.now();
    bytes += chunk.length;
  });
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return bytes / 1000 / (performance.now() - start);
}

if (import.meta.main) await run();
