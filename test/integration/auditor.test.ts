/** What an auditor gets of the log over HTTP: the records of its own tenant, page by page, and nobody else's. */
import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { fileSink } from "../../broker/audit/file.ts";
import { hashLine } from "../../broker/audit/record.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { AuditPage } from "../../broker/requests/read-audit.ts";
import { headsIn } from "../../executor/broker-client/heads.ts";
import type { Action } from "../../shared/actions.ts";
import { peekAuditHead, readAuditHead } from "../../shared/audit-head.ts";
import { Secret } from "../../shared/secret.ts";
import { AuditHeads } from "../../shared/wire.ts";
import { decisionsOf, keys, newLog } from "../support/audit-log.ts";
import { allow, rootKey, startBroker } from "../support/broker.ts";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

const environment = { API_TOKEN: "guessme", OTHER: "sesame" };

async function setUp(seams: Parameters<typeof startBroker>[0] = {}) {
  const broker = await startBroker({ environment, ...seams });
  const reading = async (tenant: "acme" | "rival", principal: string, query: string) =>
    broker.send("GET", `/v1/audit${query}`, undefined, {
      authorization: `Bearer ${await broker.token({ tenant, principal })}`,
    });
  const read = async (query = "", tenant: "acme" | "rival" = "acme", principal = "auditor") =>
    AuditPage.parse(await (await reading(tenant, principal, query)).json());
  const issue = async (uri: string, principal = "ci", tenant: "acme" | "rival" = "acme") =>
    broker.send(
      "POST",
      "/v1/handles",
      { secrets: [{ uri }] },
      {
        authorization: `Bearer ${await broker.token({ tenant, principal })}`,
      },
    );
  return { broker, reading, read, issue };
}

/** Who reads the log asks for no handles. */
const apart = [
  allow(undefined, { principals: ["auditor"], actions: ["audit.read"] }),
  allow(undefined, { principals: ["ci", "job"] }),
];

const told = ({ records }: AuditPage) =>
  decisionsOf(records).map(({ action, outcome }) => `${action} ${outcome}`);
const ofOthers = ({ records }: AuditPage) =>
  decisionsOf(records).filter(({ action }) => action !== "audit.read");

