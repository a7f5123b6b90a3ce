/** Redemption through the HTTP interface: who gets what, who does not, and what is written down about it. */
import { randomUUID } from "node:crypto";
import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import type { ProvenRequest } from "../../shared/proof.ts";
import { importRecipient, type RedeemedValue, sealRedemption } from "../../shared/redemption.ts";
import { Secret } from "../../shared/secret.ts";
import { type Problem, RedemptionRequest } from "../../shared/wire.ts";
import {
  allow,
  brokerUrl,
  deny,
  type Executor,
  fixedProvider,
  prepareRedemption,
  RecordingSink,
  startBroker,
  type TestBroker,
} from "../support/broker.ts";

const environment = { API_TOKEN: "guessme", OTHER: "sesame" };
const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);

async function setUp(seams: Parameters<typeof startBroker>[0] = {}) {
  const broker = await startBroker({
    environment,
    providers: [fixedProvider({ binary: everyByte, empty: new Uint8Array(0) })],
    ...seams,
  });
  const executor = await broker.executor();
  return { broker, executor };
}

const take = async ({ client }: Executor, ...uris: string[]) => client.issue(uris.map((uri) => ({ uri })));
const texts = async ({ client }: Executor, handles: Awaited<ReturnType<typeof take>>) =>
  (await client.redeem(handles, { masked: true })).map(({ value }) =>
    Buffer.from(value.expose()).toString("latin1"),
  );

const codeOf = async (response: Response) => ({
  status: response.status,
  code: ((await response.json()) as Problem).code,
});

/** A refusal as the client saw it, and as the log has it. */
async function refusal(broker: TestBroker, response: Response) {
  const { audit } = broker;
  return {
    ...(await codeOf(response)),
    written: audit.latest.map(({ outcome, code }) => `${outcome} ${code}`),
  };
}

afterEach(() => {
  vi.useRealTimers();
});

describe("redeeming", () => {
  test("gives the values that the handles stand for, byte for byte and in their order", async () => {
    const { executor } = await setUp();
    const handles = await take(executor, "fixed://binary", "env://API_TOKEN", "fixed://empty");
    expect(await texts(executor, handles)).toEqual([
      Buffer.from(everyByte).toString("latin1"),
      "guessme",
      "",
    ]);
  });

  test("is written down, one record a handle, before the answer", async () => {
    const { broker, executor } = await setUp({ rules: [allow(["env://*"], { name: "the environment" })] });
    const [handle] = await take(executor, "env://API_TOKEN");
    await executor.client.redeem([handle!], { masked: false });
    const { jti } = handle!.claims;
    const digest = broker.keys.digest("acme", new Secret(Buffer.from("guessme")));
    expect(broker.audit.latest).toEqual([
      {
        seq: expect.any(Number),
        prev: expect.any(String),
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        type: "decision",
        action: "redeem",
        outcome: "released",
        tenant: "acme",
        principal: "ci",
        uri: "env://API_TOKEN",
        jti,
        digest,
        rule: "the environment",
        request: expect.any(String),
        redemption: expect.any(String),
        masked: false,
      },
    ]);
  });

  test("works as often as the handle allows", async () => {
    const { broker, executor } = await setUp();
    const handles = await executor.client.issue([{ uri: "env://API_TOKEN", uses: 2 }]);
    expect(await texts(executor, handles)).toEqual(["guessme"]);
    expect(await texts(executor, handles)).toEqual(["guessme"]);
    const spent = await broker.redeem(executor, [handles[0]!.handle]);
    expect(await refusal(broker, spent)).toEqual({
      status: 410,
      code: "handle_spent",
      written: ["denied handle_spent"],
    });
  });

  test("takes two uses for a handle that is listed twice", async () => {
    const { broker, executor } = await setUp();
    const [twice] = await executor.client.issue([{ uri: "env://API_TOKEN", uses: 2 }]);
    expect(await texts(executor, [twice!, twice!])).toEqual(["guessme", "guessme"]);
    expect(await codeOf(await broker.redeem(executor, [twice!.handle]))).toMatchObject({
      code: "handle_spent",
    });
  });

  test("of one handle by fifty at once gives it to one", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => broker.redeem(executor, [single!.handle])),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(49);
    expect(broker.audit.records.filter(({ outcome }) => outcome === "released")).toHaveLength(1);
  });

  test("is all or none: one bad handle costs the others nothing", async () => {
    const { broker, executor } = await setUp();
    const [good, spent] = await take(executor, "env://API_TOKEN", "env://OTHER");
    await texts(executor, [spent!]);
    const refused = await broker.redeem(executor, [good!.handle, spent!.handle]);
    expect(await refused.json()).toMatchObject({
      code: "handle_spent",
      failures: [{ index: 1, code: "handle_spent" }],
    });
    const { jti } = good!.claims;
    expect(broker.audit.latest).toMatchObject([
      { outcome: "denied", code: "batch_refused", jti },
      { outcome: "denied", code: "handle_spent" },
    ]);
    expect(await texts(executor, [good!])).toEqual(["guessme"]);
  });
});

