/** G2: a proxy that ends TLS has every token that passes it. None of them is worth a secret. */
import { describe, expect, test } from "vitest";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity, type Identity } from "../../executor/broker-client/identity.ts";
import { boundAudience, namesKey } from "../../shared/bound-token.ts";
import type { IssueResponse } from "../../shared/wire.ts";
import { type Message, startTlsProxy } from "../parts/tls-proxy.ts";
import { brokerUrl, type TestBroker } from "../support/broker.ts";
import { readPolicy } from "../support/policy.ts";
import { policyText, startPolicyBroker } from "../support/policy-broker.ts";

const value = "correct-horse-battery";
const mallory = await createIdentity();

type Sign = Awaited<ReturnType<typeof startPolicyBroker>>["sign"];

/** Who talks to the broker, and how the policy and the tokens tie them to keys. */
interface Standing {
  readonly principals: (jkt: string) => readonly string[];
  /** Whether the thief has seen what passes the proxy alone; otherwise also the tokens themselves, as in a log. */
  readonly seesProxyAlone?: true;
  readonly tokens: (
    sign: Sign,
    jkt: string,
  ) => Promise<{ readonly requester: string; readonly executor: string }>;
}

const redeemRule = `{ name: redeem, actions: [redeem, check], secrets: ["env://**", "wrap://**"] }`;
const rules = [
  `{ name: ask, actions: [issue, wrap], secrets: ["env://**", "wrap://**"], limits: { uses: 9 } }`,
  redeemRule,
];

const standings: Record<string, Standing> = {
  "one identity, whose token is sealed to the broker": {
    principals: () => [
      "{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: sealed }",
    ],
    tokens: async (sign) => {
      const token = await sign({ sub: "job" });
      return { requester: token, executor: token };
    },
    seesProxyAlone: true,
  },
  "one identity, whose token names its key as audience": {
    principals: () => [
      "{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: issuer }",
    ],
    tokens: async (sign, jkt) => {
      const token = await sign({ sub: "job", aud: boundAudience(brokerUrl, jkt) });
      return { requester: token, executor: token };
    },
  },
  "one identity, whose token is bound to its key by cnf": {
    principals: () => [
      "{ issuer: ci, claims: { sub: job }, roles: [requester, executor], confined: issuer }",
    ],
    tokens: async (sign, jkt) => {
      const token = await sign({ sub: "job", cnf: { jkt } });
      return { requester: token, executor: token };
    },
  },
  "two identities, the executor's key registered": {
    principals: (jkt) => [
      "{ issuer: ci, claims: { sub: job }, roles: [requester] }",
      `{ issuer: ci, claims: { sub: host }, roles: [executor], proofKeys: [${jkt}] }`,
    ],
    tokens: async (sign) => ({
      requester: await sign({ sub: "job" }),
      executor: await sign({ sub: "host" }),
    }),
  },
};

async function setUp({ principals, tokens, seesProxyAlone }: Standing) {
  const identity = await createIdentity();
  const { broker, sign } = await startPolicyBroker(policyText(principals(identity.jkt), rules), {
    API_TOKEN: value,
  });
  const proxy = await startTlsProxy(brokerUrl, broker.fetch);
  const { requester, executor } = await tokens(sign, identity.jkt);
  const client = createBrokerClient({
    url: brokerUrl,
    fetch: proxy.fetch,
    findToken: () => executor,
    ...(requester !== executor && { requester: { findToken: () => requester, audience: "ci:host" } }),
    pinnedKeys: broker.keys.jwks.keys.map(({ kid }) => kid),
    identity,
    keepHeads: async () => {},
    signal: new AbortController().signal,
  });
  /** All that passed the proxy. */
  const seen = () => {
    const found = [...proxy.seen.join("\n").matchAll(/"authorization":"DPoP ([^"]+)"/g)];
    return [...new Set(found.map(([, token]) => token as string))];
  };
  const own = [requester, executor];
  return {
    broker,
    proxy,
    client,
    seen: () => (seesProxyAlone ? seen() : [...seen(), ...own]),
    plain: own.filter((token) => !namesKey(token, identity.jkt)),
  };
}

test("a policy whose executor has no key is refused, and the line is named", () => {
  const text = policyText(["{ issuer: ci, claims: { sub: host }, roles: [executor] }"], [redeemRule]);
  expect(readPolicy(text)).toEqual({
    faults: [
      {
        line: 7,
        message: expect.stringContaining("list the thumbprint that `claimcheck executor key` prints"),
      },
    ],
  });
});

/** All that can be had with tokens alone: a handle for a key of the thief's, redeemed with that key. */
async function steal(broker: TestBroker, tokens: readonly string[], found: readonly string[] = []) {
  const won: string[] = [];
  const handles = [...found];
  for (const token of tokens) {
    for (const audience of [undefined, "ci:host", "ci:job"]) {
      for (const jkt of [undefined, mallory.jkt]) {
        const asked = { uri: "env://API_TOKEN", uses: 9, ...(audience && { audience }), ...(jkt && { jkt }) };
        const answer = await broker.prove({ identity: mallory, accessToken: token }, "/v1/handles", {
          secrets: [asked],
        });
        const bare = await broker.send(
          "POST",
          "/v1/handles",
          { secrets: [asked] },
          { authorization: `Bearer ${token}` },
        );
        for (const each of [answer, bare]) {
          if (!each.ok) continue;
          handles.push(...((await each.json()) as IssueResponse).handles.map(({ handle }) => handle));
        }
      }
    }
  }
  for (const accessToken of tokens) {
    const thief: { identity: Identity; accessToken: string } = { identity: mallory, accessToken };
    for (const handle of handles) {
      if ((await broker.redeem(thief, [handle])).ok) won.push("redeemed");
      if ((await broker.check(thief, [handle])).ok) won.push("checked");
    }
  }
  return won;
}

describe.each(Object.entries(standings))("%s: a proxy with all tokens gets nothing", (_, standing) => {
  test("before anything was asked", async () => {
    const { broker, client, seen } = await setUp(standing);
    await client.check([]);
    expect(seen()).not.toEqual([]);
    expect(await steal(broker, seen())).toEqual([]);
  });

  test("while handles are asked for, in the middle of which it puts its own key", async () => {
    const { broker, proxy, client, seen } = await setUp(standing);
    const handles: string[] = [];
    proxy.meddle({
      request: (message): Message =>
        message.path === "/v1/handles"
          ? { ...message, body: message.body.replace(/"jkt":"[^"]+"/, `"jkt":"${mallory.jkt}"`) }
          : message,
      answer: (body) => {
        for (const [, handle] of body.matchAll(/"handle":"([^"]+)"/g)) handles.push(handle as string);
        return body;
      },
    });
    await client.issue([{ uri: "env://API_TOKEN" }]).catch(() => {});
    expect(await steal(broker, seen(), handles)).toEqual([]);
  });

  test("after the run, which notices nothing", async () => {
    const { broker, proxy, client, seen, plain } = await setUp(standing);
    const handles = await client.issue([{ uri: "env://API_TOKEN", uses: 3 }]);
    const [redeemed] = await client.redeem(handles, { masked: true });
    expect(Buffer.from(redeemed!.value.expose()).toString()).toBe(value);
    const all = proxy.seen.join("\n");
    for (const token of plain) expect(all).not.toContain(token);
    const found = handles.map(({ handle }) => handle);
    expect(await steal(broker, seen(), found)).toEqual([]);
  });
});
