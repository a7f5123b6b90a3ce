/** What is broken, one thing at a time, and how it is repaired. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { remains, until } from "../parts/host.ts";
import { startBao } from "../parts/openbao.ts";
import { startPostgres } from "../parts/postgres.ts";
import { startRedis } from "../parts/redis.ts";
import type { BrokerProcess } from "../support/broker-process.ts";
import { entry, image } from "../support/command.ts";
import { sourcesOf, variables } from "../support/sources.ts";
import type { Load } from "./load.ts";

interface AuditCopy {
  read(): Promise<string>;
  readonly arguments: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** What a scenario's broker is started with. */
export interface Parts {
  readonly fields?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly audit?: string;
  /** The log's lines and what verifies them, where they are not in a file. */
  readonly log?: AuditCopy;
  readonly uri?: string;
  close?(): void | Promise<void>;
}

export interface Running {
  readonly broker: BrokerProcess;
  readonly load: Load;
  readonly token: string;
  /** The token of another tenant. */
  readonly attacker: string;
  readonly keys: readonly string[];
}

export interface Scenario<Own extends Parts = Parts> {
  readonly name: string;
  prepare(): Promise<Own>;
  /** Breaks it, and resolves once it is repaired; what it returns is noted in the table. */
  run(own: Own, running: Running): Promise<string | undefined | { note: string; good: boolean }>;
}

const scenario = <Own extends Parts>(each: Scenario<Own>): Scenario => each as unknown as Scenario;

const mib = 2 ** 20;

/** Resident memory, in MiB. */
const memoryOf = (pid: number) =>
  Math.round(Number(execFileSync("ps", ["-o", "rss=", "-p", String(pid)]).toString()) / 1024);

async function withRedis() {
  const redis = await startRedis();
  return {
    redis,
    fields: "redis: { env: REDIS_URL }\n",
    env: { REDIS_URL: redis.url },
    close: () => redis.stop(),
  };
}

