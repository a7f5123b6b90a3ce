/** Quotas: who asks for more than it may is told so, is told when to come back, and is nobody else's burden. */
import { expect, onTestFinished, test } from "vitest";
import { createQuotas, defaultQuotas, type QuotaLimits } from "../../broker/quota/quota.ts";
import { connect, type RunScript } from "../../broker/store/connection.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { startBroker } from "../support/broker.ts";

const environment = { API_TOKEN: "guessme" };
const few = { principal: 3, tenant: 5 };
const limits: QuotaLimits = { ...defaultQuotas, issue: few };

const startCounting = (given: QuotaLimits = limits, run?: RunScript) => ({
  quotas: createQuotas({ limits: given, delay: 0, ...(run && { run }) }),
});

type Broker = Awaited<ReturnType<typeof startBroker>>;
type Who = Parameters<Broker["token"]>[0];

const items = (count: number) => ({
  secrets: Array.from({ length: count }, () => ({ uri: "env://API_TOKEN" })),
});

async function ask(broker: Broker, body: unknown = items(1), who?: Who): Promise<Response> {
  return broker.send("POST", "/v1/handles", body, { authorization: `Bearer ${await broker.token(who)}` });
}

async function startRun(url: string): Promise<RunScript> {
  const { run, close } = connect(url, 2000);
  onTestFinished(close);
  return run;
}

const places: [string, () => Promise<RunScript | undefined>][] = [
  ["in memory", async () => undefined],
  ["in Redis", async () => startRun((await startRedisForTest()).url)],
];

test.each(places)("a principal gets its quota and then 429, counted %s", async (_, place) => {
  const { quotas } = startCounting(limits, await place());
  const broker = await startBroker({ environment, quotas });
  const left: (string | null)[] = [];
  for (let nth = 0; nth < 3; nth++) {
    const answer = await ask(broker);
    expect(answer.status).toBe(200);
    expect(answer.headers.get("ratelimit-policy")).toBe(
      '"issue-principal";q=3;w=60, "issue-tenant";q=5;w=60',
    );
    left.push(answer.headers.get("ratelimit"));
  }
  expect(left.map((each) => each?.match(/r=(\d)/)?.[1])).toEqual(["2", "1", "0"]);

  const records = broker.audit.records.length;
  for (let nth = 0; nth < 2; nth++) {
    const answer = await ask(broker);
    expect(await answer.json()).toMatchObject({
      code: "quota_exceeded",
      detail: "issue-principal: 3 a minute",
    });
    expect(answer.status).toBe(429);
    const wait = Number(answer.headers.get("retry-after"));
    expect(wait).toBeGreaterThan(0);
    expect(wait).toBeLessThanOrEqual(60);
    expect(answer.headers.get("ratelimit")).toBe(`"issue-principal";r=0;t=${wait}`);
  }
  expect(broker.audit.records.length).toBe(records);

  expect((await ask(broker, items(1), { principal: "other" })).status).toBe(200);
  expect((await ask(broker, items(1), { tenant: "rival" })).status).toBe(200);
});

test.each(places)(
  "who is over its own quota takes nothing from its tenant's, counted %s",
  async (_, place) => {
    const { quotas } = startCounting(limits, await place());
    const broker = await startBroker({ environment, quotas });
    for (let nth = 0; nth < 20; nth++) await ask(broker);
    for (let nth = 0; nth < 2; nth++)
      expect((await ask(broker, items(1), { principal: "other" })).status).toBe(200);
    const answer = await ask(broker, items(1), { principal: "other" });
    expect(await answer.json()).toMatchObject({ code: "quota_exceeded", detail: "issue-tenant: 5 a minute" });
    expect(answer.headers.get("ratelimit")).toMatch(
      /^"issue-principal";r=0;t=\d+, "issue-tenant";r=0;t=\d+$/,
    );
  },
);

test("a batch counts as what is in it, and one that does not fit is not done in part", async () => {
  const broker = await startBroker({ environment, ...startCounting() });
  expect((await ask(broker, items(2))).headers.get("ratelimit")).toMatch(/r=1;.*r=3;/);
  expect((await ask(broker, items(2))).status).toBe(429);
  expect(broker.audit.records.length).toBe(2);
});

test("what is no request counts too", async () => {
  const broker = await startBroker({ environment, ...startCounting() });
  for (let nth = 0; nth < 3; nth++) expect((await ask(broker, "{")).status).toBe(400);
  expect((await ask(broker)).status).toBe(429);
});

