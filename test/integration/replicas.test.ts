/** Two brokers behind one URL, over one Redis: it does not matter which of them a request meets. */
import { randomUUID } from "node:crypto";
import { expect, onTestFinished, test } from "vitest";
import { redisStore } from "../../broker/store/redis.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { startRedisForTest } from "../parts/redis.ts";
import { prepareRedemption, startBroker } from "../support/broker.ts";

async function startTwo() {
  const server = await startRedisForTest();
  const open = () => {
    const store = redisStore({ url: server.url });
    onTestFinished(() => store.close());
    return store;
  };
  const environment = { API_TOKEN: "guessme" };
  const one = await startBroker({ environment, store: open() });
  const two = await startBroker({ environment, store: open(), issuers: one.issuers });
  const executor = await one.executor();
  return { one, two, executor };
}

const ask = (uses: number) => [{ uri: "env://API_TOKEN", uses }];

test("a proof that one has seen is refused by the other", async () => {
  const { one, two, executor } = await startTwo();
  const [handle] = await executor.client.issue(ask(5));
  const { body, prove, authorization } = await prepareRedemption(executor, [handle!.handle]);
  const headers = { authorization, dpop: await prove() };
  expect((await one.send("POST", "/v1/redemptions", body, headers)).status).toBe(200);
  const replayed = await two.send("POST", "/v1/redemptions", body, headers);
  expect(await replayed.json()).toMatchObject({ code: "invalid_proof" });
  expect(two.audit.latest).toMatchObject([{ outcome: "denied", code: "proof_replayed" }]);
});

test("an answer that was lost is had from the other: same value, nothing spent, a repeat", async () => {
  const { one, two, executor } = await startTwo();
  const [single] = await executor.client.issue(ask(1));
  const id = randomUUID();
  expect((await one.redeem(executor, [single!.handle], { id })).status).toBe(200);
  expect((await two.redeem(executor, [single!.handle], { id })).status).toBe(200);
  expect(two.audit.latest).toMatchObject([{ outcome: "repeat", redemption: id, jti: single!.claims.jti }]);
  expect((await two.redeem(executor, [single!.handle])).status).toBe(410);
});

test("an answer that was lost is nobody else's there either: not another key's, not another principal's", async () => {
  const { one, two, executor } = await startTwo();
  const { accessToken, identity } = executor;
  const authorization = `Bearer ${accessToken}`;
  const issued = await one.send("POST", "/v1/handles", { secrets: ask(5) }, { authorization });
  const { handle } = ((await issued.json()) as { handles: [{ handle: string }] }).handles[0];
  const id = randomUUID();
  await one.redeem(executor, [handle], { id });
  const thief = { accessToken, identity: await createIdentity() };
  expect(await (await two.redeem(thief, [handle], { id })).json()).toMatchObject({
    code: "redemption_conflict",
  });
  const other = await two.executor({ principal: "other", identity });
  expect(await (await two.redeem(other, [handle], { id })).json()).toMatchObject({ code: "invalid_handle" });
});

test("when one cannot write the release down, the use is there for the other", async () => {
  const { one, two, executor } = await startTwo();
  const [single] = await executor.client.issue(ask(1));
  one.audit.broken = true;
  expect((await one.redeem(executor, [single!.handle])).status).toBe(503);
  expect((await two.redeem(executor, [single!.handle])).status).toBe(200);
});

test("a handle that was spent at one is good for a check at the other, within the run that spent it", async () => {
  const { one, two, executor } = await startTwo();
  const [single] = await executor.client.issue(ask(1));
  await one.redeem(executor, [single!.handle], { run: "job-77" });
  expect((await two.check(executor, [single!.handle], "job-77")).status).toBe(200);
  expect((await two.check(executor, [single!.handle], "job-78")).status).toBe(410);
});

test("all of a principal's handles are void at the other as soon as one has answered", async () => {
  const { one, two, executor } = await startTwo();
  const [handle] = await executor.client.issue(ask(5));
  const authorization = `Bearer ${executor.accessToken}`;
  const answer = await one.send("POST", "/v1/revocations", { subject: "ci" }, { authorization });
  expect(answer.status).toBe(200);
  expect((await two.redeem(executor, [handle!.handle])).status).toBe(410);
  expect((await two.check(executor, [handle!.handle])).status).toBe(410);
});
