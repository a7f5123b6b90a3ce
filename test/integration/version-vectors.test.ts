/**
 * The formats of 1095231 besides the log and the handle of versions.test.ts, and each format as a later version would mark
 * it: today's program reads it, or says by name that another version made it.
 */
import { createSecretKey } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as jose from "jose";
import { expect, onTestFinished, test } from "vitest";
import { explainFormer } from "../../bin/serve-broker/former-fields.ts";
import { BrokerFile } from "../../bin/serve-broker/schema.ts";
import { secretPatterns } from "../../bin/serve-broker/secret-patterns.ts";
import { readExecutorConfig } from "../../bin/serve-executor/config.ts";
import { openChain } from "../../broker/audit/chain.ts";
import { fileSink } from "../../broker/audit/file.ts";
import { openPool, postgresSink } from "../../broker/audit/postgres.ts";
import { readChain } from "../../broker/audit/postgres-table.ts";
import { auditVersion, hashLine } from "../../broker/audit/record.ts";
import { rotatedFiles } from "../../broker/audit/search-files.ts";
import { filePart, verifyChain } from "../../broker/audit/verify.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { readPolicy } from "../../broker/policy/file.ts";
import { redisStore } from "../../broker/store/redis.ts";
import { openStore } from "../../executor/cache/store.ts";
import { PlanDocument } from "../../executor/plan/document.ts";
import { findAuditKeys } from "../../shared/audit-head.ts";
import { NewerStatement } from "../../shared/newer.ts";
import { OutdatedReceipt, verifyReceipt } from "../../shared/receipt.ts";
import type { Jwks, Problem } from "../../shared/wire.ts";
import { readDocument } from "../../shared/yaml-document.ts";
import { startPostgres } from "../parts/postgres.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { decision, keys as zeroKeys } from "../support/audit-log.ts";
import { brokerUrl, rootKey, startBroker } from "../support/broker.ts";
import { makeFolder } from "../support/served.ts";

const vectors = new URL("../vectors/versions/1095231/", import.meta.url);
const vector = (name: string) => readFileSync(new URL(name, vectors), "utf8");
const keys = await createKeys(rootKey());

/** What is wrong with each document, by its name. */
const readers = {
  "plan.yaml": (text: string) => readDocument(text, PlanDocument),
  "policy.yaml": (text: string) => readPolicy(text, secretPatterns),
  "broker.yaml": (text: string) => readDocument(text, BrokerFile),
  "executor.yaml": (text: string) =>
    readExecutorConfig(join(makeFolder({ "executor.yaml": text }), "executor.yaml")),
};

test.each(["plan.yaml", "policy.yaml", "executor.yaml"] as const)("%s of 1095231 is read", async (name) => {
  expect(await readers[name](vector(name))).not.toHaveProperty("faults");
});

test("broker.yaml of 1095231: each field that is gone names what takes its place", async () => {
  const read = await readers["broker.yaml"](vector("broker.yaml"));
  const faults = "faults" in read ? explainFormer(read.faults) : [];
  expect(faults.map(({ line, message }) => `${line} ${message.replace(/write sources: .*/s, "…")}`)).toEqual([
    "7 env: variables belong to tenants: …",
    "8 files: folders belong to tenants: …",
    "9 commands: commands belong to tenants: …",
  ]);
});

test.each(Object.entries(readers))(
  "%s of a newer version is called that, and nothing else",
  async (name, read) => {
    const text = `version: 2\n${vector(name).replace("version: 1\n", "")}more: [new]\n`;
    expect(await read(text)).toEqual({
      faults: [
        {
          line: 1,
          message:
            "version 2 of this format is for a newer version of Claimcheck, and this one reads version 1; upgrade Claimcheck",
        },
      ],
    });
  },
);

function results() {
  const folder = makeFolder({});
  mkdirSync(join(folder, "results"));
  const told: unknown[] = [];
  const store = openStore(folder, {
    macKey: createSecretKey(Buffer.alloc(32, 7)),
    onSpoilt: (_, version) => told.push(version),
  });
  return { folder, told, store };
}

test("a cached result of 1095231 is refused by name, and one of a newer version too", async () => {
  const { folder, told, store } = results();
  const [key = ""] = readdirSync(new URL("results/", vectors));
  const old = vector(`results/${key}`);
  for (const text of [
    old,
    old.replace("claimcheck-cache/1", "claimcheck-cache/3"),
    old.replace("cache/1", ""),
  ]) {
    writeFileSync(join(folder, "results", key), text);
    expect(await store.read(key)).toBeUndefined();
  }
  expect(told).toEqual(["result_outdated", "result_newer", undefined]);
});

test("a receipt of 1095231 in a registry is refused by name, and one of a newer version too", async () => {
  const tags = JSON.parse(vector("registry.json")) as Record<string, string>;
  const [key = ""] = Object.keys(tags).filter((name) => /^[0-9a-f]{64}$/.test(name));
  const receipt = JSON.parse(tags[key]!).annotations["dev.claimcheck.receipt"] as string;
  const about = { iss: brokerUrl, tenant: "acme", key, secrets: [] };
  await expect(verifyReceipt(receipt, keys.findKey, about)).rejects.toThrow(OutdatedReceipt);
  const { kid, privateKey } = keys.signingKey;
  const newer = await new jose.CompactSign(Buffer.from('{"new":"form"}'))
    .setProtectedHeader({
      alg: "EdDSA",
      typ: "claimcheck-receipt",
      kid,
      version: 2,
    } as jose.CompactJWSHeaderParameters)
    .sign(privateKey);
  await expect(verifyReceipt(newer, keys.findKey, about)).rejects.toThrow(NewerStatement);
});

