/** Every refusal that openapi.yaml documents for a route can be had from it. That no other is, every test sees to (test/support/broker.ts). */
import { randomUUID } from "node:crypto";
import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { remoteKeys } from "../../broker/authn/issuer-keys.ts";
import { createQuotas, type Quotas } from "../../broker/quota/quota.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { type HandleClaims, signHandle } from "../../shared/handle.ts";
import { Problem } from "../../shared/wire.ts";
import {
  allow,
  type Executor,
  fixedProvider,
  someResult,
  startBroker,
  type TestBroker,
} from "../support/broker.ts";
import { examplesOf, operations } from "../support/openapi.ts";
import { policyText, startPolicyBroker } from "../support/policy-broker.ts";

interface Scene {
  readonly broker: TestBroker;
  readonly executor: Executor;
  /** Asks for handles of these. */
  ask(...items: object[]): Promise<Response>;
  /** Asks for handles of values: each an item without its value, which is added. */
  wrap(...items: object[]): Promise<Response>;
  /** One request with the executor's token. */
  send(method: string, path: string, body?: unknown): Promise<Response>;
  /** A handle of a secret that may be redeemed, or may not. */
  handle(uri?: string): Promise<string>;
}

type Provocation = (scene: Scene) => Promise<Response>;

const tooLarge = "x".repeat(1024 * 1024 + 1);
const good = { uri: "env://API_TOKEN" };
/** More than one request can carry. */
const large = Array.from({ length: 17 }, (_, nth) => ({ uri: `fixed://${nth}` }));
const mebibyte = new Uint8Array(1024 * 1024);

/** The routes that want the proof of an executor. */
const executorRoutes = ["/v1/handles/check", "/v1/redemptions", "/v1/receipts"];

