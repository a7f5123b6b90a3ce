/** Issuing through the HTTP interface. */
import { afterEach, describe, expect, test, vi } from "vitest";
import type { Limits, Rule } from "../../broker/policy/decide.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { allow, brokerUrl, deny, startBroker } from "../support/broker.ts";

const environment = { API_TOKEN: "guessme", SAME: "guessme", OTHER: "sesame", EMPTY: "" };

async function setUp(rules: readonly Rule[] = [allow(["**"])]) {
  const broker = await startBroker({ environment, rules });
  const executor = await broker.executor();
  const authorization = `Bearer ${executor.accessToken}`;
  const ask = (secrets: unknown) => broker.send("POST", "/v1/handles", { secrets }, { authorization });
  return { broker, executor, ask };
}

afterEach(() => {
  vi.useRealTimers();
});

describe("a handle", () => {
  test("says what it is for, and neither the value nor the URI", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const { executor } = await setUp();
    const asked = { uri: "env://API_TOKEN", name: "TOKEN", cacheKey: "k", ttl: 60, uses: 3, plan: "p" };
    const [issued] = await executor.client.issue([asked]);
    expect(issued!.claims).toEqual({
      iss: brokerUrl,
      aud: "ci",
      sub: "ci",
      jti: expect.any(String),
      iat: 1_800_000_000,
      exp: 1_800_000_060,
      tenant: "acme",
      name: "TOKEN",
      scheme: "env",
      digest: expect.stringMatching(/^hmac-sha256:[A-Za-z0-9_-]{8}:[A-Za-z0-9_-]{43}$/),
      cache_key: "k",
      uses: 3,
      cnf: { jkt: executor.identity.jkt },
      plan: "p",
    });
  });

  test("lives a quarter of an hour and has one use unless asked otherwise", async () => {
    const { executor } = await setUp();
    const [issued] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
    expect(issued!.claims.exp - issued!.claims.iat).toBe(900);
    expect(issued!.claims.uses).toBe(1);
  });

  test("lives no longer than its rule allows", async () => {
    const { executor } = await setUp([allow(["**"], { limits: { ttl: 30, uses: 1 } })]);
    const [issued] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
    expect(issued!.claims.exp - issued!.claims.iat).toBe(30);
  });

  test("of an equal value has a digest of its own; the log has one for all of them", async () => {
    const { broker, executor } = await setUp();
    const uris = ["env://API_TOKEN", "env://API_TOKEN", "env://SAME", "env://OTHER"];
    const issued = await executor.client.issue(uris.map((uri) => ({ uri })));
    expect(new Set(issued.map(({ claims }) => claims.digest)).size).toBe(4);
    const [a, again, same, other] = broker.audit.latest.map(({ digest }) => digest);
    expect([again, same]).toEqual([a, a]);
    expect(other).not.toBe(a);
    expect(JSON.stringify(issued)).not.toContain(a!.split(":")[2]);
  });

  test("of an equal value shares nothing between tenants", async () => {
    const { broker, executor } = await setUp();
    const rival = await broker.executor({ tenant: "rival" });
    const ask = [{ uri: "env://API_TOKEN" }, { uri: "env://API_TOKEN", cacheKey: "k" }];
    const ours = await executor.client.issue(ask);
    const theirs = await rival.client.issue(ask);
    for (const [index, { claims }] of ours.entries()) {
      expect(theirs[index]!.claims.digest).not.toBe(claims.digest);
    }
    const ids = [await executor.client.check(ours), await rival.client.check(theirs)];
    expect(new Set(ids.flatMap(({ cacheIds }) => cacheIds)).size).toBe(4);
  });

  test("of an empty secret is a handle", async () => {
    const { executor } = await setUp();
    const handles = await executor.client.issue([{ uri: "env://EMPTY" }]);
    const [redeemed] = await executor.client.redeem(handles, { masked: true });
    expect(redeemed!.value.expose()).toHaveLength(0);
  });
});

