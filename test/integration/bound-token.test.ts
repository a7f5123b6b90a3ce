/** A token that names a key is good for nothing without a proof by it; one that names none reaches little. */
import type * as jose from "jose";
import { describe, expect, test } from "vitest";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity, type Identity } from "../../executor/broker-client/identity.ts";
import { boundAudience } from "../../shared/bound-token.ts";
import { makeProof, type ProvenRequest } from "../../shared/proof.ts";
import { sealToken } from "../../shared/sealed-token.ts";
import type { IssueResponse } from "../../shared/wire.ts";
import { brokerUrl, type TestBroker } from "../support/broker.ts";
import { policyText, startPolicyBroker } from "../support/policy-broker.ts";

const [own, other] = await Promise.all([createIdentity(), createIdentity()]);
const asked = { secrets: [{ uri: "env://API_TOKEN" }] };

async function setUp() {
  const principals = [
    "{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: issuer }",
    "{ issuer: ci, claims: { sub: sealer }, roles: [requester, executor], confined: sealed }",
    "{ issuer: ci, claims: { sub: plain }, roles: [requester] }",
    `{ issuer: ci, claims: { sub: boss }, roles: [operator], proofKeys: [${own.jkt}] }`,
    "{ issuer: ci, claims: { sub: clerk }, roles: [operator] }",
  ];
  const rules = [
    `{ name: ask, actions: [issue, wrap, redeem, check], secrets: ["env://**", "wrap://**"], limits: { uses: 9 } }`,
    "{ name: look after, actions: [revoke, audit.read], who: { sub: boss } }",
    "{ name: with a token alone, actions: [revoke, audit.read], who: { sub: clerk }, tokenAlone: true }",
    "{ name: of jobs, actions: [revoke], who: { sub: job } }",
  ];
  const { broker, sign } = await startPolicyBroker(policyText(principals, rules), { API_TOKEN: "guessme" });
  return {
    broker,
    sign,
    async ask(
      accessToken: string,
      method: string,
      path: string,
      {
        body,
        by,
        covered,
      }: { body?: object; by?: Identity | undefined; covered?: Partial<ProvenRequest> } = {},
    ) {
      const text = body === undefined ? "" : JSON.stringify(body);
      const request = { method, url: `${brokerUrl}${path}`, accessToken, body: text, ...covered };
      const proof = by && (await makeProof(request, by.proofKey));
      return broker.send(method, path, body, {
        authorization: `DPoP ${accessToken}`,
        ...(proof && { dpop: proof.jwt }),
      });
    },
  };
}

const codeOf = async (answer: Response) => {
  const { code = "ok" } = (await answer.json()) as { code?: string };
  return code;
};

const named = {
  "its audience": { sub: "job", aud: boundAudience(brokerUrl, own.jkt) },
  "one of its audiences": {
    sub: "job",
    aud: ["https://other.example", brokerUrl, boundAudience(brokerUrl, own.jkt)],
  },
  "its cnf": { sub: "job", cnf: { jkt: own.jkt } },
};