const provocations: Record<string, Record<string, Provocation>> = {
  "POST /v1/handles": {
    ...atTheDoor("POST", "/v1/handles"),
    invalid_request: ({ ask }) => ask({}),
    invalid_uri: ({ ask }) => ask({ uri: "API_TOKEN" }),
    unknown_scheme: ({ ask }) => ask({ uri: "gopher://x" }),
    invalid_cache_key: ({ ask }) => ask({ ...good, cacheKey: "" }),
    unauthenticated: ({ broker }) => broker.send("POST", "/v1/handles", { secrets: [good] }),
    forbidden: ({ ask }) => ask({ uri: "env://FORBIDDEN" }),
    body_too_large: ({ send }) => send("POST", "/v1/handles", tooLarge),
    secrets_unavailable: ({ ask }) => ask(good, { uri: "env://MISSING" }),
    values_too_large: async ({ ask }) => ask(...large),
    ...whenBroken(({ ask }) => ask(good)),
  },
  "POST /v1/redemptions": {
    ...atTheDoor("POST", "/v1/redemptions"),
    values_too_large: async ({ broker, executor }) => {
      const halves = [large.slice(0, 10), large.slice(10)].map((items) => executor.client.issue(items));
      const handles = (await Promise.all(halves)).flat();
      return broker.redeem(
        executor,
        handles.map(({ handle }) => handle),
      );
    },
    invalid_request: ({ broker, executor }) => broker.redeem(executor, []),
    invalid_handle: ({ broker, executor }) => broker.redeem(executor, ["made.up"]),
    unauthenticated: ({ broker, executor }) =>
      broker.redeem({ ...executor, accessToken: "nobody" }, ["made.up"]),
    invalid_proof: async ({ broker, executor, handle }) => {
      const body = { id: randomUUID(), handles: [await handle()], key: executor.identity.encryptionKey };
      const authorization = `Bearer ${executor.accessToken}`;
      return broker.send("POST", "/v1/redemptions", body, { authorization });
    },
    forbidden: async ({ broker, executor, handle }) =>
      broker.redeem(executor, [await handle("env://ISSUE_ONLY")]),
    redemption_conflict: async ({ broker, executor, handle }) => {
      const id = randomUUID();
      await broker.redeem(executor, [await handle()], { id });
      return broker.redeem(executor, [await handle()], { id });
    },
    handle_outdated: async (scene) => scene.broker.redeem(scene.executor, [await outdated(scene)]),
    handle_newer: async (scene) => scene.broker.redeem(scene.executor, [await newer(scene)]),
    handle_expired: async ({ broker, executor, handle }) => {
      const brief = await handle();
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 900_000 });
      return broker.redeem(executor, [brief]);
    },
    handle_spent: async ({ broker, executor, handle }) => {
      const single = await handle();
      await broker.redeem(executor, [single]);
      return broker.redeem(executor, [single]);
    },
    handle_void: async ({ executor, handle }) => {
      const restarted = await setScene();
      const { identity } = executor;
      return restarted.broker.redeem(await restarted.broker.executor({ identity }), [await handle()]);
    },
    body_too_large: ({ send }) => send("POST", "/v1/redemptions", tooLarge),
    ...whenBroken(({ broker, executor }, handle) => broker.redeem(executor, [handle])),
  },
  "POST /v1/handles/wrap": {
    ...atTheDoor("POST", "/v1/handles/wrap"),
    invalid_request: ({ wrap }) => wrap({ value: "guessme" }),
    invalid_cache_key: async ({ wrap }) => wrap({ cacheKey: "" }),
    invalid_value: ({ wrap }) => wrap({ jkt: "x".repeat(43) }),
    unauthenticated: ({ broker }) => broker.send("POST", "/v1/handles/wrap", {}),
    forbidden: ({ wrap }) => wrap({ name: "FORBIDDEN" }),
    body_too_large: ({ send }) => send("POST", "/v1/handles/wrap", tooLarge),
    secrets_unavailable: ({ wrap }) => wrap({ name: "FORBIDDEN" }, { cacheKey: "" }),
    ...whenBroken(({ wrap }) => wrap({})),
  },
  "POST /v1/handles/check": {
    ...atTheDoor("POST", "/v1/handles/check"),
    invalid_request: ({ broker, executor }) => broker.check(executor, [""]),
    invalid_handle: ({ broker, executor }) => broker.check(executor, ["made.up"]),
    unauthenticated: ({ broker, executor }) =>
      broker.check({ ...executor, accessToken: "nobody" }, ["made.up"]),
    invalid_proof: async ({ send, executor, handle }) =>
      send("POST", "/v1/handles/check", { handles: [await handle()], key: executor.identity.encryptionKey }),
    handle_outdated: async (scene) => scene.broker.check(scene.executor, [await outdated(scene)]),
    handle_newer: async (scene) => scene.broker.check(scene.executor, [await newer(scene)]),
    forbidden: async ({ broker, executor, handle }) =>
      broker.check(executor, [await handle("env://ISSUE_ONLY")]),
    handle_expired: async ({ broker, executor, handle }) => {
      const brief = await handle();
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 900_000 });
      return broker.check(executor, [brief]);
    },
    handle_spent: async ({ broker, executor, handle }) => {
      const single = await handle();
      await broker.redeem(executor, [single]);
      return broker.check(executor, [single], "another run");
    },
    handle_void: async ({ broker, executor, handle, send }) => {
      const gone = await handle();
      await send("DELETE", `/v1/handles/${jtiOf(gone)}`);
      return broker.check(executor, [gone]);
    },
    body_too_large: ({ send }) => send("POST", "/v1/handles/check", tooLarge),
    ...whenBroken(({ broker, executor }, handle) => broker.check(executor, [handle])),
  },
  "POST /v1/receipts": {
    ...atTheDoor("POST", "/v1/receipts"),
    invalid_request: ({ broker, executor }) => broker.attest(executor, [""]),
    invalid_handle: ({ broker, executor }) => broker.attest(executor, ["made.up"]),
    unauthenticated: ({ broker, executor }) =>
      broker.attest({ ...executor, accessToken: "nobody" }, ["made.up"]),
    invalid_proof: async ({ send, handle }) =>
      send("POST", "/v1/receipts", { handles: [await handle()], ...someResult }),
    forbidden: async ({ broker, executor, handle }) =>
      broker.attest(executor, [await handle("env://ISSUE_ONLY")]),
    handle_expired: async ({ broker, executor, handle }) => {
      const brief = await handle();
      vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 900_000 });
      return broker.attest(executor, [brief]);
    },
    handle_outdated: async (scene) => scene.broker.attest(scene.executor, [await outdated(scene)]),
    handle_newer: async (scene) => scene.broker.attest(scene.executor, [await newer(scene)]),
    not_redeemed: async ({ broker, executor, handle }) => broker.attest(executor, [await handle()]),
    handle_void: async ({ broker, executor, handle, send }) => {
      const gone = await handle();
      await send("DELETE", `/v1/handles/${jtiOf(gone)}`);
      return broker.attest(executor, [gone]);
    },
    body_too_large: ({ send }) => send("POST", "/v1/receipts", tooLarge),
    ...whenBroken(({ broker, executor }, handle) => broker.attest(executor, [handle])),
  },
  "GET /v1/handles/:jti": {
    ...atTheDoor("GET", "/v1/handles/:jti"),
    unauthenticated: ({ broker }) => broker.send("GET", `/v1/handles/${randomUUID()}`),
    not_found: ({ send }) => send("GET", `/v1/handles/${randomUUID()}`),
    ...whenBroken(({ send }, handle) => send("GET", `/v1/handles/${jtiOf(handle)}`)),
  },
  "DELETE /v1/handles/:jti": {
    ...atTheDoor("DELETE", "/v1/handles/:jti"),
    unauthenticated: ({ broker }) => broker.send("DELETE", `/v1/handles/${randomUUID()}`),
    not_found: ({ send }) => send("DELETE", `/v1/handles/${randomUUID()}`),
    ...whenBroken(({ send }, handle) => send("DELETE", `/v1/handles/${jtiOf(handle)}`)),
  },
  "POST /v1/revocations": {
    ...atTheDoor("POST", "/v1/revocations"),
    invalid_request: ({ send }) => send("POST", "/v1/revocations", { subject: "ci", run: "1842" }),
    unauthenticated: ({ broker }) => broker.send("POST", "/v1/revocations", { subject: "ci" }),
    forbidden: ({ send }) => send("POST", "/v1/revocations", { all: true }),
    not_found: ({ send }) => send("POST", "/v1/revocations", { jti: randomUUID() }),
    body_too_large: ({ send }) => send("POST", "/v1/revocations", tooLarge),
    ...whenBroken(({ send }) => send("POST", "/v1/revocations", { subject: "ci" })),
  },
  "GET /v1/whoami": {
    ...atTheDoor("GET", "/v1/whoami"),
    unauthenticated: ({ broker }) => broker.send("GET", "/v1/whoami"),
  },
  "GET /v1/audit": {
    ...atTheDoor("GET", "/v1/audit"),
    invalid_request: ({ send }) => send("GET", "/v1/audit?limit=0"),
    unauthenticated: ({ broker }) => broker.send("GET", "/v1/audit"),
    forbidden: ({ send }) => send("GET", "/v1/audit"),
    not_found: async () => {
      const broker = await startBroker({ logged: false });
      return broker.send("GET", "/v1/audit", undefined, { authorization: `Bearer ${await broker.token()}` });
    },
    audit_unavailable: ({ broker, send }) => {
      broker.audit.broken = true;
      return send("GET", "/v1/audit");
    },
  },
  "GET /v1/audit/head": {
    ...atTheDoor("GET", "/v1/audit/head"),
    unauthenticated: ({ broker }) => broker.send("GET", "/v1/audit/head"),
    forbidden: ({ send }) => send("GET", "/v1/audit/head"),
    audit_unavailable: ({ broker, send }) => {
      broker.audit.broken = true;
      return send("GET", "/v1/audit/head");
    },
  },
  "GET /.well-known/jwks.json": {},
  "GET /openapi.json": {},
  "GET /healthz": {},
  "GET /readyz": {
    not_ready: async ({ broker, ask }) => {
      broker.audit.broken = true;
      await ask(good);
      return broker.send("GET", "/readyz");
    },
  },
};

