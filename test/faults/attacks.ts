/**
 * What one tenant, or nobody, can make the broker hold while another tenant works with it. Each has a bound on the
 * memory that it may take at its peak, beside what the broker had before.
 */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { startRedis } from "../parts/redis.ts";
import { sourcesOf, variables } from "../support/sources.ts";
import type { Parts, Running, Scenario } from "./scenarios.ts";

const mib = 2 ** 20;

interface Attack {
  readonly name: string;
  /** In MiB. */
  readonly bound: number;
  readonly redis?: boolean;
  /** @param uri a file of 1 MiB. */
  attack(running: Running, uri: string): Promise<string>;
}

/** Resident memory at its highest since it was last set back, in MiB. */
function peakOf(pid: number): number {
  const [, kib] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kib) / 1024);
}

/** proc(5): the peak is what is resident now. */
const setPeakBack = (pid: number) => writeFileSync(`/proc/${pid}/clear_refs`, "5");

function attack({ name, bound, redis, attack: run }: Attack): Scenario {
  return {
    name,
    async prepare(): Promise<Parts & { uri?: string; large: string }> {
      const folder = mkdtempSync(join(tmpdir(), "claimcheck-attack-"));
      writeFileSync(join(folder, "large"), Buffer.alloc(mib, "large "));
      const server = redis ? await startRedis() : undefined;
      return {
        large: `file://${folder}/large`,
        fields: `${sourcesOf(["acme", "attackers"], { ...variables, files: { provider: "file", roots: [folder] } })}${server ? "redis: { env: REDIS_URL }\n" : ""}`,
        ...(server && { env: { REDIS_URL: server.url } }),
        async close() {
          rmSync(folder, { recursive: true });
          await server?.stop();
        },
      };
    },
    async run(own, running) {
      const { pid } = running.broker;
      setPeakBack(pid);
      const before = peakOf(pid);
      running.load.watch();
      const note = await run(running, (own as Parts & { large: string }).large);
      const grown = peakOf(pid) - before;
      const wait = (running.load.slowest() / 1000).toFixed(1);
      return {
        note: `${note}; memory + ${grown} MiB at its peak, of at most ${bound}; the other tenant's slowest ${wait} s`,
        good: grown <= bound,
      };
    },
  };
}

async function post({ broker, attacker }: Running, path: string, body: object): Promise<string> {
  const answer = await fetch(`${broker.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${attacker}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const { code } = (await answer.json()) as { code?: string };
  return code ?? "ok";
}

function tell(codes: readonly string[]): string {
  return [...new Set(codes)]
    .map((code) => `${codes.filter((each) => each === code).length} ${code}`)
    .join(", ");
}

async function thousandForOne(running: Running, uri: string): Promise<string> {
  const secrets = Array.from({ length: 1000 }, () => ({ uri }));
  const codes = [];
  for (let nth = 0; nth < 6; nth++) codes.push(await post(running, "/v1/handles", { secrets }));
  return tell(codes);
}

export const attacks: readonly Scenario[] = [
  attack({ name: "attack: 1,000 handles for one file, six times", bound: 256, attack: thousandForOne }),
  attack({ name: "attack: the same with Redis", bound: 256, redis: true, attack: thousandForOne }),
  attack({
    name: "attack: values until no more are taken",
    bound: 768,
    async attack(running, uri) {
      const codes = await Promise.all(
        Array.from({ length: 8 }, async () => {
          const own = [];
          for (let nth = 0; nth < 100; nth++)
            own.push(await post(running, "/v1/handles", { secrets: [{ uri }] }));
          return own;
        }),
      );
      return tell(codes.flat());
    },
  }),
  attack({
    name: "attack: 420 MiB in one redemption, then unread answers",
    bound: 1024,
    async attack({ load, attacker }, uri) {
      const client = await load.connect(8_000, attacker);
      const issue = (count: number) => client.issue(Array(count).fill({ uri }));
      const codeOf = (failure: { code: string }) => failure.code;
      const handles = (await Promise.all(Array.from({ length: 42 }, () => issue(10)))).flat();
      const all = await client.redeem(handles, { masked: true }).then(() => "ok", codeOf);
      const parts = Array.from({ length: 42 }, (_, nth) =>
        client.redeem(handles.slice(nth * 10, nth * 10 + 10), { masked: true }).then(() => "ok", codeOf),
      );
      return `all ${all}; parts ${tell(await Promise.all(parts))}`;
    },
  }),
  attack({
    name: "attack: 2,000 connections of nobody that send on",
    bound: 256,
    async attack({ broker }) {
      const head = "POST /v1/handles HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
      const chunk = `10000\r\n${"x".repeat(65_536)}\r\n`;
      const ends = Array.from({ length: 2000 }, async () => {
        const socket = connect(broker.port, "127.0.0.1");
        socket.on("error", () => {}).resume();
        socket.write(`${head}transfer-encoding: chunked\r\n\r\n`);
        for (let sent = 0; sent < 16 && !socket.destroyed; sent++) {
          socket.write(chunk);
          await setTimeout(50);
        }
        socket.destroy();
      });
      await Promise.all(ends);
      return "16 pieces of 64 KiB each";
    },
  }),
  attack({
    name: "attack: 6,000 permitted URIs of a secret that is not there",
    bound: 256,
    async attack(running) {
      const before = statSync(running.broker.auditFile).size;
      const codes = [];
      for (const [length, times] of [
        [8_000, 5],
        [900, 55],
      ] as const) {
        for (let nth = 0; nth < times; nth++) {
          const secrets = Array.from({ length: 100 }, (_, item) => ({
            uri: `vault://secret/${nth}-${item}${"x".repeat(length)}#k`,
          }));
          codes.push(await post(running, "/v1/handles", { secrets }));
        }
      }
      const grown = (statSync(running.broker.auditFile).size - before) / mib;
      return `${tell(codes)}; log + ${grown.toFixed(1)} MiB`;
    },
  }),
];
