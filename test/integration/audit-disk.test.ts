/** The log of a served broker on a disk that is full or read-only, or whose file somebody takes away: nothing is released. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  appendFileSync,
  copyFileSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { filePart, verifyChain } from "../../broker/audit/verify.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { startIssuer } from "../parts/issuer.ts";
import { decisionsOf, linesOf, recordsOf, releasedIn } from "../support/audit-log.ts";
import { rootKey } from "../support/broker.ts";
import { printed, start } from "../support/command.ts";
import { makeFolder, serve } from "../support/served.ts";
import { createServedClient } from "../support/served-client.ts";

/** A file system of its own in memory. */
function mountSmall(): string {
  const folder = makeFolder({});
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k", "claimcheck-test", folder]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", folder]));
  return folder;
}

async function setUp(folder?: string) {
  const ci = await startIssuer("ES256");
  const broker = await serve(ci, "", {}, folder ? { audit: join(folder, "audit.jsonl") } : {});
  const { redeem } = await createServedClient(broker.url, ci);
  const readiness = async () => (await fetch(`${broker.url}/readyz`)).status;
  const { findAuditKey } = await createKeys(rootKey());
  const path = join(folder ?? broker.folder, "audit.jsonl");
  const config = join(broker.folder, "broker.yaml");
  return {
    path,
    pid: broker.child.pid!,
    redeem,
    readiness,
    verify: () => verifyChain([filePart(path)], findAuditKey),
    released: () => releasedIn(recordsOf(path)),
    async restart() {
      broker.child.kill();
      await once(broker.child, "exit");
      const again = start(["broker", "--config", config], { env: { API_TOKEN: "guessme" } });
      await printed(again, "serving");
    },
  };
}

/** In bytes. */
function endOfFirstWrite(path: string): number {
  const lines = linesOf(path);
  const writes = lines.slice(0, lines.findIndex((line) => line.includes('"checkpoint"')) + 1);
  return Buffer.byteLength(`${writes.join("\n")}\n`);
}

const unavailable = { code: "audit_unavailable" };

test("a full disk stops everything until it has room again and the broker is started anew", async () => {
  const folder = mountSmall();
  const { redeem, readiness, restart, verify, released } = await setUp(folder);
  const acknowledged = await redeem();
  const { bavail, bsize } = statfsSync(folder);
  // Some records fit in what is left, and one of them does not as a whole.
  writeFileSync(join(folder, "ballast"), Buffer.alloc((bavail - 2) * bsize));
  let failure: unknown;
  while (!failure) {
    await redeem().then(
      (jtis) => acknowledged.push(...jtis),
      (thrown) => {
        failure = thrown;
      },
    );
  }
  expect(failure).toMatchObject(unavailable);
  rmSync(join(folder, "ballast"));
  await expect(redeem()).rejects.toMatchObject(unavailable);
  expect(await readiness()).toBe(503);
  await restart();
  expect(await readiness()).toBe(200);
  acknowledged.push(...(await redeem()));
  expect(released()).toEqual(expect.arrayContaining(acknowledged));
  expect(await verify()).not.toHaveProperty("broken");
});

test("on a read-only file system a broker does not start", async () => {
  const folder = mountSmall();
  const { restart, redeem } = await setUp(folder);
  await redeem();
  execFileSync("mount", ["-o", "bind", folder, folder]);
  onTestFinished(() => void execFileSync("umount", ["--lazy", folder]));
  execFileSync("mount", ["-o", "remount,bind,ro", folder]);
  await expect(restart()).rejects.toThrow(`audit: ${folder} cannot be written`);
});

test.each([
  ["deleted", (path: string) => rmSync(path)],
  ["moved away", (path: string) => renameSync(path, `${path}.away`)],
  [
    "exchanged for an older copy",
    (path: string) => {
      copyFileSync(path, `${path}.copy`);
      renameSync(`${path}.copy`, path);
    },
  ],
  ["cut to nothing, as copytruncate does", (path: string) => truncateSync(path)],
  ["cut at an earlier write", (path: string) => truncateSync(path, endOfFirstWrite(path))],
  ["written to by somebody else", (path: string) => appendFileSync(path, "{}\n")],
])("a file that is %s under a running broker stops everything", async (_, take) => {
  const { path, redeem, readiness } = await setUp();
  await redeem();
  take(path);
  await expect(redeem()).rejects.toMatchObject(unavailable);
  await expect(redeem()).rejects.toMatchObject(unavailable);
  expect(await readiness()).toBe(503);
});

test("a file that is cut is noticed also when nobody asks for anything", async () => {
  const { path, redeem, readiness } = await setUp();
  await redeem();
  expect(await readiness()).toBe(200);
  truncateSync(path);
  await expect.poll(readiness, { timeout: 10_000 }).toBe(503);
});

/** Delays the first sync of each thread of a process: the real call, and strace in between. */
async function stall(pid: number, time: string): Promise<() => Promise<void>> {
  const inject = ["-e", "trace=fdatasync,fsync", "-e", `inject=fdatasync,fsync:delay_enter=${time}:when=1`];
  const strace = spawn("strace", ["-f", "-q", ...inject, "-p", String(pid), "-o", "/dev/null"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  onTestFinished(() => void strace.kill("SIGKILL"));
  await once(strace, "spawn");
  // It traces once the kernel says so.
  const traced = () => /^TracerPid:\s+[1-9]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  await expect.poll(traced, { timeout: 10_000 }).toBe(true);
  return async () => {
    strace.kill();
    await once(strace, "exit");
  };
}

test("a disk that stalls: requests are refused in time, the broker is not ready, and what was sent counts when the sync returns", async () => {
  const { pid, path, redeem, readiness, verify, released } = await setUp();
  const acknowledged = await redeem();
  const release = await stall(pid, "12s");
  await expect(redeem()).rejects.toMatchObject(unavailable);
  expect(await readiness()).toBe(503);
  // While it lasts nobody waits: these would take 5 s each.
  await Promise.all(Array.from({ length: 5 }, () => expect(redeem()).rejects.toMatchObject(unavailable)));
  await expect.poll(readiness, { timeout: 30_000 }).toBe(200);
  await release();
  acknowledged.push(...(await redeem()));
  expect(released()).toEqual(expect.arrayContaining(acknowledged));
  // The write that nobody was answered for is whole and in its place.
  const issued = decisionsOf(recordsOf(path)).filter(({ outcome }) => outcome === "issued");
  expect(issued).toHaveLength(3);
  expect(await verify()).not.toHaveProperty("broken");
});