/** Nothing listens at port 1. */
const silentIssuer = "http://127.0.0.1:1";

function tokenOfSilentIssuer(): Record<string, string> {
  const parts = [{ alg: "RS256", kid: "k" }, { iss: silentIssuer, sub: "ci" }, "signature"];
  const encoded = parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
  return { authorization: `Bearer ${encoded.join(".")}` };
}

/** What any route with a token, and with a body if it has one, refuses before it looks closer. */
function atTheDoor(method: string, path: string): Record<string, Provocation> {
  const body = method === "POST" ? {} : undefined;
  return {
    issuer_unavailable: ({ broker }) => broker.send(method, path, body, tokenOfSilentIssuer()),
    quota_exceeded: async () => (await setScene(nothing)).send(method, path, body),
    ...aboutKeys(method, path, body),
    ...(body && {
      unsupported_media_type: ({ broker }) => broker.send(method, path, "", { "content-type": "text/plain" }),
    }),
  };
}

/** What is refused for the key that a token names, or does not name. */
function aboutKeys(method: string, path: string, body?: object): Record<string, Provocation> {
  const send = async (claims: Record<string, unknown>, dpop?: string) => {
    const { broker, sign } = await startPolicyBroker(policyOfKeys, { API_TOKEN: "guessme" });
    const authorization = `${dpop ? "DPoP" : "Bearer"} ${await sign(claims)}`;
    return broker.send(method, path, body, { authorization, ...(dpop && { dpop }) });
  };
  const cnf = { jkt: "A".repeat(43) };
  return {
    token_not_confined: () => send({ sub: "job" }),
    ...(executorRoutes.includes(path)
      ? { key_not_registered: () => withStrangeKey(path) }
      : {
          proof_required: () => send({ sub: "plain", cnf }),
          invalid_proof: () => send({ sub: "plain", cnf }, "made.up.proof"),
        }),
  };
}

