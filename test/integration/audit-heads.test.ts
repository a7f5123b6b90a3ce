/** What a restart knows of a log: the newest head is in the store, and a log that lacks it is not taken without a word. */
import { once } from "node:events";
import { appendFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { createKeys } from "../../broker/keys/keys.ts";
import { startIssuer } from "../parts/issuer.ts";
import { startPostgres } from "../parts/postgres.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { decisionsOf, linesOf, recordsOf } from "../support/audit-log.ts";
import { rootKey } from "../support/broker.ts";
import { claimcheck, printed, start } from "../support/command.ts";
import { serve } from "../support/served.ts";
import { createServedClient } from "../support/served-client.ts";

async function setUp(audit = "audit.jsonl", more: Record<string, string> = {}) {
  const [ci, redis] = await Promise.all([startIssuer("ES256"), startRedisForTest()]);
  const env = { API_TOKEN: "guessme", REDIS_URL: redis.url, ...more };
  const fields = "redis: { env: REDIS_URL }\nshutdown: { delay: 0, limit: 5 }\n";
  const broker = await serve(ci, fields, env, { audit });
  const { redeem } = await createServedClient(broker.url, ci);
  await redeem();
  await redeem();
  broker.child.kill();
  await once(broker.child, "exit");
  const config = join(broker.folder, "broker.yaml");
  return {
    redis,
    redeem,
    path: join(broker.folder, "audit.jsonl"),
    /** @returns what it says when it does not start. */
    async startAgain(): Promise<string | undefined> {
      const again = start(["broker", "--config", config], { env });
      const refusal = await printed(again, "serving").then(
        () => undefined,
        () => again.output.stderr,
      );
      onTestFinished(() => void again.child.kill("SIGKILL"));
      return refusal;
    },
    accept: () => claimcheck(["audit", "accept-head", "--config", config], { env }),
  };
}

/** In bytes. */
function endOfFirstWrite(path: string): number {
  const lines = linesOf(path);
  const writes = lines.slice(0, lines.findIndex((line) => line.includes('"checkpoint"')) + 1);
  return Buffer.byteLength(`${writes.join("\n")}\n`);
}

describe("a log in a file", () => {
  test("that is as it was goes on after a restart", async () => {
    const { startAgain, redeem, path, accept } = await setUp();
    expect(await startAgain()).toBeUndefined();
    await redeem();
    expect(decisionsOf(recordsOf(path))).toHaveLength(6);
    expect((await accept()).stderr).toContain("another process is writing it");
  });

  test.each([
    [
      "was cut at an earlier write",
      (path: string) => truncateSync(path, endOfFirstWrite(path)),
      "the log ends at seq 2",
    ],
    ["was cut to nothing", (path: string) => truncateSync(path), "the log is gone"],
    ["was deleted", (path: string) => rmSync(path), "the log is gone"],
  ])("that %s is refused until accept-head says so in the log", async (_, take, said) => {
    const { startAgain, redeem, path, accept } = await setUp();
    take(path);
    for (const _again of [1, 2]) {
      expect(await startAgain()).toMatch(
        new RegExp(
          `${said}, and this broker wrote it up to seq \\d+;.*claimcheck audit accept-head.*state_unusable`,
        ),
      );
    }
    const accepted = await accept();
    expect(accepted).toMatchObject({ code: 0, stdout: expect.stringContaining("accepted, though it lacks") });
    expect(recordsOf(path).filter(({ type }) => type === "accepted")).toHaveLength(1);
    expect((await accept()).stdout).toContain("nothing to accept");
    const jwks = join(path, "../jwks.json");
    writeFileSync(jwks, JSON.stringify((await createKeys(rootKey())).jwks));
    const verified = await claimcheck(["audit", "verify", "--keys", jwks, path]);
    expect(verified.stdout).toMatch(/: whole, \d+ lines; 1 of them accept that others were missing\n$/);
    expect(await startAgain()).toBeUndefined();
    await redeem();
  });

  test.each([
    ["nothing", (): string[] => ["DEL"]],
    ["something that no key of the broker signed", (): string[] => ["SET"]],
  ])(
    "is taken as it is where the store has %s: who can write there can only make a broker refuse",
    async (_, command) => {
      const { startAgain, path, redis } = await setUp();
      const keys = (await redis.command("KEYS", "claimcheck:audit-head:*")) as string[];
      expect(keys).toHaveLength(2);
      for (const key of keys) {
        const [name] = command();
        await redis.command(name!, key, ...(name === "SET" ? ["eyJhbGciOiJFZERTQSJ9.e30.AAAA"] : []));
      }
      truncateSync(path, endOfFirstWrite(path));
      expect(await startAgain()).toBeUndefined();
    },
  );

  test("is not written before the store says what was there", async () => {
    const { startAgain, path, redis, redeem } = await setUp();
    truncateSync(path, endOfFirstWrite(path));
    await redis.kill();
    expect(await startAgain()).toBeUndefined();
    await expect(redeem()).rejects.toThrow();
    expect(recordsOf(path).at(-1)).toMatchObject({ seq: 2 });
  });

  test("is written once the store, which was away at the start, is back", async () => {
    const { startAgain, path, redis, redeem } = await setUp();
    // What a crash leaves, so that there is something to note too.
    appendFileSync(path, "{");
    await redis.kill();
    expect(await startAgain()).toBeUndefined();
    await redis.restart();
    await expect.poll(() => redeem().catch(() => []), { timeout: 30_000 }).toHaveLength(1);
    expect(recordsOf(path).filter(({ type }) => type === "recovered")).toHaveLength(1);
  });
});

test("a chain in PostgreSQL whose last rows are gone is refused until accept-head says so", async () => {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  const { name, url } = await server.create();
  const { startAgain, redeem, accept } = await setUp(
    "{ postgres: { url: { env: AUDIT_DATABASE }, broker: one } }",
    { AUDIT_DATABASE: url },
  );
  await server.query(name, "DELETE FROM claimcheck_audit WHERE seq > 2");
  expect(await startAgain()).toContain("the log ends at seq 2");
  expect((await accept()).stdout).toContain("the audit log in PostgreSQL: accepted");
  expect(await startAgain()).toBeUndefined();
  await redeem();
});