describe("a redemption whose answer was lost", () => {
  test("can be asked for again: same values, no use spent, written down as a repeat", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const id = randomUUID();
    for (const outcome of ["released", "repeat", "repeat"]) {
      const answer = await broker.redeem(executor, [single!.handle], { id });
      expect(answer.status).toBe(200);
      expect(broker.audit.latest).toMatchObject([{ outcome, redemption: id, jti: single!.claims.jti }]);
    }
  });

  test("is nobody else's: another process, though it has token, id and handle, gets a conflict", async () => {
    const identities = [await createIdentity(), await createIdentity()] as const;
    // Only a handle that is bound to no key gets that far, and only with registered keys.
    const { broker } = await setUp({ proofKeys: identities.map(({ jkt }) => jkt) });
    const executor = await broker.executor({ identity: identities[0] });
    const { accessToken } = executor;
    const answer = await broker.send(
      "POST",
      "/v1/handles",
      { secrets: [{ uri: "env://API_TOKEN", uses: 5 }] },
      {
        authorization: `Bearer ${accessToken}`,
      },
    );
    const handle = ((await answer.json()) as { handles: { handle: string }[] }).handles[0]!.handle;
    const id = randomUUID();
    expect((await broker.redeem(executor, [handle], { id })).status).toBe(200);
    const thief = { identity: identities[1], accessToken };
    const refused = await broker.redeem(thief, [handle], { id });
    expect(await refusal(broker, refused)).toEqual({
      status: 409,
      code: "redemption_conflict",
      written: ["denied redemption_conflict"],
    });
  });

  test("is over after a minute", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const id = randomUUID();
    await broker.redeem(executor, [single!.handle], { id });
    vi.setSystemTime(Date.now() + 60_000);
    expect(await codeOf(await broker.redeem(executor, [single!.handle], { id }))).toMatchObject({
      code: "handle_spent",
    });
  });
});

describe("no plaintext leaves without a durable record", () => {
  test("when the log cannot be written the answer is no, and the use is given back", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    broker.audit.broken = true;
    const refused = await broker.redeem(executor, [single!.handle]);
    expect(refused.status).toBe(503);
    expect(await refused.json()).toEqual({
      type: "urn:claimcheck:error:audit_unavailable",
      title: "The broker could not write the audit log, so it released nothing.",
      status: 503,
      code: "audit_unavailable",
    });
    broker.audit.broken = false;
    expect(await texts(executor, [single!])).toEqual(["guessme"]);
  });

  test("nor when one of several logs cannot", async () => {
    const second = new RecordingSink();
    const { broker, executor } = await setUp({ sinks: [second] });
    const [single] = await take(executor, "env://API_TOKEN");
    second.broken = true;
    expect(await codeOf(await broker.redeem(executor, [single!.handle]))).toMatchObject({
      code: "audit_unavailable",
    });
    second.broken = false;
    expect((await broker.redeem(executor, [single!.handle])).status).toBe(200);
  });

  test("nor is a repeat answered, and the use that was spent stays spent", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const id = randomUUID();
    await broker.redeem(executor, [single!.handle], { id });
    broker.audit.broken = true;
    expect((await broker.redeem(executor, [single!.handle], { id })).status).toBe(503);
    broker.audit.broken = false;
    expect((await broker.redeem(executor, [single!.handle])).status).toBe(410);
  });

  test("nor is a refusal told that could not be written down", async () => {
    const { broker, executor } = await setUp();
    broker.audit.broken = true;
    const refused = await broker.redeem(executor, ["not.a.handle"]);
    expect(await codeOf(refused)).toEqual({ status: 503, code: "audit_unavailable" });
  });
});

