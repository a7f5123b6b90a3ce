/**
 * `kill -9` of a broker under load, at random moments, its start and the recovery of its log among them: what was
 * acknowledged is on record, and the log is whole again. CLAIMCHECK_KILLED_LOGS sets how many logs go through this.
 */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, test } from "vitest";
import { filePart, verifyChain } from "../../broker/audit/verify.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { peekAuditHead, readAuditHead } from "../../shared/audit-head.ts";
import { startIssuer } from "../parts/issuer.ts";
import { recordsOf, releasedIn, soundRecordsOf } from "../support/audit-log.ts";
import { rootKey } from "../support/broker.ts";
import { claimcheck, printed, start } from "../support/command.ts";
import { serve } from "../support/served.ts";
import { createServedClient } from "../support/served-client.ts";

const logs = Array.from({ length: Number(process.env.CLAIMCHECK_KILLED_LOGS ?? 1) }, (_, nth) => nth + 1);
/** Of each log's broker. */
const kills = 10;
const lanes = 8;
const batch = 10;
/** How many redemptions a broker is let acknowledge before it is killed, at most. */
const most = 100;
/** In milliseconds: for how long one lives at most that is killed while it starts, and each other one after those. */
const [starting, late] = [400, 30];

test.each(logs)(`log %i of a broker that is killed ${kills} times`, { timeout: 200_000 }, async () => {
  const ci = await startIssuer("ES256");
  const { url, folder, child } = await serve(ci);
  const path = join(folder, "audit.jsonl");
  const keys = await createKeys(rootKey());
  const acknowledged: string[] = [];
  let newest = "";
  const client = await createServedClient(url, ci, async ([head = ""]) => {
    if (!newest || peekAuditHead(head).iat > peekAuditHead(newest).iat) newest = head;
  });

  acknowledged.push(...(await client.redeem()));
  let running = child;
  for (let round = 0; round < kills; round++) {
    // Every third one may be killed before it serves, and while it recovers the log.
    const early = round % 3 === 0 && round > 0;
    const enough = acknowledged.length + 1 + Math.random() * most;
    const loaded = Promise.withResolvers<void>();
    const load = Array.from({ length: lanes }, async () => {
      while (running.signalCode === null) {
        // Where nobody listens yet, asking without a break would only keep the broker from its start.
        const redeemed = await client.redeem(batch).catch(() => setTimeout(10));
        acknowledged.push(...(redeemed ?? []));
        if (acknowledged.length >= enough) loaded.resolve();
      }
    });
    if (!early) await loaded.promise;
    await setTimeout(Math.random() * (early ? starting : late));
    running.kill("SIGKILL");
    await once(running, "exit");
    await Promise.all(load);

    const released = new Set(releasedIn(soundRecordsOf(path)));
    expect(acknowledged.filter((jti) => !released.has(jti))).toEqual([]);

    const next = start(["broker", "--config", join(folder, "broker.yaml")], {
      env: { API_TOKEN: "guessme" },
    });
    if (round % 3 !== 2) {
      await printed(next, "serving");
      const heads = newest ? [await readAuditHead(newest, keys.findAuditKey)] : [];
      expect(await verifyChain([filePart(path)], keys.findAuditKey, heads)).not.toHaveProperty("broken");
    }
    running = next.child;
  }
  running.kill("SIGTERM");
  await once(running, "exit");
  expect(acknowledged.length).toBeGreaterThan(kills);
  writeFileSync(join(folder, "jwks.json"), JSON.stringify(keys.jwks));
  const args = ["--keys", join(folder, "jwks.json"), "--head", newest, path];
  expect(await claimcheck(["audit", "verify", ...args])).toMatchObject({ code: 0 });
  const recovered = recordsOf(path).filter(({ type }) => type === "recovered").length;
  console.log(
    `${kills} kills, ${acknowledged.length} redemptions acknowledged, ${recovered} torn ends recovered`,
  );
});