describe.each(Object.entries(named))("a token that names a key in %s", (_, claims) => {
  const id = "00000000-0000-4000-8000-000000000000";
  test.each([
    ["POST", "/v1/handles", asked],
    ["POST", "/v1/handles/wrap", asked],
    ["POST", "/v1/revocations", { all: true }],
    ["GET", `/v1/handles/${id}`, undefined],
    ["DELETE", `/v1/handles/${id}`, undefined],
    ["GET", "/v1/audit", undefined],
    ["GET", "/v1/audit/head", undefined],
  ])("needs a proof by it for %s %s", async (method, path, body) => {
    const { ask, sign } = await setUp();
    const token = await sign(claims);
    const sent = body && { body };
    expect(await codeOf(await ask(token, method, path, { ...sent }))).toBe("proof_required");
    expect(await codeOf(await ask(token, method, path, { ...sent, by: other }))).toBe("invalid_proof");
    const code = await codeOf(await ask(token, method, path, { ...sent, by: own }));
    expect(["proof_required", "invalid_proof", "unauthenticated"]).not.toContain(code);
  });

  test.each<[string, Partial<ProvenRequest>]>([
    ["another body", { body: JSON.stringify({ secrets: [{ uri: "env://OTHER" }] }) }],
    ["another token", { accessToken: "e30.e30.x" }],
    ["another route", { url: `${brokerUrl}/v1/revocations` }],
  ])("is not believed with a proof for %s", async (_, covered) => {
    const { ask, sign } = await setUp();
    const answer = await ask(await sign(claims), "POST", "/v1/handles", { body: asked, by: own, covered });
    expect(await codeOf(answer)).toBe("invalid_proof");
  });

  test("is not believed with the same proof twice", async () => {
    const { broker, sign } = await setUp();
    const accessToken = await sign(claims);
    const body = JSON.stringify(asked);
    const covered = { method: "POST", url: `${brokerUrl}/v1/handles`, accessToken, body };
    const { jwt: dpop } = await makeProof(covered, own.proofKey);
    const send = () =>
      broker.send("POST", "/v1/handles", body, { authorization: `DPoP ${accessToken}`, dpop });
    expect([await codeOf(await send()), await codeOf(await send())]).toEqual(["ok", "invalid_proof"]);
  });

  test("asks for handles and redeems them, with the client's own proofs", async () => {
    const { broker, sign } = await setUp();
    const token = await sign(claims);
    const client = createBrokerClient({
      url: brokerUrl,
      fetch: broker.fetch,
      findToken: () => token,
      pinnedKeys: broker.keys.jwks.keys.map(({ kid }) => kid),
      identity: own,
      keepHeads: async () => {},
      signal: new AbortController().signal,
    });
    const [redeemed] = await client.redeem(await client.issue(asked.secrets), { masked: true });
    expect(Buffer.from(redeemed!.value.expose()).toString()).toBe("guessme");
  });
});

describe("a token is refused", () => {
  test.each<[string, jose.JWTPayload, string]>([
    ["of a confined principal that names no key", { sub: "job" }, "token_not_confined"],
    [
      "that names two keys",
      { sub: "job", aud: [own, other].map(({ jkt }) => boundAudience(brokerUrl, jkt)) },
      "unauthenticated",
    ],
    [
      "that names one key as audience and another in cnf",
      { sub: "job", aud: boundAudience(brokerUrl, own.jkt), cnf: { jkt: other.jkt } },
      "unauthenticated",
    ],
    ["whose key is no thumbprint", { sub: "job", aud: [brokerUrl, `${brokerUrl}#jkt=x`] }, "unauthenticated"],
    ["whose cnf names no thumbprint", { sub: "plain", cnf: { "x5t#S256": "x" } }, "unauthenticated"],
    [
      "that names its key for another broker",
      { sub: "job", aud: boundAudience("https://broker.example.net", own.jkt) },
      "unauthenticated",
    ],
  ])("%s", async (_, claims, code) => {
    const { ask, sign } = await setUp();
    expect(await codeOf(await ask(await sign(claims), "POST", "/v1/handles", { body: asked, by: own }))).toBe(
      code,
    );
  });
});

test("a confined job redeems nothing that somebody else asked for with a token alone", async () => {
  const { broker, ask, sign } = await setUp();
  const secrets = [{ uri: "env://API_TOKEN", audience: "ci:job", jkt: own.jkt }];
  const answer = await ask(await sign({ sub: "plain" }), "POST", "/v1/handles", { body: { secrets } });
  const { handles } = (await answer.json()) as IssueResponse;
  const job = { identity: own, accessToken: await sign(named["its cnf"]) };
  expect(await codeOf(await broker.redeem(job, [handles[0]!.handle]))).toBe("invalid_handle");
  expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: "another_requester" }]);
});

