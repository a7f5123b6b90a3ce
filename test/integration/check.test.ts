/** Checks of handles for cache hits: what is good, for whom, and that nothing is consumed. */
import { describe, expect, test } from "vitest";
import { throwawayIssuer } from "../../broker/authn/authenticate.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import type { Action } from "../../shared/actions.ts";
import { signHandle } from "../../shared/handle.ts";
import type { Problem } from "../../shared/wire.ts";
import { allow, brokerUrl, type Executor, startBroker, type TestBroker } from "../support/broker.ts";

const stranger = await createIdentity();

async function setUp(seams: Parameters<typeof startBroker>[0] = {}) {
  const broker = await startBroker({ environment: { API_TOKEN: "guessme", OTHER: "sesame" }, ...seams });
  const executor = await broker.executor();
  return { broker, executor };
}

const take = ({ client }: Executor, ...uris: string[]) => client.issue(uris.map((uri) => ({ uri })));

async function refusal(broker: TestBroker, response: Response) {
  const { code, failures } = (await response.json()) as Problem;
  return { code, failures, written: broker.audit.latest.map(({ outcome, code }) => `${outcome} ${code}`) };
}

describe("open handles", () => {
  test("are good, however often, and lose no use", async () => {
    const { executor } = await setUp();
    const handles = await take(executor, "env://API_TOKEN", "env://OTHER");
    for (let again = 0; again < 3; again++) await executor.client.check(handles);
    expect(await executor.client.redeem(handles, { masked: true })).toHaveLength(2);
  });

  test("are confirmed in the log, one record a handle, before the answer", async () => {
    const { broker, executor } = await setUp({ rules: [allow(["env://*"], { name: "the environment" })] });
    const [handle] = await take(executor, "env://API_TOKEN");
    await executor.client.check([handle!]);
    const { jti } = handle!.claims;
    const digest = broker.audit.latest[0]!.digest!;
    const record = { action: "check", outcome: "confirmed", uri: "env://API_TOKEN", jti, digest };
    expect(broker.audit.latest).toMatchObject([{ ...record, principal: "ci", rule: "the environment" }]);
  });

  test("are good for nothing when the log cannot be written", async () => {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    broker.audit.broken = true;
    expect((await broker.check(executor, [handle!.handle])).status).toBe(503);
  });
});

describe("what stands for a secret in caches", () => {
  const same = { API_TOKEN: "guessme", SAME: "guessme", OTHER: "sesame" };

  test("is told to the executor: equal for equal values, whoever asked for the handles", async () => {
    const { broker, executor } = await setUp({ environment: same });
    const other = await broker.executor({ principal: "other" });
    const { cacheIds } = await executor.client.check(
      await take(executor, "env://API_TOKEN", "env://SAME", "env://OTHER"),
    );
    const [first, again, different] = cacheIds;
    expect(again).toBe(first);
    expect(different).not.toBe(first);
    const theirs = await other.client.check(await take(other, "env://API_TOKEN"));
    expect(theirs.cacheIds).toEqual([first]);
  });

  test("is in nothing that travels and in nothing that lies in the store", async () => {
    const stored: string[] = [];
    const store = memoryStore();
    const { broker, executor } = await setUp({
      environment: same,
      store: {
        ...store,
        put: async (handles) => {
          stored.push(...handles.map(({ sealed, ...rest }) => JSON.stringify([rest, ...sealed])));
          return store.put(handles);
        },
      },
    });
    const handles = await take(executor, "env://API_TOKEN", "env://SAME");
    const [id] = (await executor.client.check(handles)).cacheIds as [string];
    const digest = broker.audit.latest[0]!.digest!.split(":")[2]!;
    expect([broker.audit.latest[1]!.digest, id.length]).toEqual([broker.audit.latest[0]!.digest, 43]);
    const seen = [...broker.answers, ...stored].join("\n");
    for (const mark of [id, digest]) {
      for (const spelling of [
        mark,
        Buffer.from(mark).toString("base64url"),
        Buffer.from(mark, "base64url").toString("hex"),
      ])
        expect(seen).not.toContain(spelling.slice(1, -3));
    }
    // Nor are any two fields equal that stand for equal values.
    const [one, two] = stored.map((each) => JSON.parse(each)[0]);
    const names = ["jti", "uri", "marks", "value", "mac"];
    expect(names.filter((name) => one[name] === two[name])).toEqual([]);
  });

  test("is only for the key that the proof names", async () => {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    const content = { handles: [handle!.handle], key: stranger.encryptionKey };
    const { encryptionKey } = executor.identity;
    const refused = await broker.prove(executor, "/v1/handles/check", content, { encryptionKey });
    expect(await refusal(broker, refused)).toMatchObject({ code: "invalid_proof" });
  });

  test.each<[string, Action]>([
    ["issues the handle", "issue"],
    ["lets it be checked", "check"],
  ])("is told to nobody where the rule that %s says so, and that is on record", async (_, action) => {
    const limits = { ttl: 60, uses: 1 };
    const { broker, executor } = await setUp({
      rules: [
        allow(["env://API_TOKEN"], { actions: [action], limits: { ...limits, cache: "never" } }),
        allow(["**"]),
      ],
    });
    const handles = await take(executor, "env://API_TOKEN", "env://OTHER");
    const { cacheIds } = await executor.client.check(handles);
    expect(cacheIds).toEqual([undefined, expect.any(String)]);
    expect(broker.audit.latest).toMatchObject([
      { outcome: "confirmed", code: "cache_never" },
      { outcome: "confirmed" },
    ]);
    expect(broker.audit.latest[1]).not.toHaveProperty("code");
  });
});

