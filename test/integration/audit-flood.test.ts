/** What the log grows by when somebody asks without end and without rights, or pastes what is secret into a URI. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { openAuditLog } from "../../broker/audit/log.ts";
import type { Summary, Unplaced } from "../../broker/audit/record.ts";
import { createRefusalCounts } from "../../broker/audit/refusal-counts.ts";
import { keys } from "../support/audit-log.ts";
import { allow, RecordingSink, startBroker } from "../support/broker.ts";

const minute = 60_000;
const start = Date.parse("2026-11-23T12:00:00Z");

afterEach(() => {
  vi.useRealTimers();
});

const summariesOf = (sink: RecordingSink): Summary[] => sink.lines.filter((line) => line.type === "summary");

describe("a flood of the unknown", () => {
  test("is one line for each reason in a minute, however many they are", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    const broker = await startBroker({ environment: { API_TOKEN: "guessme" } });
    const before = broker.audit.text;
    const expired = `Bearer ${await broker.token({ lifetime: -100 })}`;
    const ask = (authorization: string) =>
      broker.send("POST", "/v1/handles", { secrets: [{ uri: "env://API_TOKEN" }] }, { authorization });
    await Promise.all(
      Array.from({ length: 300 }, (_, nth) => ask(nth % 3 === 0 ? expired : "Bearer guessme")),
    );
    expect(broker.audit.text).toBe(before);
    await vi.advanceTimersByTimeAsync(minute);
    await expect.poll(() => summariesOf(broker.audit)).toHaveLength(2);
    expect(
      summariesOf(broker.audit)
        .map(({ code, count }) => `${code} ${count}`)
        .sort(),
    ).toEqual(["token_expired 100", "token_invalid 200"]);
    expect(broker.audit.text).not.toContain("guessme");
    await vi.advanceTimersByTimeAsync(10 * minute);
    expect(summariesOf(broker.audit)).toHaveLength(2);
  });

  test("is on record when the broker ends in time", async () => {
    const sink = new RecordingSink();
    const log = await openAuditLog([sink], keys.auditKey, (_, uri) => uri);
    log.count({ code: "token_missing" });
    log.count({ code: "quota_exceeded", tenant: "acme" });
    log.count({ code: "quota_exceeded", tenant: "acme" });
    await log.close();
    expect(summariesOf(sink)).toMatchObject([
      { code: "token_missing", count: 1 },
      { code: "quota_exceeded", tenant: "acme", count: 2 },
    ]);
    expect(summariesOf(sink)[0]).not.toHaveProperty("tenant");
  });

  test("is seen by the auditor of the tenant that it came from, and by no other", async () => {
    const sink = new RecordingSink();
    const log = await openAuditLog([sink], keys.auditKey, (_, uri) => uri);
    log.count({ code: "quota_exceeded", tenant: "acme" });
    await log.close();
    const of = async (tenant: string) => (await sink.query({ tenant }, { limit: 10 })).entries;
    expect(await of("acme")).toMatchObject([{ type: "summary", count: 1 }]);
    expect(await of("rival")).toEqual([]);
  });
});

describe("a count of refusals", () => {
  test("keeps what could not be written, and since when", async () => {
    vi.useFakeTimers({ now: start });
    const written: Unplaced[] = [];
    let broken = true;
    const refusals = createRefusalCounts(async (lines) => {
      if (broken) throw new Error("no space left on device");
      written.push(...lines);
    });
    refusals.count({ code: "token_missing" });
    await vi.advanceTimersByTimeAsync(minute);
    refusals.count({ code: "token_missing" });
    broken = false;
    await vi.advanceTimersByTimeAsync(minute);
    expect(written).toEqual([
      { type: "summary", code: "token_missing", count: 2, since: "2026-11-23T12:00:00.000Z" },
    ]);
    await refusals.close();
    expect(written).toHaveLength(1);
  });
});

describe("a value that was pasted into a URI", () => {
  const pasted = "ghp_16C7e42F292c6912E7710c838347Ae178B4a";
  const rules = [allow(["env://API_*"])];

  test.each([
    `env://${pasted}`,
    `cmd://curl -H "token: ${pasted}"`,
    `vault://${pasted}#a`,
    pasted,
    `https://${pasted}@example.com`,
    `env://API_TOKEN?${pasted}`,
    `env://API_TOKEN?trim=${pasted}`,
  ])("is not in the log: %.12s", async (uri) => {
    const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, rules });
    const authorization = `Bearer ${await broker.token()}`;
    const refused = await broker.send("POST", "/v1/handles", { secrets: [{ uri }] }, { authorization });
    expect(refused.status).toBeGreaterThanOrEqual(400);
    expect(broker.audit.records).toMatchObject([
      { outcome: "denied", uri: expect.stringMatching(/^redacted:.{22}$/) },
    ]);
    for (let from = 0; from + 8 <= pasted.length; from++) {
      expect(broker.audit.text).not.toContain(pasted.slice(from, from + 8));
    }
  });
});