/** A folder in memory of one size. */
function makeDisk(size: number) {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-disk-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]);
  return {
    folder,
    remove() {
      execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

export const scenarios: readonly Scenario[] = [
  scenario({
    name: "provider hangs for 25 s",
    async prepare() {
      const bao = await startBao();
      const mount = await bao.mount("faults", 2);
      await bao.call("POST", `${mount}/data/app`, { data: { token: "guessme" } });
      return {
        bao,
        uri: `vault://${mount}/app#token`,
        fields: sourcesOf(["acme", "attackers"], {
          ...variables,
          vault: { provider: "vault", address: bao.address, auth: { token: "env://VAULT_TOKEN" } },
        }),
        env: { VAULT_TOKEN: bao.token },
        close: () => bao.close(),
      };
    },
    async run({ bao }) {
      bao.signal("SIGSTOP");
      // Longer than a read may take.
      await setTimeout(25_000);
      bao.signal("SIGCONT");
      return undefined;
    },
  }),
  scenario({
    name: "Redis killed, 3 s away",
    prepare: withRedis,
    async run({ redis }) {
      await redis.kill();
      await setTimeout(3_000);
      await redis.restart();
      return undefined;
    },
  }),
  scenario({
    name: "PostgreSQL of the audit log killed, 3 s away",
    async prepare() {
      const postgres = await startPostgres();
      const { name, url } = await postgres.create();
      return {
        postgres,
        audit: "{ postgres: { url: { env: AUDIT_URL } } }",
        env: { AUDIT_URL: url },
        log: {
          read: async () =>
            (await postgres.query(name, "SELECT line FROM claimcheck_audit"))
              .map(({ line }) => line)
              .join("\n"),
          arguments: ["--postgres"],
          env: { CLAIMCHECK_AUDIT_URL: url },
        },
        close: () => postgres.stop(),
      };
    },
    async run({ postgres }) {
      await postgres.kill();
      await setTimeout(3_000);
      await postgres.restart();
      return undefined;
    },
  }),
  scenario({
    name: "disk of the audit log full for 3 s",
    async prepare() {
      const disk = makeDisk(8 * mib);
      return { disk, audit: join(disk.folder, "audit.jsonl"), close: disk.remove };
    },
    async run({ disk }, { broker }) {
      const filler = join(disk.folder, "filler");
      try {
        writeFileSync(filler, Buffer.alloc(16 * mib));
      } catch {
        // It is full now, which was the point.
      }
      await setTimeout(3_000);
      rmSync(filler);
      // What is on the disk after a failed write is found out when the log is opened, and not before.
      await broker.end("SIGKILL");
      await broker.launch();
      return "restarted";
    },
  }),
  scenario({
    name: "clock an hour ahead for 3 s",
    async prepare() {
      const folder = mkdtempSync(join(tmpdir(), "claimcheck-clock-"));
      const clock = join(folder, "clock");
      writeFileSync(clock, "+0");
      const library = `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/faketime/libfaketime.so.1`;
      return {
        clock,
        env: {
          LD_PRELOAD: library,
          FAKETIME_TIMESTAMP_FILE: clock,
          FAKETIME_NO_CACHE: "1",
          FAKETIME_DONT_FAKE_MONOTONIC: "1",
        },
        close: () => rmSync(folder, { recursive: true }),
      };
    },
    async run({ clock }) {
      writeFileSync(clock, "+3600");
      await setTimeout(3_000);
      writeFileSync(clock, "+0");
      return undefined;
    },
  }),
  scenario({
    name: "broker kill -9, handles in Redis",
    prepare: withRedis,
    async run(_, { broker }) {
      await broker.end("SIGKILL");
      const start = performance.now();
      await broker.launch();
      return `started in ${((performance.now() - start) / 1000).toFixed(1)} s`;
    },
  }),
  scenario({
    name: "executor kill -9",
    prepare: async () => ({}),
    async run(_, { broker, token, keys }) {
      const args = ["run", "--broker", broker.url, "--secret-env", "A=env://API_TOKEN", image];
      const executor = spawn(process.execPath, [entry, ...args, "sh", "-c", "echo up; sleep 1000"], {
        env: { ...process.env, CLAIMCHECK_TOKEN: token, CLAIMCHECK_BROKER_KEYS: keys.join(",") },
        stdio: ["ignore", "pipe", "inherit"],
      });
      await once(executor.stdout, "data");
      executor.kill("SIGKILL");
      const start = performance.now();
      await until(() => remains().every((each) => !each.startsWith("process")));
      return `container gone in ${((performance.now() - start) / 1000).toFixed(1)} s`;
    },
  }),
  scenario({
    name: "100 clients that read a 512 KiB value 5 s late",
    async prepare() {
      const folder = mkdtempSync(join(tmpdir(), "claimcheck-large-"));
      writeFileSync(join(folder, "large"), Buffer.alloc(mib / 2, "large "));
      return {
        uriOfLarge: `file://${folder}/large`,
        fields: sourcesOf(["acme", "attackers"], {
          ...variables,
          files: { provider: "file", roots: [folder] },
        }),
        close: () => rmSync(folder, { recursive: true }),
      };
    },
    async run({ uriOfLarge }, { broker, load }) {
      const before = memoryOf(broker.pid);
      const slow = await load.connect(5_000);
      const values = Array.from({ length: 100 }, async () => {
        const [value] = await slow.redeem(await slow.issue([{ uri: uriOfLarge }]), { masked: true });
        return value?.value.expose().length === mib / 2;
      });
      const arrived = (await Promise.allSettled(values)).filter(
        (each) => each.status === "fulfilled" && each.value,
      );
      return `${arrived.length} values, memory + ${memoryOf(broker.pid) - before} MiB`;
    },
  }),
  scenario({
    name: "200 clients, each 2,000 requests at once",
    prepare: async () => ({}),
    async run(_, { broker }) {
      const before = memoryOf(broker.pid);
      const requests = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2000);
      const closed = Array.from({ length: 200 }, async () => {
        const socket = connect(broker.port, "127.0.0.1", () => socket.write(requests)).resume();
        socket.on("error", () => {});
        await once(socket, "close");
      });
      await Promise.all(closed);
      return `memory + ${memoryOf(broker.pid) - before} MiB`;
    },
  }),
  scenario({
    name: "1,000 requests at once",
    prepare: async () => ({}),
    async run(_, { load }) {
      const client = await load.connect();
      const start = performance.now();
      const asked = Array.from({ length: 1000 }, () =>
        client.issue([{ uri: "env://API_TOKEN" }]).then(
          () => "ok",
          (failure: { code: string }) => failure.code,
        ),
      );
      const codes = await Promise.all(asked);
      const counts = [...new Set(codes)].map(
        (code) => `${codes.filter((each) => each === code).length} ${code}`,
      );
      return `${counts.join(", ")} in ${((performance.now() - start) / 1000).toFixed(1)} s`;
    },
  }),
  scenario({
    name: "400 MiB of requests, 96 MiB of heap",
    prepare: async () => ({ env: { NODE_OPTIONS: "--max-old-space-size=96" } }),
    async run(_, { broker, token }) {
      const before = memoryOf(broker.pid);
      const body = `{"run":"${" ".repeat(mib - 20)}"}`;
      const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
      const asked = Array.from({ length: 400 }, () =>
        fetch(`${broker.url}/v1/handles`, { method: "POST", headers, body }).then(
          ({ status }) => status,
          () => 0,
        ),
      );
      const statuses = await Promise.all(asked);
      if (broker.ended) {
        await broker.launch();
        return "it ended, and was started again";
      }
      const refused = statuses.filter((status) => status === 400).length;
      return `${refused} read, memory + ${memoryOf(broker.pid) - before} MiB`;
    },
  }),
];