describe("a proof for something else is refused with one public code, and the log says which", () => {
  const elsewhere = "https://broker.example/v1/handles";

  test.each<[string, Partial<ProvenRequest>]>([
    ["proof_htm_mismatch", { method: "GET" }],
    ["proof_htu_mismatch", { url: elsewhere }],
    ["proof_bh_mismatch", { body: "{}" }],
    ["proof_ath_mismatch", { accessToken: "another" }],
  ])("%s: %j", async (reason, changed) => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { body, prove, authorization } = await prepareRedemption(executor, [single!.handle]);
    const dpop = await prove(changed);
    const refused = await broker.send("POST", "/v1/redemptions", body, { authorization, dpop });
    expect(refused.headers.get("www-authenticate")).toContain("DPoP");
    expect(await refusal(broker, refused)).toEqual({
      status: 401,
      code: "invalid_proof",
      written: [`denied ${reason}`],
    });
    expect(await texts(executor, [single!])).toEqual(["guessme"]);
  });

  test("proof_ekt_mismatch: another key to encrypt to than the one that was proven", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { encryptionKey } = await createIdentity();
    const { body, prove, authorization } = await prepareRedemption(executor, [single!.handle], {
      key: encryptionKey,
    });
    const dpop = await prove({ encryptionKey: executor.identity.encryptionKey });
    const refused = await broker.send("POST", "/v1/redemptions", body, { authorization, dpop });
    expect(await refusal(broker, refused)).toMatchObject({
      code: "invalid_proof",
      written: ["denied proof_ekt_mismatch"],
    });
  });

  test("proof_bh_mismatch: a proxy puts its own key into the body", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { body, prove, authorization } = await prepareRedemption(executor, [single!.handle]);
    const { encryptionKey } = await createIdentity();
    const swapped = { ...JSON.parse(body), key: encryptionKey };
    const refused = await broker.send("POST", "/v1/redemptions", swapped, {
      authorization,
      dpop: await prove(),
    });
    expect(await refusal(broker, refused)).toMatchObject({
      status: 401,
      code: "invalid_proof",
      written: ["denied proof_bh_mismatch"],
    });
  });

  test("proof_replayed: the very same request a second time", async () => {
    const { broker, executor } = await setUp();
    const [single] = await executor.client.issue([{ uri: "env://API_TOKEN", uses: 2 }]);
    const { body, prove, authorization } = await prepareRedemption(executor, [single!.handle]);
    const headers = { authorization, dpop: await prove() };
    expect((await broker.send("POST", "/v1/redemptions", body, headers)).status).toBe(200);
    const replayed = await broker.send("POST", "/v1/redemptions", body, headers);
    expect(await refusal(broker, replayed)).toEqual({
      status: 401,
      code: "invalid_proof",
      written: ["denied proof_replayed"],
    });
  });

  test("proof_missing: a bearer token alone never redeems", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { body, authorization } = await prepareRedemption(executor, [single!.handle]);
    const refused = await broker.send("POST", "/v1/redemptions", body, { authorization });
    expect(await refusal(broker, refused)).toEqual({
      status: 401,
      code: "invalid_proof",
      written: ["denied proof_missing"],
    });
  });

  test("proof_stale: one that was made long ago", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { body, prove, authorization } = await prepareRedemption(executor, [single!.handle]);
    const dpop = await prove();
    vi.setSystemTime(Date.now() + 61_000);
    const refused = await broker.send("POST", "/v1/redemptions", body, { authorization, dpop });
    expect(await refusal(broker, refused)).toMatchObject({
      code: "invalid_proof",
      written: ["denied proof_stale"],
    });
  });
});

