/** Every refusal that openapi.yaml documents for a route can be had from it. That no other is, every test sees to (test/broker.ts). */
import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, test, vi } from "vitest";
import { remoteKeys } from "../../broker/access/key-set.ts";
import { Problem } from "../../shared/wire.ts";
import { allow, type Executor, startBroker, type TestBroker } from "../broker.ts";
import { examplesOf, operations } from "../openapi.ts";

interface Scene {
  readonly broker: TestBroker;
  readonly executor: Executor;
  /** Asks for handles of these. */
  ask(...items: object[]): Promise<Response>;
  /** A handle of a secret that may be redeemed, or may not. */
  handle(uri?: string): Promise<string>;
}

type Provocation = (scene: Scene) => Promise<Response>;

const tooLarge = "x".repeat(1024 * 1024 + 1);
const good = { uri: "env://API_TOKEN" };

const provocations: Record<string, Record<string, Provocation>> = {
  "POST /v1/handles": {
    invalid_request: ({ ask }) => ask({}),
    invalid_uri: ({ ask }) => ask({ uri: "API_TOKEN" }),
    unknown_scheme: ({ ask }) => ask({ uri: "gopher://x" }),
    invalid_cache_key: ({ ask }) => ask({ ...good, cacheKey: "" }),
    unauthenticated: ({ broker }) => broker.send("POST", "/v1/handles", { secrets: [good] }),
    forbidden: ({ ask }) => ask({ uri: "env://FORBIDDEN" }),
    body_too_large: ({ broker }) => broker.send("POST", "/v1/handles", tooLarge),
    unsupported_media_type: ({ broker }) =>
      broker.send("POST", "/v1/handles", "", { "content-type": "text/plain" }),
    issuer_unavailable: ({ broker }) => broker.send("POST", "/v1/handles", {}, tokenOfSilentIssuer),
    secrets_unavailable: ({ ask }) => ask(good, { uri: "env://MISSING" }),
    audit_unavailable: ({ broker, ask }) => {
      broker.audit.broken = true;
      return ask(good);
    },
    internal: ({ broker, ask }) => {
      breakStore(broker);
      return ask(good);
    },
  },
  "POST /v1/redemptions": {
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
    body_too_large: ({ broker }) => broker.send("POST", "/v1/redemptions", tooLarge),
    unsupported_media_type: ({ broker }) =>
      broker.send("POST", "/v1/redemptions", "", { "content-type": "text/plain" }),
    issuer_unavailable: ({ broker }) => broker.send("POST", "/v1/redemptions", {}, tokenOfSilentIssuer),
    audit_unavailable: async ({ broker, executor, handle }) => {
      const single = await handle();
      broker.audit.broken = true;
      return broker.redeem(executor, [single]);
    },
    internal: async ({ broker, executor, handle }) => {
      const single = await handle();
      breakStore(broker);
      return broker.redeem(executor, [single]);
    },
  },
  "GET /.well-known/jwks.json": {},
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

const tokenOfSilentIssuer = {
  authorization: `Bearer ${[{ alg: "RS256", kid: "k" }, { iss: silentIssuer, sub: "ci" }, "signature"]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".")}`,
};

/** As if the connection to it were lost. */
function breakStore({ store }: TestBroker): void {
  const lost = () => Promise.reject(new Error("ECONNRESET"));
  Object.assign(store, { put: lost, look: lost, take: lost, giveBack: lost, rememberProof: lost });
}

async function setScene(): Promise<Scene> {
  const broker = await startBroker({
    environment: { API_TOKEN: "guessme", ISSUE_ONLY: "sesame" },
    issuers: [
      {
        issuer: silentIssuer,
        keys: remoteKeys({ issuer: silentIssuer }).find,
        algorithms: ["RS256"],
        skew: 0,
        prefix: "silent:",
        members: [],
      },
    ],
    rules: [allow(["env://API_TOKEN", "env://MISSING"]), allow(["env://ISSUE_ONLY"], { actions: ["issue"] })],
  });
  const executor = await broker.executor();
  const authorization = `Bearer ${executor.accessToken}`;
  return {
    broker,
    executor,
    ask: (...secrets) => broker.send("POST", "/v1/handles", { secrets }, { authorization }),
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