describe("an auditor", () => {
  test("gets the records of its tenant, in the order of the log, and that it looked is one", async () => {
    const { broker, read, issue } = await setUp({ rules: apart });
    await issue("env://API_TOKEN");
    await issue("env://API_TOKEN", "ci", "rival");
    await issue("env://OTHER", "job");
    const page = await read();
    expect(told(page)).toEqual(["issue issued", "issue issued", "audit.read shown"]);
    expect(page.next).toBeUndefined();
    const own = broker.audit.records.filter(({ tenant }) => tenant === "acme");
    expect(page.records).toEqual(own);
    expect(own.at(-1)).toMatchObject({ principal: "auditor", rule: "allow everything" });
  });

  test.each<[string, readonly Action[], boolean]>([
    ["may ask for no handle is told", ["audit.read"], true],
    ["may ask for handles is not told", ["audit.read", "issue"], false],
    ["may bring values is not told", ["audit.read", "wrap"], false],
  ])("who %s which values are equal", async (_, actions, isTold) => {
    const { read, issue } = await setUp({
      rules: [allow(["**"], { principals: ["ci"] }), allow(undefined, { principals: ["auditor"], actions })],
    });
    await issue("env://API_TOKEN");
    await issue("env://API_TOKEN");
    const [first, again] = decisionsOf((await read()).records).map(({ digest }) => digest);
    expect({ known: first !== undefined, equal: first === again }).toEqual({ known: isTold, equal: true });
  });

  test("of another tenant gets nothing of them, whatever it asks for", async () => {
    const { read, issue } = await setUp();
    await issue("env://API_TOKEN");
    for (const query of ["", "?uri=env%3A%2F%2FAPI_TOKEN", "?principal=ci"]) {
      expect(ofOthers(await read(query, "rival"))).toEqual([]);
    }
    const { next } = await read("?limit=1");
    expect(ofOthers(await read(`?after=${next}`, "rival"))).toEqual([]);
  });

  test.each([
    ["uri=env%3A%2F%2FOTHER", ["env://OTHER job"]],
    ["principal=job", ["env://OTHER job", "env://API_TOKEN job"]],
    ["principal=job&uri=env%3A%2F%2FAPI_TOKEN", ["env://API_TOKEN job"]],
    ["uri=env%3A%2F%2FNEVER", []],
    ["since=2100-01-01T00:00:00Z", []],
    ["until=2000-01-01T00:00:00%2B02:00", []],
  ])("gets what fits %s", async (query, expected) => {
    const { read, issue } = await setUp();
    await issue("env://API_TOKEN");
    await issue("env://OTHER", "job");
    await issue("env://API_TOKEN", "job");
    const found = ofOthers(await read(`?${query}`));
    expect(found.map(({ uri, principal }) => `${uri} ${principal}`)).toEqual(expected);
  });

  test("asks from a time on, and up to one", async () => {
    const { read, issue } = await setUp();
    await issue("env://API_TOKEN");
    const [{ time } = { time: "" }] = (await read()).records;
    expect(told(await read(`?since=${time}&limit=1`))).toEqual(["issue issued"]);
    expect(told(await read(`?until=${time}`))).toEqual([]);
  });

  test("finds by its URI what was refused and is in the log under a hash alone, of an earlier root key too", async () => {
    const rules = [allow(["env://API_TOKEN"]), allow(undefined, { actions: ["audit.read"] })];
    const before = await setUp({ rules });
    await before.issue("env://OTHER");
    const [denied] = ofOthers(await before.read("?uri=env%3A%2F%2FOTHER"));
    expect(denied).toMatchObject({ outcome: "denied", uri: expect.stringMatching(/^redacted:.{22}$/) });
    const after = createKeys(new Secret(new Uint8Array(32).fill(1)), { previous: rootKey() });
    expect((await after).redactions("acme", "env://OTHER")).toContain(denied?.uri?.slice("redacted:".length));
  });

  test("goes through the pages and meets each record once", async () => {
    const { read, issue, broker } = await setUp();
    for (let nth = 0; nth < 5; nth++) await issue("env://API_TOKEN");
    const met: number[] = [];
    for (let after: string | undefined = ""; after !== undefined; ) {
      const page: AuditPage = await read(`?limit=2&uri=env%3A%2F%2FAPI_TOKEN${after && `&after=${after}`}`);
      met.push(...page.records.map(({ seq }) => seq));
      after = page.next;
    }
    const issued = broker.audit.records.filter(({ action }) => action === "issue");
    expect(met).toEqual(issued.map(({ seq }) => seq));
  });

  test("is nobody whom the policy does not let read everything, and the denial is a record", async () => {
    const { broker, reading } = await setUp({ rules: [allow(["env://**"])] });
    const refused = await reading("acme", "auditor", "");
    expect(refused.status).toBe(403);
    expect(broker.audit.latest).toMatchObject([
      { action: "audit.read", outcome: "denied", code: "no_rule", principal: "auditor", tenant: "acme" },
    ]);
  });

  test.each([
    "limit=0",
    "limit=1001",
    "limit=x",
    "since=yesterday",
    "limit=1&limit=2",
    "tenant=rival",
    `uri=${"x".repeat(8193)}`,
  ])("is refused %.20s", async (query) => {
    const { reading } = await setUp();
    expect((await reading("acme", "auditor", `?${query}`)).status).toBe(400);
  });

  test("gets nothing that is not on record: a log that cannot be written is not shown", async () => {
    const { broker, reading } = await setUp();
    broker.audit.broken = true;
    expect((await reading("acme", "auditor", "")).status).toBe(503);
  });
});