describe("issuing is written down", () => {
  test("before the handles are out, one record a handle", async () => {
    const { broker, ask } = await setUp([allow(["env://*"], { name: "the environment" })]);
    const answer = await ask([{ uri: "env://API_TOKEN" }, { uri: "env://OTHER" }]);
    const { handles } = (await answer.json()) as { handles: { jti: string }[] };
    expect(broker.audit.latest).toMatchObject([
      {
        action: "issue",
        outcome: "issued",
        uri: "env://API_TOKEN",
        jti: handles[0]!.jti,
        rule: "the environment",
      },
      {
        action: "issue",
        outcome: "issued",
        uri: "env://OTHER",
        jti: handles[1]!.jti,
        rule: "the environment",
      },
    ]);
  });

  test("or does not happen", async () => {
    const { broker, ask } = await setUp();
    broker.audit.broken = true;
    const refused = await ask([{ uri: "env://API_TOKEN" }]);
    expect(refused.status).toBe(503);
    expect(await refused.json()).not.toHaveProperty("handles");
  });

  test("and as failed after that, when the store does not keep them", async () => {
    const { broker, ask } = await setUp();
    Object.assign(broker.store, {
      put: () => Promise.reject(new ClaimcheckError("store_unavailable")),
    });
    expect((await ask([{ uri: "env://API_TOKEN" }])).status).toBe(503);
    expect(broker.audit.latest).toMatchObject([
      { outcome: "issued", uri: "env://API_TOKEN" },
      { outcome: "failed", uri: "env://API_TOKEN", code: "store_unavailable" },
    ]);
  });

  test("also when it failed, each item with its own reason", async () => {
    const { broker, ask } = await setUp();
    await ask([{ uri: "env://API_TOKEN" }, { uri: "env://MISSING" }]);
    expect(broker.audit.latest).toMatchObject([
      { outcome: "failed", uri: "env://API_TOKEN", code: "batch_refused" },
      { outcome: "failed", uri: "env://MISSING", code: "secret_not_found" },
    ]);
  });

  test("also when it was denied, the URI as a keyed hash", async () => {
    const { broker, ask } = await setUp([allow(["env://OTHER"])]);
    expect((await ask([{ uri: "env://API_TOKEN" }])).status).toBe(403);
    const redacted = broker.keys.redact("acme", "env://API_TOKEN");
    expect(broker.audit.latest).toMatchObject([
      { action: "issue", outcome: "denied", code: "no_rule", uri: `redacted:${redacted}`, principal: "ci" },
    ]);
    expect(broker.audit.text).not.toContain("API_TOKEN");
  });
});

describe("a request for handles is refused as a whole", () => {
  const strict = allow(["env://*"], { limits: { ttl: 60, uses: 2, cacheKeys: ["npm-*"] } });
  const rules = [strict, deny(["env://OTHER"])];
  const good = { uri: "env://API_TOKEN" };

  test.each<[string, object, number, string, string, string?]>([
    ["an unknown scheme", { uri: "fixed://x" }, 400, "unknown_scheme", "unknown_scheme"],
    ["a rule that denies", { uri: "env://OTHER" }, 403, "forbidden", "denied_by_rule", "deny env://OTHER"],
    ["too long a life", { ...good, ttl: 61 }, 403, "forbidden", "ttl_limit", strict.name],
    ["too many uses", { ...good, uses: 3 }, 403, "forbidden", "uses_limit", strict.name],
    [
      "a cache key of no rule",
      { ...good, cacheKey: "pip-x" },
      403,
      "forbidden",
      "cache_key_not_allowed",
      strict.name,
    ],
    ["an empty cache key", { ...good, cacheKey: "" }, 400, "invalid_cache_key", "invalid_cache_key"],
    ["what is no URI", { uri: "API_TOKEN" }, 400, "invalid_uri", "invalid_uri"],
  ])("for %s", async (_, item, status, code, reason, rule) => {
    const { broker, ask } = await setUp(rules);
    const refused = await ask([good, item]);
    expect(refused.status).toBe(status);
    expect(await refused.json()).toMatchObject({ code, failures: [{ index: 1, code }] });
    expect(broker.audit.latest).toHaveLength(1);
    expect(broker.audit.latest[0]).toMatchObject({ outcome: "denied", code: reason });
    expect(broker.audit.latest[0]?.rule).toBe(rule);
    expect(broker.audit.records.filter(({ outcome }) => outcome === "issued")).toEqual([]);
  });

  test("within the limits it is not, or the rows above would show nothing", async () => {
    const { ask } = await setUp(rules);
    expect((await ask([{ ...good, ttl: 60, uses: 2, cacheKey: "npm-x" }])).status).toBe(200);
  });

  test("with every failure, when several items fail for several reasons", async () => {
    const { ask } = await setUp(rules);
    const refused = await ask([{ uri: "nonsense" }, good, { uri: "env://OTHER" }]);
    expect(refused.status).toBe(422);
    expect(await refused.json()).toMatchObject({
      code: "secrets_unavailable",
      failures: [
        { index: 0, code: "invalid_uri" },
        { index: 2, code: "forbidden" },
      ],
    });
  });
});

describe("a rule's limits", () => {
  const limits = { ttl: 60, uses: 1 };
  test.each<[string, Partial<Limits>, object, string | undefined]>([
    ["without a key, where one is wanted", { keyBinding: true }, {}, "key_binding_required"],
    ["with a key, where one is wanted", { keyBinding: true }, { jkt: "k".repeat(43) }, undefined],
    [
      "for a principal that is not named",
      { audience: ["cluster:*"] },
      { audience: "other:x" },
      "audience_not_allowed",
    ],
    ["for whoever asks, who is not named", { audience: ["cluster:*"] }, {}, "audience_not_allowed"],
    ["for a principal that is named", { audience: ["cluster:*"] }, { audience: "cluster:x" }, undefined],
    ["for anybody, where nobody is named", {}, { audience: "other:x" }, undefined],
  ])("on handles %s", async (_, more, item, reason) => {
    const { broker, ask } = await setUp([allow(["**"], { limits: { ...limits, ...more } })]);
    const answer = await ask([{ uri: "env://API_TOKEN", ...item }]);
    expect(answer.status).toBe(reason ? 403 : 200);
    if (reason) expect(broker.audit.latest).toMatchObject([{ outcome: "denied", code: reason }]);
  });
});
