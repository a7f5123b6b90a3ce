/** G5, as an attacker would have it: a principal of another tenant with everything but the right token. */
import { describe, expect, test } from "vitest";
import { remoteKeys } from "../../broker/authn/issuer-keys.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import type { HandleStore } from "../../broker/store/store.ts";
import { allow, type Executor, startBroker } from "../support/broker.ts";
import { loadPolicy } from "../support/policy.ts";

const environment = { API_TOKEN: "guessme" };

/** A store that notes what it is asked, but for ids and times, which differ from one request to the next. */
function watched() {
  const asked: unknown[][] = [];
  const store = Object.fromEntries(
    Object.entries(memoryStore()).map(([name, act]) => [
      name,
      (...args: unknown[]) => {
        asked.push([name, ...withoutIds(args)]);
        return (act as (...args: unknown[]) => unknown)(...args);
      },
    ]),
  ) as unknown as HandleStore;
  return { store, asked };
}

const withoutIds = (args: readonly unknown[]): unknown[] =>
  JSON.parse(
    JSON.stringify(args)
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "(id)")
      .replace(/\b\d{10}\b/g, "0"),
  );

async function setUp() {
  const { store, asked } = watched();
  const broker = await startBroker({ environment, rules: [allow(["**"])], store });
  const owner = await broker.executor();
  const [handle] = await owner.client.issue([{ uri: "env://API_TOKEN", cacheKey: "npm", uses: 5 }]);
  // Even the owner's own keys, and its name at another issuer.
  const thief = await broker.executor({ tenant: "rival", identity: owner.identity });
  const ask = (who: Executor, method: string, path: string, body?: unknown) =>
    broker.send(method, path, body, { authorization: `Bearer ${who.accessToken}` });
  /** All that a client sees of an answer, and what the store was asked for it. */
  const seen = async (answering: Promise<Response>) => {
    asked.length = 0;
    const answer = await answering;
    const { status, headers } = answer;
    return { status, headers: [...headers], body: await answer.text(), asked: [...asked] };
  };
  return { broker, owner, thief, handle: handle!, ask, seen };
}

const unknown = "00000000-0000-4000-8000-000000000000";

describe("what belongs to another tenant and what does not exist are answered alike:", () => {
  test.each([
    ["GET", (jti: string) => [`/v1/handles/${jti}`]],
    ["DELETE", (jti: string) => [`/v1/handles/${jti}`]],
    ["POST", (jti: string) => ["/v1/revocations", { jti }]],
  ] as const)("%s by jti", async (method, requestOf) => {
    const { thief, handle, ask, seen } = await setUp();
    const [path, body] = requestOf(handle.claims.jti);
    const [otherPath, otherBody] = requestOf(unknown);
    const foreign = await seen(ask(thief, method, path as string, body));
    expect(foreign).toEqual(await seen(ask(thief, method, otherPath as string, otherBody)));
    expect(foreign).toMatchObject({ status: 404, asked: [["look", "rival", ["(id)"], null]] });
    expect(JSON.parse(foreign.body)).toMatchObject({ code: "not_found" });
  });

  test.each(["redeem", "check"] as const)("%s of a handle, real or forged", async (act) => {
    const { broker, thief, handle, seen } = await setUp();
    const foreign = await seen(broker[act](thief, [handle.handle]));
    const [head, body] = handle.handle.split(".");
    const forged = await seen(broker[act](thief, [`${head}.${body}.${"A".repeat(86)}`]));
    expect(foreign).toEqual(forged);
    expect(foreign).toMatchObject({
      status: 400,
      asked: [["rememberProof", expect.any(String), expect.anything()]],
    });
    expect(JSON.parse(foreign.body)).toMatchObject({ code: "invalid_handle" });
  });
});

test("nothing that another tenant tries takes a use, voids a handle or shows in its audit records as the owner", async () => {
  const { broker, owner, thief, handle, ask } = await setUp();
  await broker.redeem(thief, [handle.handle]);
  await broker.check(thief, [handle.handle]);
  await ask(thief, "DELETE", `/v1/handles/${handle.claims.jti}`);
  await ask(thief, "POST", "/v1/revocations", { subject: "ci" });
  await ask(thief, "POST", "/v1/revocations", { all: true });
  const status = await ask(owner, "GET", `/v1/handles/${handle.claims.jti}`);
  expect(await status.json()).toMatchObject({ uses: 5, left: 5 });
  expect(await owner.client.redeem([handle], { masked: true })).toHaveLength(1);
  const tried = broker.audit.records.filter(({ tenant }) => tenant === "rival");
  expect(tried.map(({ action }) => action)).toEqual(["redeem", "check", "revoke", "revoke", "revoke"]);
  for (const { digest, uri } of tried.filter(({ jti }) => jti === handle.claims.jti)) {
    expect({ digest, uri }).toEqual({ digest: undefined, uri: undefined });
  }
});

test("equal values and equal cache keys of two tenants have nothing in common", async () => {
  const { broker, owner, thief } = await setUp();
  const items = [{ uri: "env://API_TOKEN" }, { uri: "env://API_TOKEN", cacheKey: "npm" }];
  const [mine, theirs] = [await owner.client.issue(items), await thief.client.issue(items)];
  const checked = [await owner.client.check(mine), await thief.client.check(theirs)];
  const ids = checked.flatMap(({ cacheIds }) => cacheIds);
  const digests = [...mine, ...theirs].map(({ claims }) => claims.digest);
  expect(new Set([...digests, ...ids]).size).toBe(8);
  const logged = broker.audit.records.map(({ tenant, digest }) => `${tenant} ${digest}`);
  expect(new Set(logged).size).toBe(2);
  expect(new Set(logged.map((each) => each.split(" ")[1])).size).toBe(2);
});

test("a redemption id that another tenant took is still free, though the key is the same", async () => {
  const { broker, owner, thief, handle } = await setUp();
  await broker.redeem(thief, [handle.handle], { id: "r".repeat(16) });
  const answer = await broker.redeem(owner, [handle.handle], { id: "r".repeat(16) });
  expect(answer.status).toBe(200);
});

test("a rule of one tenant decides nothing in another, whatever its principals claim", () => {
  const tenant = (name: string, rules: string) =>
    `  ${name}:\n    principals: [{ issuer: ci, claims: { owner: ${name} }, roles: [requester] }]\n    rules: ${rules}\n`;
  const rule = '[{ name: all, actions: [issue], secrets: ["env://**"] }]';
  const loaded = loadPolicy(
    `version: 1\nissuers: { ci: { issuer: "https://ci.example" } }\ntenants:\n${tenant("acme", rule)}${tenant("rival", "[]")}`,
    remoteKeys,
  );
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const decide = (own: string) =>
    loaded.policy.decide(
      {
        tenant: own,
        principal: "ci:x",
        accessToken: "",
        claims: { owner: "acme" },
        roles: ["requester"],
        proofKeys: [],
        anyProofKey: false,
      },
      "issue",
      "env://A",
    ).allowed;
  expect({ acme: decide("acme"), rival: decide("rival") }).toEqual({ acme: true, rival: false });
});
