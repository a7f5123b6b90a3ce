/** Checks of handles for cache hits: what is good, for whom, and that nothing is consumed. */
import { describe, expect, test } from "vitest";
import { throwawayIssuer } from "../../broker/caller.ts";
import { createIdentity } from "../../executor/identity.ts";
import type { Problem } from "../../shared/wire.ts";
import { allow, brokerUrl, type Executor, startBroker, type TestBroker } from "../broker.ts";

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

describe("no handles at all", () => {
  test("tell an executor its tenant, on record", async () => {
    const { broker, executor } = await setUp();
    expect(await executor.client.check([])).toEqual({ broker: brokerUrl, tenant: "acme" });
    const rival = await broker.executor({ tenant: "rival" });
    expect(await rival.client.check([])).toEqual({ broker: brokerUrl, tenant: "rival" });
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