describe("no handles at all", () => {
  test("tell an executor its tenant, on record", async () => {
    const { broker, executor } = await setUp();
    expect(await executor.client.check([])).toEqual({ broker: brokerUrl, tenant: "acme", cacheIds: [] });
    const rival = await broker.executor({ tenant: "rival" });
    expect(await rival.client.check([])).toEqual({ broker: brokerUrl, tenant: "rival", cacheIds: [] });
    expect(broker.audit.latest).toMatchObject([{ action: "check", outcome: "confirmed", tenant: "rival" }]);
  });

  test("tell nobody else anything", async () => {
    const { issuer, token } = await throwawayIssuer("guests");
    const [membership] = issuer.members;
    const { broker, executor } = await setUp({
      moreIssuers: [{ ...issuer, members: [{ ...membership!, roles: ["requester"] }] }],
    });
    const accessToken = await token("guest", brokerUrl, 60);
    const refused = await broker.check({ identity: executor.identity, accessToken }, []);
    expect(await refusal(broker, refused)).toMatchObject({ code: "forbidden", written: ["denied no_rule"] });
  });
});

describe("a spent handle", () => {
  async function spend(run?: string) {
    const { broker, executor } = await setUp();
    const [single, open] = await take(executor, "env://API_TOKEN", "env://OTHER");
    await executor.client.redeem([single!], { masked: true, ...(run !== undefined && { run }) });
    return { broker, executor, single: single!, open: open! };
  }

  test.each([undefined, "job-77"])("is good within the run that spent it: %s", async (run) => {
    const { executor, single, open } = await spend(run);
    await executor.client.check([single, open], run === undefined ? {} : { run });
  });

  test.each([
    ["job-77", "job-78"],
    ["job-77", undefined],
    [undefined, "job-77"],
  ])("of run %s is not good for run %s of the same executor", async (spent, asked) => {
    const { broker, executor, single, open } = await spend(spent);
    const refused = await broker.check(executor, [open.handle, single.handle], asked);
    expect(await refusal(broker, refused)).toMatchObject({
      code: "handle_spent",
      failures: [{ index: 1, code: "handle_spent" }],
      written: ["denied batch_refused", "denied handle_spent"],
    });
  });

  test("that is bound to no key is not good for another process of the same principal", async () => {
    const { broker, executor } = await setUp();
    const { accessToken } = executor;
    const authorization = `Bearer ${accessToken}`;
    const body = { secrets: [{ uri: "env://API_TOKEN" }] };
    const issued = await broker.send("POST", "/v1/handles", body, { authorization });
    const { handle } = ((await issued.json()) as { handles: [{ handle: string }] }).handles[0];
    await broker.redeem(executor, [handle]);
    expect((await broker.check(executor, [handle])).status).toBe(200);
    const refused = await broker.check({ identity: stranger, accessToken }, [handle]);
    expect(await refusal(broker, refused)).toMatchObject({ code: "handle_spent" });
  });
});