describe("the head", () => {
  const ask = async ({ broker }: Awaited<ReturnType<typeof setUp>>, principal: string) => {
    const authorization = `Bearer ${await broker.token({ principal })}`;
    return broker.send("GET", "/v1/audit/head", undefined, { authorization });
  };

  test("is of all that is in the log, signed, for whom the policy lets read in it", async () => {
    const made = await setUp();
    const head = async () => AuditHeads.parse(await (await ask(made, "auditor")).json()).heads;
    expect(await head()).toEqual([]);
    await made.issue("env://API_TOKEN");
    const [signed = ""] = await head();
    const last = made.broker.audit.text.trimEnd().split("\n").at(-1)!;
    expect(await readAuditHead(signed, made.broker.keys.findAuditKey)).toMatchObject({
      hash: hashLine(last),
    });
  });

  test("is nothing for others, and their asking is on record: how the log grows tells what all tenants do", async () => {
    const made = await setUp({
      rules: [allow(undefined, { principals: ["auditor"], actions: ["audit.read"] })],
    });
    expect((await ask(made, "auditor")).status).toBe(200);
    expect((await ask(made, "anyone")).status).toBe(403);
    expect(made.broker.audit.latest).toMatchObject([{ action: "audit.read", outcome: "denied" }]);
  });

  test("says nowhere how long the log is", async () => {
    const made = await setUp();
    const kept: string[] = [];
    const { client } = await made.broker.executor({ keepHeads: async (heads) => void kept.push(...heads) });
    await client.redeem(await client.issue([{ uri: "env://API_TOKEN" }]), { masked: true });
    kept.push(...AuditHeads.parse(await (await ask(made, "auditor")).json()).heads);
    expect(kept).toHaveLength(2);
    for (const head of kept)
      expect(Object.keys(peekAuditHead(head)).sort()).toEqual(["chain", "hash", "iat"]);
  });

  test("comes with every redemption, repeated ones too, and is of a log that has the release", async () => {
    const { broker } = await setUp();
    const kept: string[] = [];
    const { client } = await broker.executor({ keepHeads: async (heads) => void kept.push(...heads) });
    const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
    expect(kept).toEqual([]);
    await client.redeem(handles, { masked: true });
    const { hash } = await readAuditHead(kept[0] ?? "", broker.keys.findAuditKey);
    const released = broker.audit.text.split("\n").find((line) => line.includes('"released"'));
    expect(hash).toBe(hashLine(released ?? ""));
  });
});

describe("an executor", () => {
  /** A broker whose log is a file too, and an executor that keeps heads in a folder. */
  async function setUpFiles() {
    const path = newLog();
    const folder = join(makeFolder({ "jwks.json": JSON.stringify(keys.jwks) }), "state", "audit-heads");
    const sink = fileSink(path, { findKey: keys.findAuditKey });
    const broker = await startBroker({ environment, sinks: [sink], rootKey: new Secret(new Uint8Array(32)) });
    onTestFinished(() => sink.close());
    const seen: string[] = [];
    const keep = headsIn(folder);
    const keepHeads = async (heads: readonly string[]) => {
      seen.push(...heads);
      await keep(heads);
    };
    const { client } = await broker.executor({ keepHeads });
    const redeem = async () => {
      const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
      await client.redeem(handles, { masked: true });
    };
    const kept = () => readdirSync(folder).sort();
    return { path, folder, jwks: join(folder, "../../jwks.json"), redeem, seen, kept };
  }

  const nameOf = (head: string) => {
    const { chain, iat } = peekAuditHead(head);
    return `${chain}.${String(Math.round(iat * 1e6)).padStart(16, "0")}`;
  };

  test("keeps the newest head of each chain", async () => {
    const { redeem, seen, kept } = await setUpFiles();
    await redeem();
    await redeem();
    expect(seen).toHaveLength(4);
    expect(kept()).toEqual(seen.slice(-2).map(nameOf).sort());
  });

  test("keeps it when many runs end at once", async () => {
    const { redeem, seen, kept } = await setUpFiles();
    await Promise.all(Array.from({ length: 20 }, redeem));
    const newest = Object.values(Object.groupBy(seen, (head) => peekAuditHead(head).chain)).map(
      (heads = []) => heads.map(nameOf).sort().at(-1),
    );
    expect(newest).toHaveLength(2);
    expect(kept()).toEqual(expect.arrayContaining(newest));
    await redeem();
    expect(kept()).toEqual(seen.slice(-2).map(nameOf).sort());
  });

  test("has in them what tells an older copy of the log from the log", async () => {
    const { path, folder, jwks, redeem, kept } = await setUpFiles();
    await redeem();
    copyFileSync(path, `${path}.copy`);
    await redeem();
    const head = kept().find((name) => readFileSync(path, "utf8").includes(name.slice(0, 36))) as string;
    const verify = (log: string) =>
      claimcheck(["audit", "verify", "--keys", jwks, "--head", join(folder, head), log]);
    expect(await verify(path)).toMatchObject({ code: 0 });
    expect(await verify(`${path}.copy`)).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/expected a line with the hash \S{43}, which the head of \S+Z is of\n$/),
    });
  });

  test("that cannot keep them says so, and gives no value away", async () => {
    const broker = await startBroker({ environment });
    const keepHeads = headsIn("/dev/null/audit-heads");
    const { client } = await broker.executor({ keepHeads });
    const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
    await expect(client.redeem(handles, { masked: true })).rejects.toMatchObject({
      code: "state_unusable",
      detail: "/dev/null/audit-heads cannot be written (ENOTDIR)",
    });
  });
});
