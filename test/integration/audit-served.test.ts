/** The audit log of a broker that is served: where its configuration has it go, and what becomes of requests without it. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Problem } from "../../shared/wire.ts";
import { startIssuer } from "../parts/issuer.ts";
import { startPostgres } from "../parts/postgres.ts";
import { claimcheck } from "../support/command.ts";
import { serve } from "../support/served.ts";

async function startServer() {
  const server = await startPostgres();
  onTestFinished(() => server.stop());
  return { server, ...(await server.create()) };
}

async function serveAudited(audit: string, env: Record<string, string> = {}) {
  const ci = await startIssuer("ES256");
  const broker = await serve(ci, "", env, { audit });
  const issue = async () => {
    const token = await ci.sign({ sub: "job", aud: broker.url });
    const answer = await fetch(`${broker.url}/v1/handles`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ secrets: [{ uri: "env://API_TOKEN" }] }),
    });
    return answer.status === 200 ? "issued" : ((await answer.json()) as Problem).code;
  };
  const jwks = join(broker.folder, "jwks.json");
  writeFileSync(jwks, await (await fetch(`${broker.url}/.well-known/jwks.json`)).text());
  return { ...broker, issue, jwks };
}

describe("a broker whose log is in PostgreSQL", () => {
  test("issues nothing while the database is down, says so, and goes on when it is back", async () => {
    const { server, url } = await startServer();
    const env = { AUDIT_DATABASE: url };
    const broker = await serveAudited("{ postgres: { url: { env: AUDIT_DATABASE }, broker: one } }", env);
    const readiness = async () => (await fetch(`${broker.url}/readyz`)).status;
    expect(await broker.issue()).toBe("issued");
    await server.kill();
    expect(await broker.issue()).toBe("audit_unavailable");
    expect(await readiness()).toBe(503);
    await server.restart();
    await expect.poll(readiness).toBe(200);
    expect(await broker.issue()).toBe("issued");
    const verified = await claimcheck(["audit", "verify", "--postgres", "--keys", broker.jwks], {
      env: { CLAIMCHECK_AUDIT_URL: url },
    });
    expect(verified).toMatchObject({ code: 0, stdout: expect.stringMatching(/^one: whole, \d+ lines\n$/) });
  });

  test("is one of several, and verify says which chain is not whole, and which head has none", async () => {
    const { server, name, url } = await startServer();
    const env = { AUDIT_DATABASE: url };
    const [one, two] = await Promise.all(
      ["one", "two"].map((broker) =>
        serveAudited(`{ postgres: { url: { env: AUDIT_DATABASE }, broker: ${broker} } }`, env),
      ),
    );
    expect([await one!.issue(), await two!.issue()]).toEqual(["issued", "issued"]);
    const verify = (...args: string[]) =>
      claimcheck(["audit", "verify", "--postgres", "--keys", one!.jwks, ...args], {
        env: { CLAIMCHECK_AUDIT_URL: url },
      });
    expect(await verify()).toMatchObject({ code: 0, stdout: "one: whole, 3 lines\ntwo: whole, 3 lines\n" });
    const [{ head }] = await server.query(
      name,
      "SELECT line::json->>'head' AS head FROM claimcheck_audit WHERE broker = 'two' AND seq = 2",
    );
    expect(await verify("--head", head)).toMatchObject({ code: 0 });
    await server.query(name, "DELETE FROM claimcheck_audit WHERE broker = 'two' AND seq = 1");
    expect(await verify()).toMatchObject({ code: 1, stderr: "two:2: seq 2: expected seq 1\n" });
    await server.query(name, "DELETE FROM claimcheck_audit WHERE broker = 'two'");
    expect(await verify()).toMatchObject({ code: 0, stdout: "one: whole, 3 lines\n" });
    const gone = await verify("--head", head);
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(/expected chain \S{36}, which/) });
  });

  test("does not start under the name of another one that runs, or without a database", async () => {
    const { server, url } = await startServer();
    const audit = "{ postgres: { url: { env: AUDIT_DATABASE }, broker: one } }";
    const broker = await serveAudited(audit, { AUDIT_DATABASE: url });
    const again = async (database: string) =>
      claimcheck(["broker", "--config", join(broker.folder, "broker.yaml")], {
        env: { AUDIT_DATABASE: database },
      });
    const why = (text: string) => ({
      code: 125,
      stderr: `claimcheck: Claimcheck cannot use its state folder: the audit log in PostgreSQL cannot be used: ${text} [state_unusable]\n`,
    });
    expect(await again(url)).toMatchObject(why("another process is writing it"));
    await server.kill();
    expect(await again(url)).toMatchObject(why("ECONNREFUSED"));
  });
});

test("a broker with both writes to both, and a copy to standard output", async () => {
  const { server, url, name } = await startServer();
  const audit =
    "{ file: audit.jsonl, postgres: { url: { env: AUDIT_DATABASE }, broker: one }, stdout: true }";
  const broker = await serveAudited(audit, { AUDIT_DATABASE: url });
  expect(await broker.issue()).toBe("issued");
  const file = join(broker.folder, "audit.jsonl");
  const before = readFileSync(file, "utf8");
  expect(await server.query(name, "SELECT count(*)::int FROM claimcheck_audit")).toEqual([{ count: 3 }]);
  await expect.poll(() => broker.output.stdout).toBe(before);
  await server.kill();
  expect(await broker.issue()).toBe("audit_unavailable");
});

test.each([
  ["{ stdout: true }", "audit: file, postgres, or both"],
  ["{ file: nowhere/audit.jsonl }", "nowhere cannot be written"],
  ["{ postgres: { url: { env: NOT_SET } } }", "audit: NOT_SET is not set"],
  ["{ postgres: { url: { env: WRONG } } }", "audit: a URL such as postgres://db.example/claimcheck"],
  ["{ postgres: { url: { env: API_TOKEN } } }", "sources: audit cannot be given out as a secret (API_TOKEN)"],
  ["[audit.jsonl]", "audit: a file, or { file: PATH, postgres: { url: … }, stdout: true }"],
])("a configuration with audit: %s is told", async (audit, fault) => {
  const { folder } = await serveAudited("audit.jsonl");
  const path = join(folder, "broker.yaml");
  const text = readFileSync(path, "utf8");
  writeFileSync(path, text.replace("audit: audit.jsonl", `audit: ${audit}`));
  const checked = await claimcheck(["broker", "check", path], {
    env: { API_TOKEN: "guessme", WRONG: "mysql://guessme@db.example/x" },
  });
  expect(checked.code).toBe(125);
  expect(checked.stderr).toContain(fault);
  expect(checked.stderr).not.toContain("guessme");
});
