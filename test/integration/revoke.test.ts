/** Looking at handles and voiding them: who may, and that it is at once and for good. */
import { randomUUID } from "node:crypto";
import { describe, expect, test } from "vitest";
import { allow, deny, type Executor, RecordingSink, startBroker } from "../support/broker.ts";

const rules = [
  allow(["**"], { actions: ["issue", "redeem"] }),
  allow(["env://*"], { name: "operators", principals: ["operator"], actions: ["inspect", "revoke"] }),
  allow(undefined, { name: "admins", principals: ["admin"], actions: ["revoke"] }),
  deny(["**"], { name: "suspended", principals: ["mallory"], actions: ["inspect", "revoke"] }),
];

async function setUp() {
  const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, rules });
  const executor = await broker.executor();
  const as = async (principal: string, method: string, path: string, body?: unknown, tenant?: "rival") => {
    const authorization = `Bearer ${await broker.token({ principal, ...(tenant && { tenant }) })}`;
    return broker.send(method, path, body, { authorization });
  };
  const issue = async (run?: string, who: Executor = executor) => {
    const secrets = [{ uri: "env://API_TOKEN", jkt: who.identity.jkt, uses: 3 }];
    const authorization = `Bearer ${who.accessToken}`;
    const answer = await broker.send("POST", "/v1/handles", { secrets, run }, { authorization });
    return ((await answer.json()) as { handles: [{ jti: string; handle: string; expires: number }] })
      .handles[0];
  };
  const statusOf = async (handle: string) => (await broker.redeem(executor, [handle])).status;
  return { broker, executor, as, issue, statusOf };
}

describe("looking at a handle", () => {
  test("tells its uses, its end and who asked for it, and consumes nothing", async () => {
    const { broker, executor, as, issue } = await setUp();
    const { jti, handle, expires } = await issue("1842");
    await broker.redeem(executor, [handle]);
    for (let again = 0; again < 3; again++) {
      const seen = await as("ci", "GET", `/v1/handles/${jti}`);
      expect(await seen.json()).toEqual({ jti, subject: "ci", run: "1842", uses: 3, left: 2, expires });
    }
    expect(broker.audit.latest).toMatchObject([
      { action: "inspect", outcome: "shown", jti, principal: "ci" },
    ]);
  });

  test("is for whom a rule allows it, which the log names", async () => {
    const { broker, as, issue } = await setUp();
    const { jti } = await issue();
    expect((await as("operator", "GET", `/v1/handles/${jti}`)).status).toBe(200);
    expect(broker.audit.latest).toMatchObject([{ outcome: "shown", rule: "operators" }]);
  });

  test.each(["GET", "DELETE"])(
    "%s: unknown, another tenant's and nobody's business look the same",
    async (method) => {
      const { broker, as, issue, statusOf } = await setUp();
      const { jti, handle } = await issue();
      const answers = [
        await as("ci", method, `/v1/handles/${randomUUID()}`),
        await as("ci", method, `/v1/handles/${jti}`, undefined, "rival"),
        await as("stranger", method, `/v1/handles/${jti}`),
        await as("ci", method, "/v1/handles/correct-horse"),
      ];
      const seen = await Promise.all(
        answers.map(async (answer) => [answer.status, [...answer.headers], await answer.text()]),
      );
      for (const each of seen) expect(each).toEqual(seen[0]);
      expect(seen[0]![0]).toBe(404);
      const written = broker.audit.records.filter(({ outcome }) => outcome === "denied");
      expect(written.map(({ code }) => code)).toEqual(["not_found", "not_found", "no_rule", "not_found"]);
      expect(broker.audit.text).not.toContain("correct-horse");
      expect(await statusOf(handle)).toBe(200);
    },
  );
});