describe("a handle is worthless", () => {
  test("without the key that it is bound to, also with its owner's token", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const thief = { identity: await createIdentity(), accessToken: executor.accessToken };
    const refused = await broker.redeem(thief, [single!.handle]);
    expect(await refusal(broker, refused)).toEqual({
      status: 400,
      code: "invalid_handle",
      written: ["denied another_key"],
    });
    expect(await texts(executor, [single!])).toEqual(["guessme"]);
  });

  test("to another principal", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const other = await broker.executor({ principal: "other", identity: executor.identity });
    expect(await refusal(broker, await broker.redeem(other, [single!.handle]))).toEqual({
      status: 400,
      code: "invalid_handle",
      written: ["denied another_audience"],
    });
  });

  test("to another tenant, though the principal has the same name and the key is the same", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const rival = await broker.executor({ tenant: "rival", identity: executor.identity });
    expect(await refusal(broker, await broker.redeem(rival, [single!.handle]))).toEqual({
      status: 400,
      code: "invalid_handle",
      written: ["denied another_tenant"],
    });
  });

  test("once it has expired", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const { broker, executor } = await setUp();
    const handles = await executor.client.issue([{ uri: "env://API_TOKEN", ttl: 30 }]);
    vi.setSystemTime(Date.now() + 30_000);
    expect(await refusal(broker, await broker.redeem(executor, [handles[0]!.handle]))).toEqual({
      status: 410,
      code: "handle_expired",
      written: ["denied handle_expired"],
    });
  });

  test("to a broker that shares the root key but lost its memory", async () => {
    const { executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { broker: restarted } = await setUp();
    const again = await restarted.executor({ identity: executor.identity });
    expect(await refusal(restarted, await restarted.redeem(again, [single!.handle]))).toEqual({
      status: 410,
      code: "handle_void",
      written: ["denied handle_void"],
    });
  });

  test("when a rule of today denies it, which the log names", async () => {
    const { broker, executor } = await setUp({
      rules: [allow(["**"]), deny(["env://OTHER"], { actions: ["redeem"] })],
    });
    const handles = await take(executor, "env://API_TOKEN", "env://OTHER");
    await broker.redeem(
      executor,
      handles.map(({ handle }) => handle),
    );
    expect(broker.audit.latest.map(({ code, rule }) => ({ code, rule }))).toEqual([
      { code: "batch_refused", rule: undefined },
      { code: "denied_by_rule", rule: "deny env://OTHER" },
    ]);
  });

  test("when today's policy does not let it be redeemed, and then it costs no use", async () => {
    const { broker, executor } = await setUp({ rules: [allow(["**"], { actions: ["issue"] })] });
    const [single] = await take(executor, "env://API_TOKEN");
    const refused = await broker.redeem(executor, [single!.handle]);
    expect(await refusal(broker, refused)).toEqual({
      status: 403,
      code: "forbidden",
      written: ["denied no_rule"],
    });
    const { jti } = single!.claims;
    const redemption = { tenant: "acme", id: randomUUID(), principal: "ci", jkt: "key", run: "" };
    expect((await broker.store.take(redemption, [jti])).outcome).toBe("taken");
  });

  test("when it is made up", async () => {
    const { broker, executor } = await setUp();
    expect(await refusal(broker, await broker.redeem(executor, ["made.up.handle"]))).toEqual({
      status: 400,
      code: "invalid_handle",
      written: ["denied invalid_handle"],
    });
  });
});

describe("a request that cannot be answered costs nothing", () => {
  test("a key that is no point on its curve is refused before the handle is taken", async () => {
    const { broker, executor } = await setUp();
    const [single] = await take(executor, "env://API_TOKEN");
    const { encryptionKey } = executor.identity;
    const key = { ...encryptionKey, y: encryptionKey.x };
    const refused = await broker.redeem(executor, [single!.handle], { key });
    expect(await refusal(broker, refused)).toEqual({
      status: 400,
      code: "invalid_request",
      written: ["denied invalid_request"],
    });
    expect(await texts(executor, [single!])).toEqual(["guessme"]);
  });
});

