/** G2: a proxy that ends TLS, even an active one, can neither read a value nor put another in its place. */
import { randomUUID } from "node:crypto";
import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { createKeys } from "../../broker/keys/keys.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { makeProof } from "../../shared/proof.ts";
import { importRecipient, sealRedemption } from "../../shared/redemption.ts";
import { Secret } from "../../shared/secret.ts";
import { type Message, startTlsProxy } from "../parts/tls-proxy.ts";
import { brokerUrl, prepareRedemption, startBroker } from "../support/broker.ts";

const value = "correct-horse-battery";

async function setUp() {
  const broker = await startBroker({ environment: { API_TOKEN: value, OTHER: "sesame" } });
  const proxy = await startTlsProxy(brokerUrl, broker.fetch);
  const executor = await broker.executor({ proxy: () => proxy.fetch });
  const [handle] = await executor.client.issue([{ uri: "env://API_TOKEN", uses: 3 }]);
  return { broker, proxy, executor, handle: handle! };
}

/** What the proxy has of its own. */
const mallory = {
  identity: await createIdentity(),
  keys: await createKeys(new Secret(Buffer.alloc(32, 0xbb))),
};

const isRedemption = ({ path }: Message) => path === "/v1/redemptions";

test("through an honest proxy a value arrives, and the proxy has not seen it", async () => {
  const { proxy, executor, handle } = await setUp();
  const [redeemed] = await executor.client.redeem([handle], { masked: true });
  expect(Buffer.from(redeemed!.value.expose()).toString()).toBe(value);
  await executor.client.check([handle]);
  const all = proxy.seen.join("\n");
  const payload = /"payload":"([^"]+)"/.exec(all)![1]!;
  await expect(jose.compactDecrypt(payload, mallory.identity.decryptionKey)).rejects.toThrow();
  const decoded = (all.match(/[A-Za-z0-9_-]{16,}/g) ?? []).map((run) =>
    Buffer.from(run, "base64url").toString("latin1"),
  );
  for (const text of [all, ...decoded]) expect(text).not.toMatch(/correct|horse|battery/);
});

describe("a proxy that wants the value for itself is refused by the broker, and the log says why:", () => {
  test.each<[string, string, (message: Message) => Message | Promise<Message>]>([
    [
      "it puts its own encryption key into the request",
      "proof_bh_mismatch",
      (message) => ({
        ...message,
        body: JSON.stringify({ ...JSON.parse(message.body), key: mallory.identity.encryptionKey }),
      }),
    ],
    [
      "and proves that with a key of its own",
      "proof_key_mismatch",
      async (message) => {
        const body = JSON.stringify({ ...JSON.parse(message.body), key: mallory.identity.encryptionKey });
        const accessToken = message.headers.authorization!.split(" ")[1]!;
        const { encryptionKey, proofKey } = mallory.identity;
        const covered = {
          method: "POST",
          url: `${brokerUrl}${message.path}`,
          accessToken,
          body,
          encryptionKey,
        };
        const { jwt: dpop } = await makeProof(covered, proofKey);
        return { ...message, body, headers: { ...message.headers, dpop } };
      },
    ],
    [
      "it takes the proof away",
      "proof_missing",
      ({ headers: { dpop: _, ...headers }, ...message }) => ({ ...message, headers }),
    ],
    [
      "it asks for a redemption with the proof of a check",
      "proof_htu_mismatch",
      (message) => {
        const { handles, key } = JSON.parse(message.body);
        return { ...message, path: "/v1/handles/check", body: JSON.stringify({ handles, key }) };
      },
    ],
  ])("%s", async (_, reason, request) => {
    const { broker, proxy, executor, handle } = await setUp();
    proxy.meddle({ request: (message) => (isRedemption(message) ? request(message) : message) });
    await expect(executor.client.redeem([handle], { masked: true })).rejects.toMatchObject({
      code: "invalid_proof",
    });
    expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: reason }]);
    expect(broker.audit.records.filter(({ outcome }) => outcome === "released")).toEqual([]);
  });

  test("it sends on what it saw a second time", async () => {
    const { broker, proxy, executor, handle } = await setUp();
    let again: Response | undefined;
    proxy.meddle({
      answer: async (body, message) => {
        if (isRedemption(message))
          again = await broker.send("POST", message.path, message.body, { ...message.headers });
        return body;
      },
    });
    await executor.client.redeem([handle], { masked: true });
    expect(await again!.json()).toMatchObject({ code: "invalid_proof" });
    expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: "proof_replayed" }]);
  });
});

describe("a proxy that wants the executor to have another value is not believed:", () => {
  /** An answer of the proxy's making, as good as anybody without the broker's key can make it. */
  async function forge(
    message: Message,
    handle: { jti: string; digest: string },
    kid?: string,
  ): Promise<string> {
    const { id, key } = JSON.parse(message.body);
    const context = {
      iss: brokerUrl,
      tenant: "acme",
      redemption: id,
      proof: String(jose.decodeJwt(message.headers.dpop!).jti),
    };
    const evil = { ...handle, value: new Secret(Buffer.from("evil")) };
    const signingKey = { ...mallory.keys.signingKey, ...(kid && { kid }) };
    return JSON.stringify({
      id,
      payload: await sealRedemption(
        context,
        { values: [evil], heads: [] },
        signingKey,
        await importRecipient(key),
      ),
    });
  }

  test.each([
    ["signed with its own key", false],
    ["signed with its own key under the name of the broker's", true],
  ])("%s", async (_, named) => {
    const { broker, proxy, executor, handle } = await setUp();
    const kid = named ? broker.keys.signingKey.kid : undefined;
    proxy.meddle({
      answer: async (body, message) => (isRedemption(message) ? forge(message, handle.claims, kid) : body),
    });
    await expect(executor.client.redeem([handle], { masked: true })).rejects.toMatchObject({
      code: "broker_untrusted",
    });
  });

  test("with its own keys in the broker's JWKS", async () => {
    const { broker, proxy, executor, handle } = await setUp();
    const { identity } = executor;
    const late = await broker.executor({ identity, proxy: () => proxy.fetch });
    proxy.meddle({
      answer: async (body, message) => {
        if (message.path.endsWith("jwks.json")) return JSON.stringify(mallory.keys.jwks);
        return isRedemption(message) ? forge(message, handle.claims) : body;
      },
    });
    await expect(late.client.redeem([handle], { masked: true })).rejects.toMatchObject({
      code: "broker_untrusted",
    });
  });

  test("with the broker's answer to another request", async () => {
    const { broker, proxy, executor, handle } = await setUp();
    const { accessToken, identity } = executor;
    const asked = await prepareRedemption({ identity, accessToken }, [handle.handle], { id: randomUUID() });
    const headers = { authorization: asked.authorization, dpop: await asked.prove() };
    const earlier = await (await broker.send("POST", "/v1/redemptions", asked.body, headers)).text();
    proxy.meddle({ answer: (body, message) => (isRedemption(message) ? earlier : body) });
    await expect(executor.client.redeem([handle], { masked: true })).rejects.toMatchObject({
      code: "broker_untrusted",
    });
  });

  test("with one byte of it changed", async () => {
    const { proxy, executor, handle } = await setUp();
    proxy.meddle({
      answer: (body, message) =>
        isRedemption(message) ? body.replace(/(.)"}$/, (_, last) => `${last === "A" ? "Q" : "A"}"}`) : body,
    });
    await expect(executor.client.redeem([handle], { masked: true })).rejects.toMatchObject({
      code: "broker_untrusted",
    });
  });
});