describe("a revoked handle", () => {
  test.each<[string, string, string, (jti: string) => unknown]>([
    ["by its requester", "ci", "DELETE", () => undefined],
    ["by whom a rule allows it", "operator", "DELETE", () => undefined],
    ["by its requester, in the list of revocations", "ci", "POST", (jti) => ({ jti })],
    ["with all that its requester asked for", "ci", "POST", () => ({ subject: "ci" })],
    ["by an admin, with the principal", "admin", "POST", () => ({ subject: "ci" })],
    ["by an admin, with the run", "admin", "POST", () => ({ run: "1842" })],
    ["by an admin, with the tenant", "admin", "POST", () => ({ all: true })],
  ])("%s is void, and was recorded first", async (_, principal, method, body) => {
    const { broker, as, issue, statusOf } = await setUp();
    const { jti, handle } = await issue("1842");
    const path = method === "DELETE" ? `/v1/handles/${jti}` : "/v1/revocations";
    const answer = await as(principal, method, path, body(jti));
    expect(await answer.json()).toEqual({ status: "revoked" });
    expect(broker.audit.latest).toMatchObject([{ action: "revoke", outcome: "revoked", principal }]);
    expect(await statusOf(handle)).toBe(410);
    const later = await issue("1842");
    expect(await statusOf(later.handle)).toBe(200);
  });

  test("is void for a redemption that is asked for again too", async () => {
    const { broker, executor, as, issue } = await setUp();
    const { jti, handle } = await issue();
    const id = randomUUID();
    await broker.redeem(executor, [handle], { id });
    await as("ci", "DELETE", `/v1/handles/${jti}`);
    expect((await broker.redeem(executor, [handle], { id })).status).toBe(410);
  });

  test("of another tenant is none: principals, runs and tenants are one's own", async () => {
    const { as, issue, statusOf } = await setUp();
    const { handle } = await issue("1842");
    for (const body of [{ subject: "ci" }, { run: "1842" }, { all: true }]) {
      const answer = await as("admin", "POST", "/v1/revocations", body, "rival");
      expect(answer.status).toBe(200);
    }
    expect(await statusOf(handle)).toBe(200);
  });

  test.each([{ subject: "admin" }, { run: "1842" }, { all: true }])(
    "needs a rule over everything when many go: %j",
    async (body) => {
      const { broker, as, issue, statusOf } = await setUp();
      const { handle } = await issue("1842");
      for (const principal of ["ci", "operator"]) {
        const refused = await as(principal, "POST", "/v1/revocations", body);
        expect(refused.status).toBe(403);
        expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: "no_rule", principal }]);
      }
      expect(await statusOf(handle)).toBe(200);
    },
  );

  test("is not revoked by whom a rule denies it, which the log names", async () => {
    const { broker, as, issue, statusOf } = await setUp();
    const { jti, handle } = await issue();
    const denied = { outcome: "denied", code: "denied_by_rule", rule: "suspended" };
    expect((await as("mallory", "DELETE", `/v1/handles/${jti}`)).status).toBe(404);
    expect(broker.audit.latest).toMatchObject([denied]);
    expect((await as("mallory", "POST", "/v1/revocations", { all: true })).status).toBe(403);
    expect(broker.audit.latest).toMatchObject([denied]);
    expect(await statusOf(handle)).toBe(200);
  });

  test("is not revoked when that cannot be written down", async () => {
    const { broker, as, issue, statusOf } = await setUp();
    const { jti, handle } = await issue();
    broker.audit.broken = true;
    expect((await as("ci", "DELETE", `/v1/handles/${jti}`)).status).toBe(503);
    broker.audit.broken = false;
    expect(await statusOf(handle)).toBe(200);
  });

  test("that the store could not void is recorded as failed after it was recorded as revoked", async () => {
    const sink = new RecordingSink();
    const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, sinks: [sink] });
    const executor = await broker.executor();
    await executor.client.issue([{ uri: "env://API_TOKEN" }]);
    Object.assign(broker.store, { revoke: () => Promise.reject(new Error("ECONNRESET")) });
    const authorization = `Bearer ${executor.accessToken}`;
    const answer = await broker.send("POST", "/v1/revocations", { subject: "ci" }, { authorization });
    expect(answer.status).toBe(500);
    expect(sink.latest.map(({ outcome }) => outcome)).toEqual(["revoked", "failed"]);
  });
});