describe("an executor believes only its broker", () => {
  test("not a proxy that answers with another redemption's values", async () => {
    const { broker, executor } = await setUp();
    const [one, two] = await take(executor, "env://API_TOKEN", "env://OTHER");
    const stolen = await (await broker.redeem(executor, [two!.handle])).text();
    const { client } = await broker.executor({
      identity: executor.identity,
      proxy: (forward) => async (url, init) => {
        const answer = await forward(url, init);
        return url.endsWith("/v1/redemptions") ? new Response(stolen) : answer;
      },
    });
    await expect(client.redeem([one!], { masked: true })).rejects.toMatchObject({ code: "broker_untrusted" });
  });

  test("not a proxy that is a broker itself, with keys of its own", async () => {
    const { broker } = await setUp();
    const impostor = await startBroker({ environment, rootKey: new Secret(Buffer.alloc(32, 0xff)) });
    const authorization = `Bearer ${await impostor.token()}`;
    const { client } = await broker.executor({
      proxy:
        () =>
        (url, { method, body }) =>
          impostor.send(method, new URL(url).pathname, body, { authorization }),
    });
    await expect(client.issue([{ uri: "env://API_TOKEN" }])).rejects.toMatchObject({
      code: "broker_untrusted",
    });
  });

  /** What the executor gets from a broker that signs whatever `answer` makes of what was asked for. */
  async function redeemAt(answer: (values: RedeemedValue[]) => RedeemedValue[]) {
    const { broker, executor } = await setUp();
    const { client } = await broker.executor({
      identity: executor.identity,
      proxy: (forward) => async (url, init) => {
        if (!url.endsWith("/v1/redemptions")) return forward(url, init);
        const { id, handles, key } = RedemptionRequest.parse(JSON.parse(String(init.body)));
        const values = handles.map((handle): RedeemedValue => {
          const { jti, digest } = jose.decodeJwt<{ jti: string; digest: string }>(handle);
          return { jti, digest, value: new Secret(Buffer.from("guessme")) };
        });
        const proof = String(jose.decodeJwt(String(init.headers?.dpop)).jti);
        const context = { iss: brokerUrl, tenant: "acme", redemption: id, proof };
        const recipient = await importRecipient(key);
        const sealed = { values: answer(values), heads: [] };
        const payload = await sealRedemption(context, sealed, broker.keys.signingKey, recipient);
        return Response.json({ id, payload });
      },
    });
    // Equal values, so that only the handles' ids tell the two apart.
    const handles = await take(executor, "env://API_TOKEN", "env://API_TOKEN");
    return client.redeem(handles, { masked: true });
  }

  test("the values of its handles, in their order", async () => {
    expect(await redeemAt((values) => values)).toHaveLength(2);
  });

  test.each<[string, (values: RedeemedValue[]) => RedeemedValue[]]>([
    ["in another order", (values) => values.toReversed()],
    ["of another digest", (values) => values.map((value) => ({ ...value, digest: "hmac-sha256:x" }))],
    ["fewer than were asked for", (values) => values.slice(1)],
    ["more than were asked for", (values) => [...values, ...values.slice(0, 1)]],
  ])("not even its broker, with values %s", async (_, tamper) => {
    await expect(redeemAt(tamper)).rejects.toMatchObject({ code: "broker_untrusted" });
  });
});

const [registered, own] = await Promise.all([createIdentity(), createIdentity()]);

describe("a registered proof key", () => {
  async function ask(jkt?: string) {
    const { broker } = await setUp({ proofKeys: [registered.jkt] });
    const executor = await broker.executor({ identity: registered });
    const headers = { authorization: `Bearer ${executor.accessToken}` };
    const asked = { secrets: [{ uri: "env://API_TOKEN", ...(jkt && { jkt }) }] };
    const answer = await broker.send("POST", "/v1/handles", asked, headers);
    const { handles } = (await answer.json()) as { handles: [{ handle: string }] };
    return { broker, executor, handle: handles[0].handle };
  }

  test("redeems a handle that is bound to no key", async () => {
    const { broker, executor, handle } = await ask();
    expect((await broker.redeem(executor, [handle])).status).toBe(200);
  });

  test("is the only one that does: a stolen token is worth nothing with a key of the thief's", async () => {
    const { broker, executor, handle } = await ask();
    const refused = await broker.redeem({ ...executor, identity: own }, [handle]);
    expect(await refusal(broker, refused)).toEqual({
      status: 403,
      code: "key_not_registered",
      written: ["denied key_not_registered"],
    });
  });

  test("is needed for a handle that is bound to another key, too", async () => {
    const { broker, executor, handle } = await ask(own.jkt);
    expect((await broker.redeem({ ...executor, identity: own }, [handle])).status).toBe(403);
    expect(await codeOf(await broker.redeem(executor, [handle]))).toMatchObject({ code: "invalid_handle" });
  });

  test.each([
    ["no key", undefined],
    ["that key", own.jkt],
  ])("that nobody has registered redeems nothing that is bound to %s", async (_, jkt) => {
    const { broker } = await setUp({ proofKeys: [] });
    const executor = await broker.executor({ identity: own });
    const headers = { authorization: `Bearer ${executor.accessToken}` };
    const asked = { secrets: [{ uri: "env://API_TOKEN", ...(jkt && { jkt }) }] };
    const answer = await broker.send("POST", "/v1/handles", asked, headers);
    const { handles } = (await answer.json()) as { handles: [{ handle: string }] };
    const refused = await broker.redeem(executor, [handles[0].handle]);
    expect(await refusal(broker, refused)).toEqual({
      status: 403,
      code: "key_not_registered",
      written: ["denied key_not_registered"],
    });
  });
});
