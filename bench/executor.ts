/**
 * What a run costs that is sent to a running executor, beside bare `runc run` of the same program: with a secret, from
 * the request to its last event. One round makes each of them once, after a rest, and the ratio is that of a round. For
 * runs without a rest between them, what the executor does after one delays the next.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Bundle, bareBundle, image, shutInBundle } from "./bundle.ts";
import { median, table } from "./report.ts";

const rounds = 40;
/** In milliseconds. */
const rest = 100;
const inRow = 5;
const program = ["sh", "-c", "echo this is the secret: $MY_SECRET"];
const entry = fileURLToPath(new URL("../dist/claimcheck.cjs", import.meta.url));
const port = 17_878;

export async function run(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bench-"));
  const bare = bareBundle(program, ["MY_SECRET=guessme"]);
  const shutIn = shutInBundle(program, ["MY_SECRET=guessme"]);
  const { broker, env } = await startBroker();
  const socket = join(folder, "executor.sock");
  const executor = await startExecutor(folder, socket, env);
  const token = env.CLAIMCHECK_TOKEN as string;
  const secretEnv = { MY_SECRET: "env://API_TOKEN" };
  const plan = (more: object) => ({ version: 1, image, steps: [{ args: program, ...more }] });
  const client = { ...process.env, ...env };
  const send = (asked: object) => sendTo(socket, { cache: false, ...asked });
  const contenders: [name: string, once: () => Promise<number>][] = [
    ["runc run, bare", async () => runBare(bare)],
    ["runc run, as shut in as ours", async () => runBare(shutIn)],
    ["a run with a secret, sent to an executor", () => send({ plan: plan({ secretEnv }), token })],
    ["a run without secrets, sent to an executor", () => send({ plan: plan({}) })],
    [
      `one of ${inRow} with a secret, without a rest`,
      () => inARow(() => send({ plan: plan({ secretEnv }), token })),
    ],
    [`one of ${inRow} runc run, without a rest`, () => inARow(async () => runBare(bare))],
    ["the first one, from the cache", () => send({ plan: plan({ secretEnv }), token, cache: true })],
    ["claimcheck run --executor", async () => runCommand(socket, client)],
  ];
  try {
    for (const [, measure] of contenders) await measure();
    const times = contenders.map(() => [] as number[]);
    for (let round = 0; round < rounds; round++) {
      for (const [index, [, measure]] of contenders.entries()) {
        await setTimeout(rest);
        times[index]?.push(await measure());
      }
    }
    const [reference = []] = times;
    table(
      `A run sent to an executor, medians of ${rounds} interleaved rounds`,
      ["", "ms", "beside runc run"],
      contenders.map(([name], index) => {
        const own = times[index] as number[];
        const ratio = median(own.map((time, round) => time / (reference[round] as number)));
        return [name, median(own).toFixed(0), `${ratio.toFixed(2)} ×`];
      }),
    );
  } finally {
    await Promise.all([executor, broker].map(stop));
    bare.remove();
    shutIn.remove();
    rmSync(folder, { recursive: true });
  }
}

async function startBroker() {
  const args = [entry, "broker", "--dev", "--listen", `127.0.0.1:${port}`, "--env", "API_TOKEN"];
  const env = { ...process.env, API_TOKEN: "guessme" };
  const broker = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "ignore"] });
  const text = await until(broker.stdout, /CLAIMCHECK_TOKEN=.*\n/);
  const exports = [...text.matchAll(/^export (\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]);
  return { broker, env: Object.fromEntries(exports) as Record<string, string> };
}

async function startExecutor(folder: string, socket: string, env: Record<string, string>) {
  const config = join(folder, "executor.yaml");
  writeFileSync(
    config,
    `listen: { socket: ${socket} }
broker: { url: "${env.CLAIMCHECK_BROKER}", keys: [${env.CLAIMCHECK_BROKER_KEYS}], principal: user }
state: ${join(folder, "state")}
images: ["${image}"]
`,
  );
  const executor = spawn(process.execPath, [entry, "executor", "--config", config], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  await until(executor.stderr, /executor at/);
  executor.stderr.resume();
  return executor;
}

async function until(stream: NodeJS.ReadableStream, text: RegExp): Promise<string> {
  let seen = "";
  while (!text.test(seen)) seen += String((await once(stream, "data"))[0]);
  return seen;
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await once(child, "exit");
}

/** Milliseconds to the end of the answer. */
function sendTo(socketPath: string, body: object): Promise<number> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method: "POST", path: "/v1/runs", agent: false }, async (response) => {
      let text = "";
      for await (const chunk of response) text += chunk;
      if (text.includes('{"type":"end","code":0}')) resolve(performance.now() - start);
      else reject(new Error(text));
    });
    sent.on("error", reject);
    sent.setHeader("content-type", "application/json");
    sent.end(JSON.stringify(body));
  });
}

/** @returns what each took. */
async function inARow(once: () => Promise<number>): Promise<number> {
  let sum = 0;
  for (let index = 0; index < inRow; index++) sum += await once();
  return sum / inRow;
}

function runBare({ folder }: Bundle): number {
  const start = performance.now();
  execFileSync("runc", ["run", "--bundle", folder, "claimcheck-bench"]);
  return performance.now() - start;
}

function runCommand(socket: string, env: NodeJS.ProcessEnv): number {
  const start = performance.now();
  const args = [
    "run",
    "--executor",
    socket,
    "--secret-env",
    "MY_SECRET=env://API_TOKEN",
    image,
    "--",
    ...program,
  ];
  const { status, stderr } = spawnSync(process.execPath, [entry, ...args], { env });
  if (status !== 0) throw new Error(String(stderr));
  return performance.now() - start;
}

if (import.meta.main) await run();
