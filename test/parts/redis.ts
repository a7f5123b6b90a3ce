/** A Redis server for a test: the real one, on a port of its own on loopback, its files in a temporary folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { freePort } from "./free-port.ts";

export type RedisServer = Awaited<ReturnType<typeof startRedis>>;

/** It ends with the test, or, when it is started in a hook, by `stop`. */
export async function startRedis() {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-redis-"));
  const port = await freePort();
  const url = `redis://127.0.0.1:${port}`;
  let server = await launch(folder, port);

  return {
    url,
    port,

    /** One command, as an operator would give it. */
    async command(name: string, ...args: (string | number)[]): Promise<unknown> {
      const redis = new Redis(url, {
        enableOfflineQueue: true,
        maxRetriesPerRequest: 0,
        retryStrategy: () => null,
      });
      redis.on("error", () => {});
      try {
        return await redis.call(name, ...args);
      } finally {
        redis.disconnect();
      }
    },

    signal: (name: NodeJS.Signals) => server.kill(name),

    /** As if the power went: nothing is flushed or said goodbye to. */
    async kill(): Promise<void> {
      server.kill("SIGKILL");
      await ended(server);
    },

    /** With what is on the disk. */
    async restart(): Promise<void> {
      server = await launch(folder, port);
    },

    async stop(): Promise<void> {
      server.kill("SIGKILL");
      await ended(server);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export async function startRedisForTest(): Promise<RedisServer> {
  const server = await startRedis();
  onTestFinished(() => server.stop());
  return server;
}

async function launch(folder: string, port: number): Promise<ChildProcess> {
  const settings = {
    port,
    bind: "127.0.0.1",
    dir: folder,
    save: "",
    appendonly: "no",
    // A replica is filled at once, not after others may have asked too.
    "repl-diskless-sync-delay": 0,
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
  // A worker that is killed cleans nothing up: the server dies with whoever started it.
  const server = spawn("setpriv", ["--pdeathsig", "KILL", "redis-server", ...flags], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const said: string[] = [];
  const failed = once(server, "error").then(([error]) => {
    throw error;
  });
  const ready = (async () => {
    for await (const line of createInterface(server.stdout)) {
      said.push(line);
      if (line.includes("Ready to accept connections")) {
        // Nobody reads on, and a full pipe would stop the server.
        server.stdout.resume();
        return;
      }
    }
    // 127: setpriv has not found it.
    const [status] = server.exitCode === null ? await once(server, "exit") : [server.exitCode];
    if (status === 127) {
      throw new Error("redis-server is missing: install Debian's redis-server (sh setup.sh containers does)");
    }
    throw new Error(`redis-server ended:\n${said.join("\n")}`);
  })();
  await Promise.race([ready, failed]);
  failed.catch(() => {});
  return server;
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
}