describe("a handle is not good", () => {
  test.each<[string, Parameters<TestBroker["executor"]>[0], string]>([
    ["without the key that it is bound to", { identity: stranger }, "another_key"],
    ["for another principal", { principal: "other" }, "another_audience"],
    ["for another tenant", { tenant: "rival" }, "another_tenant"],
  ])("%s", async (_, who, reason) => {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    const other = await broker.executor({ identity: executor.identity, ...who });
    expect(await refusal(broker, await broker.check(other, [handle!.handle]))).toMatchObject({
      code: "invalid_handle",
      written: [`denied ${reason}`],
    });
  });

  test("when today's policy does not let it be redeemed", async () => {
    const { broker, executor } = await setUp({ rules: [allow(["**"], { actions: ["issue"] })] });
    const [handle] = await take(executor, "env://API_TOKEN");
    expect(await refusal(broker, await broker.check(executor, [handle!.handle]))).toMatchObject({
      code: "forbidden",
    });
  });
});

describe("a handle of an older version", () => {
  async function outdated() {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    const claims = Object.assign({ ...handle!.claims }, { cache_id: "y" });
    return { broker, executor, old: await signHandle(claims, broker.keys.signingKey) };
  }

  test("is refused, and the log says why", async () => {
    const { broker, executor, old } = await outdated();
    expect(await refusal(broker, await broker.check(executor, [old]))).toMatchObject({
      code: "handle_outdated",
      written: ["denied handle_outdated"],
    });
  });

  test("that somebody was given is refused by the executor, with what to do", async () => {
    const { executor, old } = await outdated();
    await expect(executor.client.accept(old)).rejects.toMatchObject({
      code: "handle_outdated",
      message: "An older version of Claimcheck made the handle; issue it again.",
    });
  });

  test("of an older broker is refused by the executor, and names the broker", async () => {
    const { broker, old } = await outdated();
    const { client } = await broker.executor({
      proxy: (forward) => async (url, init) => {
        const answer = await forward(url, init);
        if (!url.endsWith("/v1/handles")) return answer;
        return Response.json({ handles: [{ jti: "x", handle: old, expires: 0 }] });
      },
    });
    await expect(client.issue([{ uri: "env://API_TOKEN" }])).rejects.toMatchObject({
      code: "handle_outdated",
      detail: "the broker is of an older version; upgrade it",
    });
  });
});

describe("the proof of a check", () => {
  test("is good once", async () => {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    const sent: [string, Record<string, string>][] = [];
    const spy = await broker.executor({
      identity: executor.identity,
      proxy: (forward) => (url, init) => {
        if (url.endsWith("/check")) sent.push([init.body!, init.headers!]);
        return forward(url, init);
      },
    });
    await spy.client.check([handle!]);
    const [body, headers] = sent[0]!;
    const replayed = await broker.send("POST", "/v1/handles/check", body, headers);
    expect(await refusal(broker, replayed)).toMatchObject({
      code: "invalid_proof",
      written: ["denied proof_replayed"],
    });
  });

  test("of a redemption is none for a check", async () => {
    const { broker, executor } = await setUp();
    const [handle] = await take(executor, "env://API_TOKEN");
    let refused: Response | undefined;
    const misled = await broker.executor({
      identity: executor.identity,
      proxy: (forward) => async (url, init) => {
        if (!url.endsWith("/redemptions")) return forward(url, init);
        refused = await forward(`${brokerUrl}/v1/handles/check`, init);
        return refused.clone();
      },
    });
    await expect(misled.client.redeem([handle!], { masked: true })).rejects.toThrow();
    expect(refused?.status).toBe(400);
  });
});

describe("a proxy cannot say yes in the broker's place", () => {
  test.each<[string, (earlier: string) => string]>([
    ["with an earlier yes", (earlier) => earlier],
    ["with words of its own", () => JSON.stringify({ confirmation: "e30.e30.e30" })],
  ])("%s", async (_, forge) => {
    const { broker, executor } = await setUp();
    const handles = await take(executor, "env://API_TOKEN");
    let earlier = "";
    const { client } = await broker.executor({
      identity: executor.identity,
      proxy: (forward) => async (url, init) => {
        const answer = await forward(url, init);
        if (!url.endsWith("/check")) return answer;
        if (earlier) return new Response(forge(earlier));
        earlier = await answer.clone().text();
        return answer;
      },
    });
    await client.check(handles);
    await expect(client.check(handles)).rejects.toMatchObject({ code: "broker_untrusted" });
  });
});
