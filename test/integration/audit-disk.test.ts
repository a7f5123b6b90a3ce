/** The log of a served broker on a disk that is full or read-only, or whose file somebody takes away: nothing is released. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, renameSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { filePart, verifyChain } from "../../broker/audit/verify.ts";
import { createKeys } from "../../broker/keys.ts";
import { recordsOf, releasedIn } from "../audit-log.ts";
import { rootKey } from "../broker.ts";
import { printed, start } from "../command.ts";
import { startIssuer } from "../issuer.ts";
import { makeFolder, serve } from "../served.ts";
import { createServedClient } from "../served-client.ts";

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
])("a file that is %s under a running broker stops everything", async (_, take) => {
  const { path, redeem, readiness } = await setUp();
  await redeem();
  take(path);
  await expect(redeem()).rejects.toMatchObject(unavailable);
  await expect(redeem()).rejects.toMatchObject(unavailable);
  expect(await readiness()).toBe(503);
});