test("a handle of 1095231 that lies in Redis is refused by name, and its record is not believed", async () => {
  const redis = await startRedisForTest();
  const store = redisStore({ url: redis.url });
  onTestFinished(() => store.close());
  const broker = await startBroker({ store, environment: { API_TOKEN: "guessme" } });
  const executor = await broker.executor();
  const [own] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
  const nameOf = (jti: string) => `claimcheck:{acme}:handle:${jti}`;
  const life = String(await redis.command("HGET", nameOf(own!.claims.jti), "life"));
  const handle = vector("redis-handle").trim();
  const { jti = "" } = jose.decodeJwt(handle);
  const fields = JSON.parse(vector("redis.json"))[nameOf(jti)] as Record<string, string>;
  for (const [field, value] of Object.entries(fields)) {
    await redis.command("HSET", nameOf(jti), field, Buffer.from(value, "base64").toString("latin1"));
  }
  // As if the server had kept its memory over the upgrade.
  await redis.command("HSET", nameOf(jti), "life", life);
  expect((await store.look("acme", [jti]))[0]).toBeDefined();
  const refused = await broker.redeem(executor, [handle]);
  expect(((await refused.json()) as Problem).code).toBe("handle_outdated");
  const headers = { authorization: `Bearer ${executor.accessToken}` };
  const inspected = await broker.send("GET", `/v1/handles/${jti}`, undefined, headers);
  expect(((await inspected.json()) as Problem).code).toBe("not_found");
});

/** Keys that verify what both programs wrote. */
const both = (jwks: Jwks) => findAuditKeys({ keys: [...jwks.keys, ...zeroKeys.jwks.keys] });

test("a log of 1095231 goes on in a file of today's version, and both are whole together", async () => {
  const folder = makeFolder({ "audit.jsonl": vector("audit.jsonl") });
  const path = join(folder, "audit.jsonl");
  const findKey = both(JSON.parse(vector("jwks")));
  const chain = await openChain(fileSink(path, { findKey }), zeroKeys.auditKey);
  for (const request of ["a", "b"]) await chain.append([decision(request)]);
  await chain.close();
  const files = [...(await rotatedFiles(path)).map((each) => each.path), path];
  expect(files.map((file) => JSON.parse(readFileSync(file, "utf8").split("\n")[0]!).version)).toEqual([1, 2]);
  expect(await verifyChain(files.map(filePart), findKey)).toEqual({ lines: 9 + 5, losses: 0 });
});

test("rows of 1095231 in PostgreSQL: its chain goes on, and none behind a newer version's", async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  const { url, name } = await server.create();
  await server.query(name, vector("audit-postgres.sql"));
  const findKey = both(keys.jwks);
  const open = async () => openChain(postgresSink({ url, broker: "one", findKey }), zeroKeys.auditKey);
  const chain = await open();
  await chain.append([decision("a")]);
  await chain.append([decision("b")]);
  const { entries } = await chain.query({}, { limit: 10 });
  expect(entries).toHaveLength(4);
  await chain.close();
  const again = await open();
  await again.append([decision("c")]);
  await again.close();
  const part = {
    name: "one",
    async *lines() {
      const pool = openPool(url);
      yield* readChain(pool, "one");
      await pool.end();
    },
  };
  expect(await verifyChain([part], findKey)).toEqual({ lines: 5 + 1 + 3 * 2, losses: 0 });

  // As a later version goes on: its lines are unknown here, and the head of its last one says the version.
  const [{ line, seq }] = await server.query(
    name,
    "SELECT line, seq FROM claimcheck_audit ORDER BY seq DESC LIMIT 1",
  );
  const head = `e30.${Buffer.from(JSON.stringify({ version: auditVersion + 1 })).toString("base64url")}.AA`;
  const next = { seq: Number(seq) + 1, prev: hashLine(line), time: JSON.parse(line).time };
  for (const [nth, more] of [
    { type: "decision", tenant: "acme", new: "form" },
    { type: "checkpoint", head },
  ].entries()) {
    const added = { ...next, seq: next.seq + nth, ...more };
    await server.query(
      name,
      "INSERT INTO claimcheck_audit (broker, seq, time, type, tenant, line) VALUES ('one', $1, $2, $3, 'acme', $4)",
      [added.seq, added.time, added.type, JSON.stringify(added)],
    );
  }
  const detail = expect.stringMatching(/a newer version of Claimcheck wrote the log \(version 3 /);
  await expect(open()).rejects.toMatchObject({ code: "audit_unavailable", detail });
  const sink = postgresSink({ url, broker: "another", findKey });
  onTestFinished(() => sink.close());
  await expect(sink.query({ tenant: "acme" }, { limit: 100 })).rejects.toMatchObject({ detail });
});
