/** The secrets of a run that are not URIs: handles that somebody else was issued, and values given beside the plan. */
import { describe, expect, test } from "vitest";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { requestSecrets } from "../../executor/broker-client/secrets.ts";
import { plainStep, type SecretSource } from "../../executor/plan/plan.ts";
import { Secret } from "../../shared/secret.ts";
import type { IssueItem, IssueResponse } from "../../shared/wire.ts";
import { allow, brokerUrl, startBroker } from "../support/broker.ts";

const hash = `sha256:${"A".repeat(43)}`;
const seed = () => new Secret(Uint8Array.from({ length: 32 }, (_, index) => index));

/** A job and an executor whose registered key outlives its process. */
async function setUp() {
  const identity = await createIdentity(seed());
  const broker = await startBroker({
    environment: { FIRST: "the-first-value", SECOND: "the-second-value" },
    rules: [
      allow(["env://**", "wrap://**"], {
        actions: ["issue", "wrap"],
        principals: ["job"],
        limits: { ttl: 3600, uses: 10, audience: ["executor"] },
      }),
      allow(["env://**", "wrap://**"], { actions: ["redeem"], principals: ["executor"] }),
    ],
    proofKeys: [identity.jkt],
  });
  const [job, executor] = await Promise.all([
    broker.token({ principal: "job" }),
    broker.token({ principal: "executor" }),
  ]);
  const connect = async () =>
    createBrokerClient({
      url: brokerUrl,
      fetch: broker.fetch,
      findToken: () => executor,
      requester: { findToken: () => job, audience: "executor" },
      pinnedKeys: broker.keys.jwks.keys.map(({ kid }) => kid),
      identity: await createIdentity(seed()),
      keepHeads: async () => {},
      signal: new AbortController().signal,
    });

  return {
    broker,
    /** A handle as the job is issued one. */
    async issue(item: Partial<IssueItem> = {}): Promise<string> {
      const asked = { uri: "env://FIRST", audience: "executor", jkt: identity.jkt, ...item };
      const answer = await broker.send(
        "POST",
        "/v1/handles",
        { secrets: [asked] },
        { authorization: `Bearer ${job}` },
      );
      return ((await answer.json()) as IssueResponse).handles[0]!.handle;
    },

    /** The values that a step with these secrets gets, in order. */
    async run(
      sources: SecretSource[],
      { plan = hash, values }: { plan?: string; values?: Map<string, Secret> } = {},
    ) {
      const step = {
        ...plainStep,
        secretVariables: sources.map((source, index) => ({ name: `V${index}`, source })),
      };
      const secrets = await requestSecrets(
        { registries: [], steps: [step], masked: true, hash: plan },
        connect,
        values,
      );
      await secrets.redeem(step);
      return sources.map((source) => Buffer.from(secrets.valueOf(source).expose()).toString());
    },
  };
}

describe("a job's token", () => {
  test("asks for handles that the executor redeems with its own, by the key that it kept", async () => {
    const { broker, run } = await setUp();
    expect(await run([{ uri: "env://FIRST" }])).toEqual(["the-first-value"]);
    const principals = broker.audit.records.map(({ action, principal }) => `${action} ${principal}`);
    expect(principals).toEqual(["issue job", "redeem executor"]);
  });
});

describe("a handle", () => {
  test("that is bound to the executor's kept key is redeemed by a later process of it", async () => {
    const { issue, run } = await setUp();
    expect(await run([{ handle: await issue() }])).toEqual(["the-first-value"]);
  });

  test("for one plan is good for that plan", async () => {
    const { issue, run } = await setUp();
    expect(await run([{ handle: await issue({ plan: hash }) }])).toEqual(["the-first-value"]);
  });

  test.each([
    ["another plan", `sha256:${"B".repeat(43)}`],
    ["what has no hash", undefined],
  ])("for one plan is refused in %s, and not redeemed", async (_, plan) => {
    const { broker, issue, run } = await setUp();
    const handle = await issue({ plan: hash });
    const other = plan ?? (null as unknown as string);
    await expect(run([{ handle }], { plan: other })).rejects.toMatchObject({ code: "plan_mismatch" });
    expect(broker.audit.records.filter(({ action }) => action === "redeem")).toEqual([]);
  });

  test("for one plan is refused beside one for any: that would be another plan", async () => {
    const { issue, run } = await setUp();
    const handles = [await issue({ plan: hash }), await issue({ uri: "env://SECOND" })];
    await expect(run(handles.map((handle) => ({ handle })))).rejects.toMatchObject({ code: "plan_mismatch" });
  });
});

describe("a value", () => {
  test("is wrapped in the job's name under the name it has in the plan, and wiped by whoever gave it", async () => {
    const { broker, run } = await setUp();
    const values = new Map([["npm-token", new Secret(Buffer.from("brought along"))]]);
    expect(await run([{ value: "npm-token" }], { values })).toEqual(["brought along"]);
    expect(broker.audit.records.map(({ action, principal, uri }) => `${action} ${principal} ${uri}`)).toEqual(
      ["wrap job wrap://npm-token", "redeem executor wrap://npm-token"],
    );
  });

  test("that nobody gave is named", async () => {
    const { run } = await setUp();
    await expect(run([{ value: "npm-token" }])).rejects.toMatchObject({
      code: "invalid_plan",
      detail: "no value is given for npm-token",
    });
  });
});
