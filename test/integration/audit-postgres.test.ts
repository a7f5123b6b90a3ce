/** The audit log in PostgreSQL, with a real server: what every sink promises, and what becomes of it in trouble. */

import { Pool } from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { openChain } from "../../broker/audit/chain.ts";
import { openAuditLog } from "../../broker/audit/log.ts";
import { postgresSink } from "../../broker/audit/postgres.ts";
import { readChain } from "../../broker/audit/postgres-table.ts";
import { verifyChain } from "../../broker/audit/verify.ts";
import { type PostgresServer, startPostgres } from "../parts/postgres.ts";
import { decision, keys, requestsOf } from "../support/audit-log.ts";
import { refusalOf } from "../support/refusal.ts";
import { describeSink } from "../support/sinks.ts";

let server: PostgresServer;

beforeAll(async () => {
  server = await startPostgres();
});

afterAll(() => server.stop());

const { findAuditKey: findKey } = keys;

function partOf(url: string, broker: string) {
  return {
    name: broker,
    async *lines() {
      const pool = new Pool({ connectionString: url });
      pool.on("error", () => {});
      try {
        yield* readChain(pool, broker);
      } finally {
        await pool.end();
      }
    },
  };
}

const sinkAt = (url: string, broker = "one", timeLimit = 2_000) =>
  postgresSink({ url, broker, findKey, timeLimit });
const openAt = (url: string, broker?: string, timeLimit?: number) =>
  openChain(sinkAt(url, broker, timeLimit), keys.auditKey);

const verify = (url: string, broker = "one") => verifyChain([partOf(url, broker)], findKey);

describe("in PostgreSQL,", () => {
  describeSink({
    async create() {
      const { url } = await server.create();
      return { sink: () => sinkAt(url), part: () => partOf(url, "one") };
    },
  });
});

