/** However many requests of one tenant wait for the log, another's do not wait behind them. */
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { shareFairly } from "../../../../broker/audit/fair-share.ts";
import type { AuditLog } from "../../../../broker/audit/log.ts";
import type { AuditRecord } from "../../../../broker/audit/record.ts";

const of = (tenant: string): AuditRecord[] => [{ action: "issue", outcome: "issued", tenant, request: "1" }];

function startLog() {
  const asked: { tenant: string; end: () => void; fail: () => void }[] = [];
  const log: Pick<AuditLog, "record"> = {
    record: ([record]) =>
      new Promise((resolve, reject) => {
        const fail = () => reject(new Error("no space left on device"));
        asked.push({ tenant: record?.tenant ?? "", end: () => resolve(["head"]), fail });
      }),
  };
  return { asked, fair: shareFairly(log as AuditLog) };
}

test("eight of a tenant's are in a write, and another tenant's are in it at once", async () => {
  const { asked, fair } = startLog();
  const loud = Array.from({ length: 20 }, () => fair.record(of("loud")));
  const quiet = fair.record(of("quiet"));
  await setImmediate();
  expect(asked.map(({ tenant }) => tenant)).toEqual([...Array(8).fill("loud"), "quiet"]);
  while (asked.length > 0) {
    for (const { end } of asked.splice(0)) end();
    await setImmediate();
    expect(asked.length).toBeLessThanOrEqual(8);
  }
  expect(await Promise.all([...loud, quiet])).toEqual(Array(21).fill(["head"]));
});

test("a write that fails gives its turn to the next", async () => {
  const { asked, fair } = startLog();
  const outcomes = Promise.allSettled(Array.from({ length: 9 }, () => fair.record(of("loud"))));
  await setImmediate();
  for (const { fail } of asked.splice(0)) fail();
  await setImmediate();
  expect(asked.length).toBe(1);
  asked[0]?.end();
  expect((await outcomes).map(({ status }) => status)).toEqual([...Array(8).fill("rejected"), "fulfilled"]);
});
