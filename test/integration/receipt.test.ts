/** Receipts: for whom the broker vouches, for what, and who believes it. */
import * as jose from "jose";
import { expect, test } from "vitest";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { Secret } from "../../shared/secret.ts";
import type { Problem } from "../../shared/wire.ts";
import { allow, deny, type Executor, someResult, startBroker } from "../support/broker.ts";

async function setUp() {
  const broker = await startBroker({ environment: { API_TOKEN: "guessme", OTHER: "sesame" } });
  const executor = await broker.executor();
  const handles = await executor.client.issue([{ uri: "env://API_TOKEN" }, { uri: "env://OTHER" }]);
  const { cacheIds } = await executor.client.check(handles);
  return { broker, executor, handles, secrets: cacheIds as string[] };
}

const redeem = ({ client }: Executor, handles: Parameters<Executor["client"]["redeem"]>[0], run?: string) =>
  client.redeem(handles, { masked: true, ...(run !== undefined && { run }) });

const codeOf = async (response: Response) => ((await response.json()) as Problem).code;

test("a run that redeemed its handles gets one, on record, and every executor of the tenant believes it", async () => {
  const { broker, executor, handles, secrets } = await setUp();
  await redeem(executor, handles);
  const receipt = await executor.client.attest(handles, someResult);
  expect(broker.audit.latest).toMatchObject([
    { action: "attest", outcome: "attested", uri: "env://API_TOKEN", manifest: someResult.manifest },
    { action: "attest", outcome: "attested", uri: "env://OTHER", manifest: someResult.manifest },
  ]);
  const { client } = await broker.executor({ principal: "another" });
  const about = { key: someResult.key, tenant: "acme", secrets };
  expect(await client.readReceipt(receipt, about)).toBe(someResult.manifest);
  expect(await client.readReceipt(receipt, { ...about, secrets: secrets.toReversed() })).toBe(
    someResult.manifest,
  );
  for (const other of [
    { ...about, key: "2".repeat(64) },
    { ...about, tenant: "rival" },
    { ...about, secrets: [] },
    { ...about, secrets: secrets.slice(1) },
    { ...about, secrets: [...secrets, "one more"] },
  ]) {
    expect(await client.readReceipt(receipt, other)).toBeUndefined();
  }
});

test("it says which secrets only to those who know them, and two for the same secrets have nothing in common", async () => {
  const { executor, handles, secrets } = await setUp();
  await redeem(executor, handles);
  const other = { ...someResult, manifest: `sha256:${"2".repeat(64)}` };
  const made = [
    await executor.client.attest(handles, someResult),
    await executor.client.attest(handles, other),
  ];
  const [one, two] = made.map((receipt) => jose.decodeJwt<{ mac: string }>(receipt));
  expect(one!.mac).not.toBe(two!.mac);
  expect(Object.keys(one!).sort()).toEqual(["iat", "iss", "key", "mac", "manifest", "tenant"]);
  for (const id of secrets) expect(JSON.stringify([one, two])).not.toContain(id);
});

test("nothing else that the broker signs is one", async () => {
  const { executor, handles, secrets } = await setUp();
  const about = { key: someResult.key, tenant: "acme", secrets };
  for (const { handle } of handles) expect(await executor.client.readReceipt(handle, about)).toBeUndefined();
});

test("another broker's is none", async () => {
  const { executor, handles, secrets } = await setUp();
  await redeem(executor, handles);
  const receipt = await executor.client.attest(handles, someResult);
  const other = await (await startBroker({ rootKey: new Secret(Buffer.alloc(32, 9)) })).executor();
  const about = { key: someResult.key, tenant: "acme", secrets };
  expect(await other.client.readReceipt(receipt, about)).toBeUndefined();
});

test("a handle of which only some were redeemed gets none", async () => {
  const { broker, executor, handles } = await setUp();
  await redeem(executor, handles.slice(1));
  const refused = await broker.attest(
    executor,
    handles.map(({ handle }) => handle),
  );
  expect(await codeOf(refused)).toBe("not_redeemed");
  expect(broker.audit.latest.map(({ outcome, code }) => [outcome, code])).toEqual([
    ["denied", "not_redeemed"],
    ["denied", "batch_refused"],
  ]);
});

test("what another run of the executor redeemed, or another process, gets none", async () => {
  const { broker, executor, handles } = await setUp();
  await redeem(executor, handles, "job-77");
  const presented = handles.map(({ handle }) => handle);
  expect(await codeOf(await broker.attest(executor, presented, "job-78"))).toBe("not_redeemed");
  const stranger = { ...executor, identity: await createIdentity() };
  expect(await codeOf(await broker.attest(stranger, presented, "job-77"))).toBe("invalid_handle");
  expect((await broker.attest(executor, presented, "job-77")).status).toBe(200);
});

test("a result without secrets gets one that is for no other", async () => {
  const { broker, executor, secrets } = await setUp();
  const receipt = await executor.client.attest([], someResult);
  const about = { key: someResult.key, tenant: "acme" };
  expect(await executor.client.readReceipt(receipt, { ...about, secrets: [] })).toBe(someResult.manifest);
  expect(await executor.client.readReceipt(receipt, { ...about, secrets })).toBeUndefined();
  expect(broker.audit.latest).toMatchObject([{ action: "attest", outcome: "attested", tenant: "acme" }]);
});

test("without handles, an executor that no rule lets redeem anything gets none, and no confirmation either", async () => {
  const only = (principals: string[]) => allow(["env://**"], { principals, actions: ["redeem", "check"] });
  const broker = await startBroker({
    rules: [only(["host", "ci-2"]), deny(["**"], { principals: ["ci-2"] })],
  });
  const cases = [
    ["host", true],
    ["ci", false],
    ["ci-2", false],
  ] as const;
  for (const [principal, allowed] of cases) {
    const executor = await broker.executor({ principal });
    expect((await broker.attest(executor, [])).status).toBe(allowed ? 200 : 403);
    expect(broker.audit.latest).toMatchObject([
      { action: "attest", outcome: allowed ? "attested" : "denied" },
    ]);
    expect((await broker.check(executor, [])).status).toBe(allowed ? 200 : 403);
  }
});

test("whoever may not redeem today gets none", async () => {
  const broker = await startBroker({
    environment: { API_TOKEN: "guessme" },
    rules: [allow(["**"], { actions: ["issue", "check"] })],
  });
  const executor = await broker.executor();
  const [handle] = await executor.client.issue([{ uri: "env://API_TOKEN" }]);
  expect(await codeOf(await broker.attest(executor, [handle!.handle]))).toBe("forbidden");
});