const policyOfKeys = policyText(
  [
    "{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: issuer }",
    "{ issuer: ci, claims: { sub: plain }, roles: [requester, operator] }",
  ],
  ['{ name: all, actions: [issue, wrap, redeem, check], secrets: ["env://**", "wrap://**"] }'],
);

/** An executor that proves possession of a key of its own, and not of the one that is registered. */
async function withStrangeKey(path: string): Promise<Response> {
  const registered = await createIdentity();
  const { broker, sign } = await startPolicyBroker(
    policyText(
      [
        `{ issuer: ci, claims: { sub: thief }, roles: [requester, executor], proofKeys: [${registered.jkt}] }`,
      ],
      ['{ name: all, actions: [issue, redeem, check], secrets: ["env://**"] }'],
    ),
    { API_TOKEN: "guessme" },
  );
  const accessToken = await sign({ sub: "thief" });
  const thief = { ...(await broker.executor()), accessToken };
  const act = {
    "/v1/handles/check": () => broker.check(thief, ["made.up"]),
    "/v1/redemptions": () => broker.redeem(thief, ["made.up"]),
    "/v1/receipts": () => broker.attest(thief, ["made.up"]),
  }[path];
  return act!();
}

/** As if the connection to it were lost; without a code, as if nobody had foreseen that. */
function breakStore({ store }: TestBroker, error: Error = new Error("ECONNRESET")): void {
  const lost = () => Promise.reject(error);
  for (const name of Object.keys(store)) Object.assign(store, { [name]: lost });
}

