/**
 * Runs of every kind, sent to one executor and by the command, some of them cancelled or killed at a moment that nobody
 * chose. `npm run soak -- RUNS` makes as many as one likes, and prints what became of them.
 */
import { chownSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { entry, image, start, startProgram } from "../command.ts";
import { ask, type ExecutorHost, open, planOf, startHost } from "../executor.ts";
import { runs as folderOfCommands, until } from "../host.ts";

const runs = Number(process.env.CLAIMCHECK_SOAK_RUNS ?? 60);
/** At once. */
const lanes = 4;
/** A run that took longer than this is counted as slow, in milliseconds. */
const slow = 5_000;

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

/** For strace: every wait of the processes that it follows begins half a millisecond late, when a signal may be over. */
const waits = "select,pselect6,poll,ppoll,epoll_wait,epoll_pwait,wait4,waitid";
const delayed = [
  ...["--seccomp-bpf", "-f", "-qqq", "-o", "/dev/null", "-e", `trace=${waits}`],
  ...["-e", `inject=${waits}:delay_enter=500`],
];

/** For how long some process of this host had to wait for a processor since it was started, in microseconds. */
const pressure = () => Number(/^some .*total=(\d+)/m.exec(readFileSync("/proc/pressure/cpu", "utf8"))?.[1]);

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
  const host = await startHost({ fields: `volumes: [{ source: ${volume}, user: "1234:1234" }]` });
  const random = createRandom(1);
  const kinds = kindsIn(volume);
  const counted = { sent: 0, cancelled: 0, killed: 0, delayed: 0, slow: 0 };
  const wrong: string[] = [];
  const late: object[] = [];

  async function send(kind: Kind, token: string): Promise<void> {
    const { events, text } = await ask(host.socket, { plan: planOf(...kind.steps), token, cache: false });
    const end = events.at(-1) as { code?: unknown } | undefined;
    if (end?.code !== kind.end) wrong.push(`${JSON.stringify(kind)}: ${JSON.stringify(end ?? text)}`);
    counted.sent += 1;
  }

  /** The connection is closed after so many of the answer's pieces. */
  async function cancel(kind: Kind, token: string): Promise<void> {
    const running = open(host.socket, { plan: planOf(...kind.steps), token, cache: false });
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

  async function command(): Promise<void> {
    const args = ["run", "--secret-env", "A=env://A", image, "sh", "-c", "echo up; cat /proc/self/status"];
    const settings = { env: { A: "guessme-too" } };
    const isDelayed = random(2) === 0;
    const running = isDelayed
      ? startProgram("strace", [...delayed, process.execPath, "--", entry, ...args], settings)
      : start(args, settings);
    if (isDelayed) counted.delayed += 1;
    if (!isDelayed && random(2) === 0) {
      const signal = (["SIGTERM", "SIGKILL", "SIGINT"] as const)[random(3)];
      running.child.stdout?.once("data", () => running.child.kill(signal));
      counted.killed += 1;
    }
    const { code, stderr } = await running.finished;
    if (isDelayed && code !== 0) wrong.push(`a delayed run: ${code} ${stderr}`);
    counted.sent += 1;
  }

  let left = runs;
  async function lane(): Promise<void> {
    while (left-- > 0) {
      const kind = kinds[random(kinds.length)] as Kind;
      const token = await host.sign("job-1");
      const choice = random(10);
      const [since, pressed] = [performance.now(), pressure()];
      if (choice === 0) await command();
      else if (choice < 4) await cancel(kind, token);
      else await send(kind, token);
      const took = performance.now() - since;
      if (took <= slow) continue;
      counted.slow += 1;
      // Whether the host was busy with something else is told by the pressure.
      late.push({ choice, script: kind.steps[0]?.script, took, pressed: (pressure() - pressed) / 1000 });
    }
  }

  // What the first runs open stays open.
  for (const kind of kinds) await send(kind, await host.sign("job-1"));
  await until(() => host.leftovers().length === 0);
  const before = { descriptors: descriptorsOf(host), memory: memoryOf(host) };
  await Promise.all(Array.from({ length: lanes }, lane));
  await until(() => host.leftovers().length === 0 && readdirSync(folderOfCommands).length === 0);
  const after = { descriptors: descriptorsOf(host), memory: memoryOf(host) };
  console.log({ runs, ...counted, before, after, late: late.slice(0, 20) });
  expect(wrong).toEqual([]);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 8);
  expect(after.memory).toBeLessThan(before.memory + 150_000);
  host.executor.child.kill("SIGTERM");
  await host.executor.finished;
  expect(host.remains()).toEqual([]);
});
