/** Values that requesters bring themselves: what the broker makes of them, and what nobody learns from that. */
import * as jose from "jose";
import { describe, expect, test } from "vitest";
import type { IssuedHandle } from "../../executor/broker-client/client.ts";
import type { HandleClaims } from "../../shared/handle.ts";
import type { Problem, WrapItem } from "../../shared/wire.ts";
import { allow, type Executor, startBroker, type TestBroker } from "../support/broker.ts";

type Item = Partial<WrapItem> & { readonly text?: string | Uint8Array };

async function setUp(seams: Parameters<typeof startBroker>[0] = {}) {
  const broker = await startBroker({ environment: { API_TOKEN: "guessme" }, ...seams });
  const executor = await broker.executor();
  return { broker, executor };
}

async function wrap(
  broker: TestBroker,
  { accessToken }: Executor,
  items: readonly Item[],
): Promise<Response> {
  const secrets = await Promise.all(
    items.map(async ({ text = "guessme", ...item }) => ({
      value: await broker.wrapped(text, accessToken, item),
      ...item,
    })),
  );
  return broker.send("POST", "/v1/handles/wrap", { secrets }, { authorization: `Bearer ${accessToken}` });
}

async function wrapped(broker: TestBroker, executor: Executor, ...items: Item[]) {
  const answer = await wrap(broker, executor, items);
  expect(answer.status).toBe(200);
  const { handles } = (await answer.json()) as { handles: { handle: string }[] };
  return handles.map(({ handle }) => ({ handle, claims: jose.decodeJwt(handle) as unknown as HandleClaims }));
}

const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);

describe("a wrapped value", () => {
  test("has no name that ends like a source, which the policy would take for one", async () => {
    const { broker, executor } = await setUp();
    const answer = await wrap(broker, executor, [{ name: "KEY?source=one" }]);
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: "invalid_request" });
  });

  test("comes out of its handle byte for byte, also when it is empty or nothing names it", async () => {
    const { broker, executor } = await setUp();
    const handles = await wrapped(
      broker,
      executor,
      { text: everyByte, name: "KEY" },
      { text: "", name: "" },
      { text: "a" },
    );
    expect(handles.map(({ claims: { name, scheme } }) => [scheme, name])).toEqual([
      ["wrap", "KEY"],
      ["wrap", ""],
      ["wrap", ""],
    ]);
    const redeemed = await executor.client.redeem(handles, { masked: true });
    expect(redeemed.map(({ value }) => Buffer.from(value.expose()).toString("latin1"))).toEqual([
      Buffer.from(everyByte).toString("latin1"),
      "",
      "a",
    ]);
  });

  test("is recorded under the name that it was given, and nowhere readable", async () => {
    const { broker, executor } = await setUp();
    await wrapped(broker, executor, { text: "correct-horse", name: "KEY", jkt: executor.identity.jkt });
    expect(broker.audit.latest).toMatchObject([{ action: "wrap", outcome: "issued", uri: "wrap://KEY" }]);
    expect(broker.audit.text + broker.answers.join() + JSON.stringify(broker.log)).not.toMatch(
      /correct-horse/,
    );
  });

  test("needs a rule of its own: one that lets issue does not let wrap", async () => {
    const { broker, executor } = await setUp({ rules: [allow(["**"], { actions: ["issue", "redeem"] })] });
    expect((await wrap(broker, executor, [{ name: "KEY" }])).status).toBe(403);
    expect(broker.audit.latest).toMatchObject([
      { action: "wrap", outcome: "denied", code: "no_rule", uri: expect.stringMatching(/^redacted:/) },
    ]);
  });

  test("is redeemed by a rule over its name", async () => {
    const { broker, executor } = await setUp({
      rules: [allow(["**"], { actions: ["wrap"] }), allow(["wrap://KEY"], { actions: ["redeem"] })],
    });
    const [key, other] = await wrapped(broker, executor, { name: "KEY" }, { name: "OTHER" });
    expect((await broker.redeem(executor, [other!.handle])).status).toBe(403);
    expect((await broker.redeem(executor, [key!.handle])).status).toBe(200);
  });

  test("that is not good refuses the batch, by its position", async () => {
    const { broker, executor } = await setUp();
    const refused = await wrap(broker, executor, [{}, { value: "e30..e30.e30.e30" }]);
    const problem = (await refused.json()) as Problem;
    expect(problem).toMatchObject({ code: "invalid_value", failures: [{ index: 1, code: "invalid_value" }] });
    expect(broker.audit.latest.map(({ outcome, code }) => `${outcome} ${code}`)).toEqual([
      "denied batch_refused",
      "denied value_malformed",
    ]);
  });
});

