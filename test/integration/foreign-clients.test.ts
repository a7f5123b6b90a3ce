/** Clients that are not ours: libraries for RFC 9449, and what openapi.yaml says beyond it (`bh`, `ekt`). */
import { createHash, randomUUID } from "node:crypto";
import * as dpop from "dpop";
import * as jose from "jose";
import * as oauth from "oauth4webapi";
import { describe, expect, test } from "vitest";
import { boundAudience } from "../../shared/bound-token.ts";
import { brokerUrl } from "../support/broker.ts";
import { policyText, startPolicyBroker } from "../support/policy-broker.ts";

type Broker = Awaited<ReturnType<typeof startPolicyBroker>>["broker"];

/** A proven request: what the libraries do for it differs. */
type Ask = (
  broker: Broker,
  token: string,
  path: string,
  body: string,
  more: dpop.JsonObject,
) => Promise<Response>;

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64url");

const clients: Record<string, (keys: dpop.KeyPair) => Ask> = {
  dpop: (keys) => async (broker, token, path, body, more) => {
    const claims = { bh: sha256(body), ...more };
    const proof = await dpop.generateProof(keys, `${brokerUrl}${path}`, "POST", undefined, token, claims);
    return broker.send("POST", path, body, { authorization: `DPoP ${token}`, dpop: proof });
  },
  oauth4webapi: (keys) => async (broker, token, path, body, more) => {
    const handle = oauth.DPoP({}, keys, {
      [oauth.modifyAssertion]: (_, payload) => void Object.assign(payload, { bh: sha256(body), ...more }),
    });
    const headers = new Headers({ "content-type": "application/json" });
    return oauth.protectedResourceRequest(token, "POST", new URL(`${brokerUrl}${path}`), headers, body, {
      DPoP: handle,
      [oauth.customFetch]: (url, { method, headers: sent }) =>
        broker.fetch(url, { method, headers: { ...sent }, body }) as Promise<Response>,
    });
  },
};

describe.each(Object.entries(clients))("npm's %s", (_, makeClient) => {
  test.each(["Ed25519", "ES256"] as const)(
    "with a key for %s asks for a handle and redeems it",
    async (alg) => {
      const keys = await dpop.generateKeyPair(alg);
      const jkt = await dpop.calculateThumbprint(keys.publicKey);
      const { broker, sign } = await startPolicyBroker(
        policyText(
          ["{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: issuer }"],
          ['{ name: all, actions: [issue, redeem], secrets: ["env://**"] }'],
        ),
        { API_TOKEN: "guessme" },
      );
      const token = await sign({ sub: "job", aud: boundAudience(brokerUrl, jkt) });
      const ask = makeClient(keys);

      const wanted = JSON.stringify({ secrets: [{ uri: "env://API_TOKEN", jkt }] });
      const issued = await ask(broker, token, "/v1/handles", wanted, {});
      expect(issued.status).toBe(200);
      const { handles } = (await issued.json()) as { handles: [{ handle: string }] };

      const { publicKey, privateKey } = await jose.generateKeyPair("ECDH-ES", { crv: "P-256" });
      const key = await jose.exportJWK(publicKey);
      const redemption = JSON.stringify({ id: randomUUID(), handles: [handles[0].handle], key });
      const ekt = await jose.calculateJwkThumbprint(key);
      const redeemed = await ask(broker, token, "/v1/redemptions", redemption, { ekt });
      expect(redeemed.status).toBe(200);
      const { payload } = (await redeemed.json()) as { payload: string };
      const { plaintext } = await jose.compactDecrypt(payload, privateKey);
      expect(plaintext.length).toBeGreaterThan(0);
    },
  );
});