describe("the table", () => {
  test("has the chains of many brokers, which begin it together", async () => {
    const { url, name } = await server.create();
    const brokers = ["one", "two", "three", "four"];
    const chains = await Promise.all(brokers.map((broker) => openAt(url, broker)));
    await Promise.all(chains.map((chain, nth) => chain.append([decision(`${nth}`)])));
    const [chain] = chains;
    const { entries } = await chain!.query({ tenant: "acme" }, { limit: 10 });
    expect(new Set(requestsOf(entries))).toEqual(new Set(["0", "1", "2", "3"]));
    for (const each of chains) await each.close();
    for (const broker of brokers) expect(await verify(url, broker)).toEqual({ lines: 3, losses: 0 });
    expect(await server.query(name, "SELECT count(*)::int FROM claimcheck_audit")).toEqual([{ count: 12 }]);
  });

  test("finds a tenant's records of a time by an index", async () => {
    const { url, name } = await server.create();
    const chain = await openAt(url);
    for (let nth = 0; nth < 20; nth++) {
      await chain.append(
        Array.from({ length: 500 }, (_, i) => ({ ...decision(`${i}`), tenant: `tenant-${i % 50}` })),
      );
    }
    await chain.close();
    await server.query(name, "ANALYZE claimcheck_audit");
    const plan = await server.query(
      name,
      `EXPLAIN SELECT broker, line FROM claimcheck_audit
       WHERE (time, broker, seq) > ($1::timestamptz, $2, $3::bigint) AND type = 'decision' AND tenant = $4
       ORDER BY time, broker, seq LIMIT 101`,
      ["2026-01-01T00:00:00Z", "", "-1", "tenant-7"],
    );
    const text = plan.map((row) => row["QUERY PLAN"]).join("\n");
    expect(text).toContain("Index Scan using claimcheck_audit_tenant");
    expect(text).toMatch(
      /Index Cond: \(\(tenant = 'tenant-7'::text\) AND \(ROW\("?time"?, broker, seq\) > ROW/,
    );
    expect(text).not.toMatch(/Sort|Seq Scan/);
  });

  test("is enough for a role that can only read and add", async () => {
    const { url, name } = await server.create();
    await (await openAt(url, "owner")).close();
    await server.query(name, "CREATE ROLE adder LOGIN");
    await server.query(name, "GRANT SELECT, INSERT ON claimcheck_audit TO adder");
    const chain = await openAt(server.urlOf(name, "adder"));
    await chain.append([decision("a")]);
    await chain.close();
    expect(await verify(url)).toEqual({ lines: 3, losses: 0 });
    const denied = server.query(name, "SET ROLE adder; DELETE FROM claimcheck_audit");
    await expect(denied).rejects.toThrow("permission denied");
  });
});

describe("audit verify finds", () => {
  const rival = `replace(line, '"tenant":"acme"', '"tenant":"rival"')`;

  test.each([
    [
      "an edited line",
      `UPDATE claimcheck_audit SET line = ${rival}, tenant = 'rival' WHERE seq = 1`,
      2,
      "prev ",
    ],
    ["a line that is gone", "DELETE FROM claimcheck_audit WHERE seq = 3", 4, "seq 3"],
    ["a tail that is gone", "DELETE FROM claimcheck_audit WHERE seq >= 4", 4, "a checkpoint"],
    [
      "a column that hides a line from questions",
      "UPDATE claimcheck_audit SET tenant = 'rival' WHERE seq = 1",
      1,
      "its column tenant",
    ],
    [
      "a time that hides one",
      "UPDATE claimcheck_audit SET time = time + '1 ms' WHERE seq = 3",
      3,
      "its column time",
    ],
    [
      "a type that hides one",
      "UPDATE claimcheck_audit SET type = 'chain' WHERE seq = 3",
      3,
      "its column type",
    ],
    [
      "a row before the first",
      "INSERT INTO claimcheck_audit SELECT broker, -7, time, type, tenant, principal, uri, line FROM claimcheck_audit WHERE seq = 1",
      -7,
      "its column seq",
    ],
    [
      "a row before the first that is no line",
      "INSERT INTO claimcheck_audit SELECT broker, -7, time, type, tenant, principal, uri, 'forged' FROM claimcheck_audit WHERE seq = 1",
      undefined,
      "a line in the log's form",
    ],
  ])("%s", async (_, manipulation, seq, expected) => {
    const { url, name } = await server.create();
    const chain = await openAt(url);
    await chain.append([decision("a")]);
    await chain.append([decision("b")]);
    await chain.close();
    expect(await verify(url)).toEqual({ lines: 5, losses: 0 });
    await server.query(name, manipulation);
    const { broken } = await verify(url);
    expect(broken).toMatchObject({ seq, expected: expect.stringContaining(expected) });
  });
});

describe("a chain that does not end as this broker left it is not continued:", () => {
  test.each([
    ["the last line is gone", "DELETE FROM claimcheck_audit WHERE seq = 2"],
    [
      "the last line is another",
      "UPDATE claimcheck_audit SET line = replace(line, 'eyJ', 'eyK') WHERE seq = 2",
    ],
  ])("%s", async (_, manipulation) => {
    const { url, name } = await server.create();
    const chain = await openAt(url);
    await chain.append([decision("a")]);
    await chain.close();
    await server.query(name, manipulation);
    expect(await refusalOf(() => openAt(url))).toMatchObject({ code: "audit_unavailable" });
  });
});

describe("a question is not answered from a row that no broker wrote:", () => {
  const copied = (seq: number, line: string) =>
    `INSERT INTO claimcheck_audit SELECT broker, ${seq}, time, type, tenant, principal, uri, ${line} FROM claimcheck_audit WHERE seq = 1`;

  test.each([
    ["one with a negative seq", copied(-1, "line")],
    ["one whose line says so too", copied(-1, `replace(line, '"seq":1', '"seq":-1')`)],
    ["one after the end", copied(99, "line")],
    ["one whose tenant is another", "UPDATE claimcheck_audit SET tenant = 'rival' WHERE seq = 1"],
  ])("%s", async (_, forgery) => {
    const { url, name } = await server.create();
    const chain = await openAt(url);
    onTestFinished(() => chain.close());
    await chain.append([decision("a")]);
    await server.query(name, forgery);
    expect(await refusalOf(() => chain.query({}, { limit: 10 }))).toMatchObject({
      code: "audit_unavailable",
      detail: expect.stringContaining("audit verify"),
    });
  });
});

describe("a running broker takes no chain for its own that lacks what it wrote:", () => {
  const endSessions =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'claimcheck' AND datname = current_database()";
  const backUp = "CREATE TABLE backup AS SELECT * FROM claimcheck_audit";

  async function written() {
    const { url, name } = await server.create();
    const sink = sinkAt(url);
    const chain = await openChain(sink, keys.auditKey);
    onTestFinished(() => chain.close());
    await chain.append([decision("a")]);
    await chain.append([decision("b")]);
    await server.query(name, backUp);
    return { url, name, sink, chain };
  }

  test.each([
    [
      "rows after an acknowledged head are deleted",
      "DELETE FROM claimcheck_audit WHERE seq > 2",
      "ends at seq 2",
    ],
    ["the table is dropped", "DROP TABLE claimcheck_audit", "is gone"],
  ])("%s and the session is ended; restored, it goes on", async (_, manipulation, said) => {
    const { url, name, sink, chain } = await written();
    await server.query(name, manipulation);
    await server.query(name, endSessions);
    await expect.poll(() => sink.isLost()).toBe(true);
    for (const _again of [1, 2]) {
      expect(await refusalOf(() => chain.append([decision("c")]))).toMatchObject({
        code: "audit_unavailable",
        detail: expect.stringContaining(`the log ${said}, and this broker wrote it up to seq 4`),
      });
    }
    await server.query(name, "INSERT INTO claimcheck_audit SELECT * FROM backup ON CONFLICT DO NOTHING");
    await chain.append([decision("d")]);
    expect(await verify(url)).not.toHaveProperty("broken");
  });

  test("rows are deleted under a session that goes on: the next write is refused, and leaves nothing", async () => {
    const { name, chain } = await written();
    await server.query(name, "DELETE FROM claimcheck_audit WHERE seq > 2");
    expect(await refusalOf(() => chain.append([decision("c")]))).toMatchObject({ code: "audit_unavailable" });
    expect(await server.query(name, "SELECT max(seq)::int FROM claimcheck_audit")).toEqual([{ max: 2 }]);
  });

  test("and a broker that records nothing finds out by itself", async () => {
    const { url, name } = await server.create();
    const log = await openAuditLog([sinkAt(url)], keys.auditKey, (_, uri) => uri);
    onTestFinished(() => log.close());
    const { type, ...record } = decision("a") as { type: "decision" } & Parameters<
      typeof log.record
    >[0][number];
    await log.record([record]);
    await server.query(name, "DELETE FROM claimcheck_audit");
    await expect.poll(() => log.complaints(), { timeout: 10_000 }).toMatchObject([{ serving: false }]);
  });

  test("nor does one that records nothing need a request to know that the server is stuck, and that it is back", async () => {
    const { url } = await server.create();
    const log = await openAuditLog([sinkAt(url)], keys.auditKey, (_, uri) => uri);
    onTestFinished(() => log.close());
    server.signal("STOP");
    await expect
      .poll(() => log.complaints(), { timeout: 15_000 })
      .toMatchObject([{ serving: false }])
      .finally(() => server.signal("CONT"));
    await expect.poll(() => log.complaints(), { timeout: 15_000 }).toEqual([]);
  });

  test("but a write whose answer was lost is taken as it is found", async () => {
    const { url, chain, name } = await written();
    server.signal("STOP");
    await expect(chain.append([decision("c")]))
      .rejects.toThrow()
      .finally(() => server.signal("CONT"));
    await expect.poll(() => chain.append([decision("d")]).catch(() => undefined)).toBeTypeOf("string");
    expect(await verify(url)).not.toHaveProperty("broken");
    expect(await server.query(name, "SELECT count(*)::int > 0 AS found FROM claimcheck_audit")).toEqual([
      { found: true },
    ]);
  });
});

describe("nothing is recorded, and everything is again afterwards,", () => {
  test("while the server is down", async () => {
    const { url } = await server.create();
    const log = await openAuditLog([sinkAt(url)], keys.auditKey, (_, uri) => uri);
    const { type, ...record } = decision("a") as { type: "decision" } & Parameters<
      typeof log.record
    >[0][number];
    await log.record([record]);
    await server.kill();
    expect(await refusalOf(() => log.record([record]))).toMatchObject({ code: "audit_unavailable" });
    expect(await refusalOf(() => log.query({}, { limit: 1 }))).toMatchObject({ code: "audit_unavailable" });
    expect(log.complaints()).toEqual([
      { part: "audit log", message: "it cannot be written", serving: false },
    ]);
    await server.restart();
    // Nobody sends it a request before it is ready again.
    await expect.poll(() => log.complaints()).toEqual([]);
    await log.record([record]);
    expect((await log.query({}, { limit: 10 })).entries).toHaveLength(2);
    await log.close();
    expect(await verify(url)).not.toHaveProperty("broken");
  });

  test("while the server is stuck: nothing waits longer than the time limit, and nothing appears twice", async () => {
    const { url } = await server.create();
    const chain = await openAt(url, "one", 500);
    await chain.append([decision("a")]);
    server.signal("STOP");
    const refused = chain.append([decision("b")]);
    await expect(refused)
      .rejects.toThrow()
      .finally(() => server.signal("CONT"));
    await expect.poll(() => chain.append([decision("c")]).catch(() => undefined)).toBeTypeOf("string");
    const { entries } = await chain.query({}, { limit: 10 });
    const requests = requestsOf(entries);
    expect(requests.filter((request) => request !== "b")).toEqual(["a", "c"]);
    await chain.close();
    expect(await verify(url)).not.toHaveProperty("broken");
  });

  test("after its session was ended by somebody", async () => {
    const { url, name } = await server.create();
    const sink = sinkAt(url);
    const chain = await openChain(sink, keys.auditKey);
    await chain.append([decision("a")]);
    await server.query(
      name,
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'claimcheck' AND datname = current_database()",
    );
    // Once the news has come, the next write is as good as any.
    await expect.poll(() => sink.isLost()).toBe(true);
    await chain.append([decision("b")]);
    await chain.close();
    expect(await verify(url)).not.toHaveProperty("broken");
  });
});

describe("a server is refused", () => {
  test("whose database is not UTF-8", async () => {
    await server.query("postgres", "CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0");
    expect(await refusalOf(() => openAt(server.urlOf("latin")))).toMatchObject({
      detail: "the database's encoding is LATIN1, and must be UTF8",
    });
  });

  test("that does not sync", async () => {
    const { url } = await server.create();
    await server.query("postgres", "ALTER SYSTEM SET fsync = off");
    await server.query("postgres", "SELECT pg_reload_conf()");
    onTestFinished(async () => {
      await server.query("postgres", "ALTER SYSTEM RESET fsync");
      await server.query("postgres", "SELECT pg_reload_conf()");
    });
    await expect.poll(() => server.query("postgres", "SHOW fsync")).toEqual([{ fsync: "off" }]);
    expect(await refusalOf(() => openAt(url))).toMatchObject({
      detail: "the server's fsync is off, so a commit is not durable",
    });
  });

  test("whose role commits without waiting is told to wait", async () => {
    const { url, name } = await server.create();
    await server.query(name, `ALTER DATABASE ${name} SET synchronous_commit = off`);
    const chain = await openAt(url);
    await chain.append([decision("a")]);
    await chain.close();
    expect(await verify(url)).toEqual({ lines: 3, losses: 0 });
  });
});