test("redeeming, checking, inspecting and revoking have quotas of their own", async () => {
  const one = { principal: 1, tenant: 10 };
  const { quotas } = startCounting({ issue: { principal: 9, tenant: 9 }, redeem: one, manage: one });
  const broker = await startBroker({ environment, quotas });
  const executor = await broker.executor();
  const handles = await executor.client.issue([{ uri: "env://API_TOKEN" }, { uri: "env://API_TOKEN" }]);
  const [first, second] = handles.map(({ handle }) => handle) as [string, string];
  const jtis = handles.map(({ claims }) => claims.jti);
  const authorization = `Bearer ${executor.accessToken}`;

  expect((await broker.redeem(executor, [first])).status).toBe(200);
  expect((await broker.redeem(executor, [second])).status).toBe(429);
  expect((await broker.check(executor, [second])).status).toBe(429);
  expect((await broker.send("GET", `/v1/handles/${jtis[0]}`, undefined, { authorization })).status).toBe(200);
  expect((await broker.send("GET", `/v1/handles/${jtis[0]}`, undefined, { authorization })).status).toBe(429);
  expect((await broker.send("DELETE", `/v1/handles/${jtis[0]}`, undefined, { authorization })).status).toBe(
    429,
  );
  const all = await broker.send("POST", "/v1/revocations", { all: true }, { authorization });
  expect(all.status).toBe(429);
  expect((await broker.store.look("acme", jtis)).map((state) => state?.left)).toEqual([0, 1]);
});

test("replicas that share a Redis share what they count there", async () => {
  const redis = await startRedisForTest();
  const one = await startBroker({ environment, ...startCounting(limits, await startRun(redis.url)) });
  const { quotas } = startCounting(limits, await startRun(redis.url));
  const two = await startBroker({ environment, quotas, issuers: one.issuers });
  expect((await ask(one, items(2))).status).toBe(200);
  expect((await ask(two, items(1))).status).toBe(200);
  for (const broker of [one, two]) expect((await ask(broker)).status).toBe(429);
});

test("when Redis is gone nobody passes, and it is the store that is said to be gone", async () => {
  const redis = await startRedisForTest();
  const broker = await startBroker({ environment, ...startCounting(limits, await startRun(redis.url)) });
  expect((await ask(broker)).status).toBe(200);
  await redis.kill();
  const answer = await ask(broker);
  expect(answer.status).toBe(503);
  expect(await answer.json()).toMatchObject({ code: "store_unavailable" });
  expect(broker.audit.records.length).toBe(1);
});

test("a client waits for as long as it is told and asks once more, with a proof of that time", async () => {
  const { quotas } = startCounting({ ...limits, redeem: { principal: 1, tenant: 9 } });
  const broker = await startBroker({ environment, quotas });
  const said: string[] = [];
  const { client } = await broker.executor({
    proxy: (forward) => async (url, init) => {
      const answer = await forward(url, init);
      said.push(`${answer.status} ${init.headers?.dpop}`);
      if (answer.status === 429) answer.headers.set("retry-after", "0");
      return answer;
    },
  });
  const handles = await client.issue([{ uri: "env://API_TOKEN", uses: 2 }]);
  await client.redeem(handles, { masked: true });
  const failure = await client.redeem(handles, { masked: true }).catch((thrown) => thrown);
  expect(failure).toMatchObject({ code: "quota_exceeded", detail: "redeem-principal: 1 a minute" });
  const refused = said.filter((each) => each.startsWith("429"));
  expect(refused.length).toBe(2);
  expect(refused[0]).not.toBe(refused[1]);
});

test("a client that is told to wait for longer than a minute says so instead", async () => {
  const broker = await startBroker({
    environment,
    ...startCounting({ ...limits, issue: { principal: 1, tenant: 9 } }),
  });
  let asked = 0;
  const { client } = await broker.executor({
    proxy: (forward) => async (url, init) => {
      const answer = await forward(url, init);
      if (url.endsWith("/v1/handles")) asked += 1;
      if (answer.status === 429) answer.headers.set("retry-after", "3600");
      return answer;
    },
  });
  await client.issue([{ uri: "env://API_TOKEN" }]);
  await expect(client.issue([{ uri: "env://API_TOKEN" }])).rejects.toMatchObject({ code: "quota_exceeded" });
  expect(asked).toBe(2);
});