describe("a wrapped value that was caught on the way", () => {
  test.each<[string, Item, Item, string]>([
    ["for another executor", {}, { audience: "thief" }, "value_audience_mismatch"],
    ["for a key of the thief's", {}, { jkt: "x".repeat(43) }, "value_jkt_mismatch"],
    ["for no key", { jkt: "x".repeat(43) }, {}, "value_jkt_mismatch"],
    ["for the one who sent it", { audience: "deployer" }, {}, "value_audience_mismatch"],
  ])("cannot be wrapped %s", async (_, meant, sent, reason) => {
    const { broker, executor } = await setUp();
    const value = await broker.wrapped("guessme", executor.accessToken, meant);
    expect((await wrap(broker, executor, [{ ...sent, value }])).status).toBe(400);
    expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: reason }]);
  });

  test("cannot be wrapped by somebody else", async () => {
    const { broker, executor } = await setUp();
    const thief = await broker.executor({ principal: "thief" });
    const value = await broker.wrapped("guessme", executor.accessToken);
    expect((await wrap(broker, thief, [{ value }])).status).toBe(400);
    expect(broker.audit.latest).toMatchObject([{ code: "value_ath_mismatch", principal: "thief" }]);
  });

  test("is not opened by a broker with other keys", async () => {
    const { broker, executor } = await setUp();
    const [jwk] = broker.keys.jwks.keys.filter(({ use }) => use === "enc");
    expect(broker.keys.findDecryptionKey(jwk!.kid)).toBeDefined();
    const { publicKey } = await jose.generateKeyPair("ECDH-ES", { crv: "P-256" });
    const value = await new jose.CompactEncrypt(Buffer.from("guessme"))
      .setProtectedHeader({ alg: "ECDH-ES", enc: "A256GCM", kid: "another" })
      .encrypt(publicKey);
    await wrap(broker, executor, [{ value }]);
    expect(broker.audit.latest).toMatchObject([{ code: "value_for_another_key" }]);
  });
});

/** What a check tells the executor that each handle is for. */
const cacheIdsOf = (...checks: [Executor, IssuedHandle][]) =>
  Promise.all(checks.map(async ([{ client }, handle]) => (await client.check([handle])).cacheIds[0]));

describe("a cache key", () => {
  test("of a wrapped value is its requester's own: nobody can bring a value that counts as another's", async () => {
    const { broker, executor } = await setUp();
    const other = await broker.executor({ principal: "other" });
    const [own, again] = await wrapped(
      broker,
      executor,
      { cacheKey: "npm" },
      { cacheKey: "npm", text: "new" },
    );
    const [theirs] = await wrapped(broker, other, { cacheKey: "npm" });
    const [read] = await executor.client.issue([{ uri: "env://API_TOKEN", cacheKey: "npm" }]);
    const ids = await cacheIdsOf([executor, own!], [executor, again!], [other, theirs!], [executor, read!]);
    expect(ids[1]).toBe(ids[0]);
    expect(new Set(ids).size).toBe(3);
  });
});

describe("guessing", () => {
  test("another's value by wrapping it and comparing tells nothing: digest and cache id differ for equal values", async () => {
    const { broker, executor } = await setUp();
    const [read] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
    const [own] = await wrapped(broker, executor, {});
    const guesser = await broker.executor({ principal: "guesser" });
    const [guess, again, wrong] = await wrapped(broker, guesser, {}, {}, { text: "wrong" });
    const handles = [read!, own!, guess!, again!, wrong!];
    expect(new Set(handles.map(({ claims }) => claims.digest)).size).toBe(5);
    // Nor does the log, to somebody who may also read that.
    const logged = handles.map(
      ({ claims }) => broker.audit.records.find(({ jti }) => jti === claims.jti)!.digest,
    );
    expect(new Set(logged).size).toBe(4);
    expect(logged[3]).toBe(logged[2]);
    const ids = await cacheIdsOf([executor, read!], [executor, own!], [guesser, guess!], [guesser, again!]);
    expect(new Set(ids).size).toBe(3);
    // Within one's own values equal ones are seen to be equal, or nothing could be cached.
    expect(ids[3]).toBe(ids[2]);
  });

  test("by a requester of the same name in another tenant tells nothing either", async () => {
    const { broker, executor } = await setUp();
    const rival = await broker.executor({ tenant: "rival" });
    const [ours] = await wrapped(broker, executor, {});
    const [theirs] = await wrapped(broker, rival, {});
    expect(theirs!.claims.digest).not.toBe(ours!.claims.digest);
    const [own, others] = await cacheIdsOf([executor, ours!], [rival, theirs!]);
    expect(own).not.toBe(others);
  });

  test("of a cache key needs a rule that names it", async () => {
    const { broker, executor } = await setUp({
      rules: [allow(["**"], { limits: { ttl: 60, uses: 1 } })],
    });
    expect((await wrap(broker, executor, [{ cacheKey: "npm-token" }])).status).toBe(403);
    expect(broker.audit.latest).toMatchObject([{ code: "cache_key_not_allowed" }]);
  });
});

describe("a cache key is never taken for something else", () => {
  test.each<[string, (victim: HandleClaims & { cache_id: string }) => string]>([
    ["somebody's digest", ({ digest }) => digest],
    ["the MAC in somebody's digest", ({ digest }) => digest.split(":")[2]!],
    ["somebody's cache id", ({ cache_id }) => cache_id],
    ["somebody's value", () => "guessme"],
    ["somebody's value behind its tag", () => "vguessme"],
  ])("that is %s collides with nothing of theirs", async (_, forge) => {
    const { broker, executor } = await setUp();
    const [read] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
    const thief = await broker.executor({ principal: "thief" });
    const [cache_id] = (await cacheIdsOf([executor, read!])) as [string];
    const cacheKey = forge({ ...read!.claims, cache_id });
    const [forged, plain] = await wrapped(broker, thief, { text: "evil", cacheKey }, { text: cacheKey });
    expect(await cacheIdsOf([thief, forged!], [thief, plain!])).not.toContain(cache_id);
    for (const { claims } of [forged!, plain!]) {
      expect(claims.digest).not.toBe(read!.claims.digest);
    }
  });
});