function breakStoreCoded(broker: TestBroker): void {
  breakStore(broker, new ClaimcheckError("store_unavailable"));
}

/** What each way of breaking the broker makes of a request that was good. */
function whenBroken(act: (scene: Scene, handle: string) => Promise<Response>): Record<string, Provocation> {
  const after = (harm: (broker: TestBroker) => void) => async (scene: Scene) => {
    const handle = await scene.handle();
    harm(scene.broker);
    return act(scene, handle);
  };
  return {
    audit_unavailable: after(({ audit }) => {
      audit.broken = true;
    }),
    store_unavailable: after(breakStoreCoded),
    internal: after((broker) => breakStore(broker)),
  };
}

/** A handle as brokers made them before digests went by the handle: with a cache id. */
const outdated = async ({ broker, handle }: Scene) =>
  signHandle(
    Object.assign(jose.decodeJwt<HandleClaims>(await handle()), { cache_id: "y" }),
    broker.keys.signingKey,
  );

/** As a later version would say that its handles have another form. */
const newer = async ({ broker, handle }: Scene) => {
  const { kid, privateKey } = broker.keys.signingKey;
  return new jose.SignJWT(jose.decodeJwt(await handle()))
    .setProtectedHeader({ alg: "EdDSA", typ: "claimcheck+jwt", kid, version: 2 })
    .sign(privateKey);
};

const jtiOf = (handle: string) => String(jose.decodeJwt(handle).jti);

const none = { principal: 0, tenant: 0 };
const nothing = createQuotas({ limits: { issue: none, redeem: none, manage: none } });

async function setScene(quotas?: Quotas): Promise<Scene> {
  const broker = await startBroker({
    environment: { API_TOKEN: "guessme", ISSUE_ONLY: "sesame" },
    providers: [fixedProvider(Object.fromEntries(large.map((_, nth) => [nth, mebibyte])))],
    ...(quotas && { quotas }),
    moreIssuers: [
      {
        issuer: silentIssuer,
        keys: remoteKeys({ issuer: silentIssuer }).find,
        algorithms: ["RS256"],
        skew: 0,
        prefix: "silent:",
        members: [],
      },
    ],
    rules: [
      allow(["env://API_TOKEN", "env://MISSING", "wrap://", "fixed://*"]),
      allow(["env://ISSUE_ONLY"], { actions: ["issue"] }),
    ],
  });
  const executor = await broker.executor();
  const authorization = `Bearer ${executor.accessToken}`;
  const value = await broker.wrapped("guessme", executor.accessToken);
  const send = (method: string, path: string, body?: unknown) =>
    broker.send(method, path, body, { authorization });
  return {
    broker,
    executor,
    send,
    ask: (...secrets) => send("POST", "/v1/handles", { secrets }),
    wrap: (...items) =>
      send("POST", "/v1/handles/wrap", { secrets: items.map((item) => ({ value, ...item })) }),
    handle: async (uri = good.uri) => (await executor.client.issue([{ uri }]))[0]!.handle,
  };
}

afterEach(() => {
  vi.useRealTimers();
});

describe.each([...operations])("%s", (name, { responses }) => {
  const documented = Object.entries(responses).flatMap(([status, answer]) =>
    Number(status) < 400
      ? []
      : Object.keys(examplesOf(answer)).map((code) => [code, Number(status)] as const),
  );
  const known = provocations[name] ?? {};

  test("has a row here for each refusal that is documented, and no other", () => {
    expect(Object.keys(known).sort()).toEqual(documented.map(([code]) => code).sort());
  });

  for (const [code, status] of documented) {
    test(`refuses with ${status} ${code}`, async () => {
      const response = await known[code]!(await setScene());
      expect(response.status).toBe(status);
      expect(Problem.parse(await response.json())).toMatchObject({ code, status });
    });
  }
});
