/**
 * Runs of every kind, sent to one executor and by the command, some of them cancelled or killed at a moment that nobody
 * chose. `npm run soak -- RUNS` makes as many as one likes, and prints what became of them.
 */
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runs as folderOfCommands, until } from "../parts/host.ts";
import { image, start, startDelayed } from "../support/command.ts";
import { ask, type ExecutorHost, open, planOf, startHost } from "../support/executor.ts";

const runs = Number(process.env.CLAIMCHECK_SOAK_RUNS ?? 60);
/** At once. */
const lanes = 8;
/** A run that took longer than this is counted as slow, in milliseconds. */
const slow = 5_000;

/** Waits of a command begin at most so late, in microseconds. */
const longestDelay = 2_000;

/** The same numbers in every run (mulberry32). */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Kind {
  readonly steps: readonly { readonly script: string; readonly [field: string]: unknown }[];
  /** How it ends where nobody cancels it. */
  readonly end: number | string;
}

const secretEnv = { A: "env://API_TOKEN" };

const kindsIn = (volume: string): readonly Kind[] => [
  { steps: [{ script: "true" }], end: 0 },
  { steps: [{ script: "exit 7" }], end: 7 },
  { steps: [{ script: "echo $A", secretEnv }], end: 0 },
  { steps: [{ script: "cat /s", secretFiles: [{ path: "/s", uri: "env://API_TOKEN" }] }], end: 0 },
  { steps: [{ script: "cat", secretStdin: "env://API_TOKEN" }], end: 0 },
  { steps: [{ script: "echo x > /v/$$", volumes: [{ source: volume, target: "/v" }] }], end: 0 },
  { steps: [{ script: "head -c 2000000 /dev/zero" }], end: 0 },
  { steps: [{ script: "echo a > /a" }, { script: "cat /a; echo b > /b" }, { script: "cat /b" }], end: 0 },
  { steps: [{ script: "true", args: ["/no/such/command"] }], end: "command_not_found" },
  { steps: [{ script: "true", user: "nobody-knows" }], end: "invalid_user" },
  { steps: [{ script: "sleep 1000", timeout: "1s" }], end: "timed_out" },
  { steps: [{ script: "(sleep 1000 &) ; kill -9 $$" }], end: 137 },
  { steps: [{ script: "for i in 1 2 3 4 5 6 7 8; do (sleep 1000 &) ; done" }], end: 0 },
];

const processOf = ({ executor }: ExecutorHost) => `/proc/${executor.child.pid}`;
const descriptorsOf = (host: ExecutorHost) => readdirSync(`${processOf(host)}/fd`).length;
const memoryOf = (host: ExecutorHost) =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`${processOf(host)}/status`, "utf8"))?.[1]);

test(`${runs} runs of every kind end as they should, and leave nothing`, {
  timeout: 30_000 + runs * 10_000,
}, async () => {
  const volume = mkdtempSync(join(tmpdir(), "claimcheck-volume-"));
  onTestFinished(() => rmSync(volume, { recursive: true }));
  chownSync(volume, 1234, 1234);
  const fields = `volumes: [{ source: ${volume}, user: "1234:1234" }]`;
  const host = await startHost({ fields });
  const hosts = [host, await startHost({ fields, delay: 300 })] as const;
  const random = createRandom(1);
  const kinds = kindsIn(volume);
  const counted = { sent: 0, cancelled: 0, killed: 0, delayed: 0, slow: 0 };
  const wrong: string[] = [];

  async function send(kind: Kind, { socket, sign }: ExecutorHost): Promise<void> {
    const token = await sign("job-1");
    const { events, text } = await ask(socket, { plan: planOf(...kind.steps), token, cache: false });
    const end = events.at(-1) as { code?: unknown } | undefined;
    if (end?.code !== kind.end) wrong.push(`${JSON.stringify(kind)}: ${JSON.stringify(end ?? text)}`);
    counted.sent += 1;
  }

  /** The connection is closed after so many of the answer's pieces. */
  async function cancel(kind: Kind, { socket, sign }: ExecutorHost): Promise<void> {
    const token = await sign("job-1");
    const running = open(socket, { plan: planOf(...kind.steps), token, cache: false });
    running.request.on("error", () => {});
    let pieces = random(4);
    try {
      const answer = await running.answered;
      answer.on("error", () => {});
      if (pieces > 0) for await (const _ of answer) if (--pieces <= 0) break;
    } catch {
      // It was closed.
    }
    running.request.destroy();
    counted.cancelled += 1;
  }

  /** @returns whether its waits were delayed, which takes a time of its own. */
  async function command(): Promise<boolean> {
    const args = ["run", "--secret-env", "A=env://A", image, "sh", "-c", "echo up; cat /proc/self/status"];
    const env = { A: "guessme-too" };
    const isDelayed = random(2) === 0;
    const running = isDelayed ? startDelayed(args, random(longestDelay), { env }) : start(args, { env });
    const isKilled = random(2) === 0;
    if (isKilled) {
      const signal = (["SIGTERM", "SIGKILL", "SIGINT"] as const)[random(3)];
      running.child.stdout?.once("data", () => running.child.kill(signal));
      counted.killed += 1;
    }
    const { code, stdout, stderr } = await running.finished;
    if (!isKilled && (code !== 0 || !stdout.startsWith("up\n"))) wrong.push(`command: ${code} ${stderr}`);
    if (isDelayed) counted.delayed += 1;
    counted.sent += 1;
    return isDelayed;
  }

  /** A token lives for an hour, and an executor reads its file at each use. */
  const renewed = setInterval(() => hosts.forEach((each) => void each.renewToken()), 600_000);
  onTestFinished(() => clearInterval(renewed));
  let left = runs;
  async function lane(): Promise<void> {
    while (left-- > 0) {
      const kind = kinds[random(kinds.length)] as Kind;
      const chosen = hosts[random(hosts.length)] as ExecutorHost;
      const choice = random(10);
      const since = performance.now();
      let isDelayed = false;
      if (choice === 0) isDelayed = await command();
      else if (choice < 4) await cancel(kind, chosen);
      else await send(kind, chosen);
      if (!isDelayed && performance.now() - since > slow) counted.slow += 1;
    }
  }

  // What the first runs open stays open.
  for (const each of hosts) for (const kind of kinds) await send(kind, each);
  const leftovers = () => hosts.flatMap((each) => each.leftovers());
  await until(() => leftovers().length === 0);
  const before = { descriptors: descriptorsOf(host), memory: memoryOf(host) };
  await Promise.all(Array.from({ length: lanes }, lane));
  await until(() => leftovers().length === 0 && readdirSync(folderOfCommands).length === 0);
  const after = { descriptors: descriptorsOf(host), memory: memoryOf(host) };
  console.log({ runs, ...counted, before, after });
  expect(wrong).toEqual([]);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 8);
  expect(after.memory).toBeLessThan(before.memory + 150_000);
  for (const { executor, remains } of hosts) {
    executor.child.kill("SIGTERM");
    await executor.finished;
    expect(remains()).toEqual([]);
  }
});