describe("a plain token", () => {
  test.each<[string, string, Identity | undefined, string]>([
    ["reaches neither without a proof", "boss", undefined, "proof_required"],
    ["reaches neither with a proof by a key that nobody registered", "boss", other, "proof_required"],
    ["reaches both with a proof by a registered key", "boss", own, "ok"],
    ["reaches both where a rule says tokenAlone", "clerk", undefined, "ok"],
  ])("%s: audit.read, revoke", async (_, sub, by, code) => {
    const { ask, sign } = await setUp();
    const token = await sign({ sub });
    expect(await codeOf(await ask(token, "GET", "/v1/audit", { by }))).toBe(code);
    expect(await codeOf(await ask(token, "GET", "/v1/audit/head", { by }))).toBe(code);
    const revocation = { body: { run: "nightly" }, by };
    expect(await codeOf(await ask(token, "POST", "/v1/revocations", revocation))).toBe(code);
  });

  test("looks at what it asked for, and does not revoke it", async () => {
    const { broker, ask, sign } = await setUp();
    const token = await sign({ sub: "plain" });
    const answer = await ask(token, "POST", "/v1/handles", { body: asked });
    const [{ jti }] = ((await answer.json()) as { handles: [{ jti: string }] }).handles;
    expect((await ask(token, "GET", `/v1/handles/${jti}`)).status).toBe(200);
    expect(await codeOf(await ask(token, "DELETE", `/v1/handles/${jti}`))).toBe("proof_required");
    expect(broker.audit.latest).toMatchObject([
      { action: "revoke", outcome: "denied", code: "proof_required" },
    ]);
    const all = await ask(token, "POST", "/v1/revocations", { body: { subject: "ci:plain" } });
    expect(await codeOf(all)).toBe("proof_required");
  });
});

describe("a token that is sealed to the broker", () => {
  const seal = (token: string, changed: { iss?: string; jkt?: string } = {}, broker: TestBroker) =>
    sealToken(
      token,
      { iss: brokerUrl, jkt: own.jkt, ...changed },
      broker.keys.jwks.keys.find(({ use }) => use === "enc")!,
    );

  test.each<[string, string, Identity | undefined, { iss?: string; jkt?: string }, string]>([
    ["is taken with a proof by the key that it names", "sealer", own, {}, "ok"],
    ["needs one", "sealer", undefined, {}, "proof_required"],
    ["needs it by that key", "sealer", other, {}, "invalid_proof"],
    ["is nothing to another broker", "sealer", own, { iss: "https://broker.example.net" }, "unauthenticated"],
    ["has to name a key", "sealer", own, { jkt: "x" }, "unauthenticated"],
    ["does not confine what its issuer has to", "job", own, {}, "token_not_confined"],
    ["is taken of others, too", "plain", own, {}, "ok"],
  ])("%s", async (_, sub, by, changed, code) => {
    const { broker, ask, sign } = await setUp();
    const sealed = await seal(await sign({ sub }), changed, broker);
    expect(await codeOf(await ask(sealed, "POST", "/v1/handles", { body: asked, by }))).toBe(code);
  });

  test("names no other key than its issuer did", async () => {
    const { broker, ask, sign } = await setUp();
    const sealed = await seal(await sign(named["its cnf"]), { jkt: other.jkt }, broker);
    expect(await codeOf(await ask(sealed, "POST", "/v1/handles", { body: asked, by: other }))).toBe(
      "unauthenticated",
    );
  });

  test("lets nobody revoke or read the log who could not with it plain: a thief could have sealed it", async () => {
    const { broker, ask, sign } = await setUp();
    const sealed = await seal(await sign({ sub: "boss" }), { jkt: other.jkt }, broker);
    expect(await codeOf(await ask(sealed, "GET", "/v1/audit", { by: other }))).toBe("proof_required");
  });

  test("that is cut, or sealed to another key, is no token", async () => {
    const { broker, ask, sign } = await setUp();
    const sealed = await seal(await sign({ sub: "sealer" }), {}, broker);
    for (const token of [sealed.slice(0, -4), sealed.replace(/^[^.]+/, "e30"), "a..b.c.d"]) {
      expect(await codeOf(await ask(token, "POST", "/v1/handles", { body: asked, by: own }))).toBe(
        "unauthenticated",
      );
    }
  });
});
