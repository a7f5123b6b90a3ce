/** Every action, role and limit of a policy file, from the file to the answers over HTTP. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import * as jose from "jose";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createIdentity, type Identity } from "../../executor/broker-client/identity.ts";
import { makeProof } from "../../shared/proof.ts";
import { Secret } from "../../shared/secret.ts";
import type { RedemptionRequest } from "../../shared/wire.ts";
import { wrapValue } from "../../shared/wrapping.ts";
import { openIssuer, type TestIssuer } from "../parts/issuer.ts";
import { type OnePassword, startOnePassword } from "../parts/onepassword.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";
import { sourcesFor } from "../support/sources.ts";

const policyFor = (issuer: string, proofKey: string) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "job*" }, roles: [requester], proofKeys: ["${proofKey}"] }
      - { issuer: ci, claims: { sub: "host*" }, roles: [executor], proofKeys: ["${proofKey}"] }
      - { issuer: ci, claims: { sub: "boss*" }, roles: [operator], proofKeys: ["${proofKey}"] }
    rules:
      - { name: jobs, actions: [issue], who: { sub: job }, secrets: ["env://API_TOKEN"], limits: { ttl: 1h, uses: 3 } }
      - { name: wrapping, actions: [wrap], who: { sub: job }, secrets: ["wrap://KEY"] }
      - { name: hosts, actions: [redeem, check], who: { sub: host }, secrets: ["env://*", "wrap://**"] }
      - { name: looking, actions: [inspect, revoke], who: { sub: boss-of-some }, secrets: ["env://API_TOKEN"] }
      - { name: stopping, actions: [inspect, revoke], who: { sub: boss } }
      - { name: auditing, actions: [audit.read], who: { sub: boss } }
      - { name: suspended, effect: deny, actions: [revoke, audit.read], who: { sub: boss-suspended } }
      - { name: ttl, actions: [issue], who: { sub: job-ttl }, secrets: ["env://API_TOKEN"], limits: { ttl: 2m } }
      - { name: uses, actions: [issue], who: { sub: job-uses }, secrets: ["env://API_TOKEN"], limits: { uses: 2 } }
      - { name: audience, actions: [issue], who: { sub: job-audience }, secrets: ["env://API_TOKEN"], limits: { audience: ["ci:host"] } }
      - { name: binding, actions: [issue], who: { sub: job-binding }, secrets: ["env://API_TOKEN"], limits: { keyBinding: true } }
      - { name: keys, actions: [issue], who: { sub: job-keys }, secrets: ["env://API_TOKEN"], limits: { cacheKeys: ["npm-*"] } }
      - { name: uncached, actions: [issue], who: { sub: job-uncached }, secrets: ["env://API_TOKEN"], limits: { cache: never } }
      - { name: no seeds, actions: [issue], who: { sub: job-otp }, secrets: ["op://infra/**"] }
      - { name: seeds, actions: [issue], who: { sub: job-seeds }, secrets: ["op://infra/**"], limits: { totpSeeds: true } }
`;

let ci: TestIssuer;
let service: OnePassword;
let broker: BrokerProcess;
let identity: Identity;
let policy: string;

beforeAll(async () => {
  ci = await openIssuer("ES256");
  identity = await createIdentity();
  service = await startOnePassword({
    Infra: { Database: [{ id: "TOTP_1", label: "code", value: "otpauth://totp/x?secret=JBSWY3DPEHPK3PXP" }] },
  });
  policy = policyFor(ci.url, identity.jkt);
  broker = await startBrokerProcess({
    policy,
    fields: sourcesFor(policy, {
      onepassword: { provider: "op", token: "env://OP_TOKEN", signInOrigins: [service.origin] },
    }),
    env: { OP_TOKEN: service.token() },
  });
});

afterAll(async () => {
  await broker.end("SIGKILL");
  await Promise.all([broker.remove(), service.close()]);
  ci.stop();
});

/** One for each principal, because it is bound into what is wrapped. */
const tokens = new Map<string, Promise<string>>();

function tokenOf(sub: string): Promise<string> {
  const token = tokens.get(sub) ?? ci.sign({ sub, aud: broker.url });
  tokens.set(sub, token);
  return token;
}

async function ask(sub: string, method: string, path: string, content?: object, proven = method !== "POST") {
  const accessToken = await tokenOf(sub);
  const body = content && JSON.stringify(content);
  const { key } = (content ?? {}) as Partial<RedemptionRequest>;
  const covered = { method, url: `${broker.url}${path.split("?")[0]}`, accessToken, body: body ?? "" };
  const proof =
    proven && (await makeProof({ ...covered, ...(key && { encryptionKey: key }) }, identity.proofKey));
  const response = await fetch(`${broker.url}${path}`, {
    method,
    headers: {
      authorization: `${proven ? "DPoP" : "Bearer"} ${accessToken}`,
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(proof && { dpop: proof.jwt }),
    },
    ...(body !== undefined && { body }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

type Handle = { readonly jti: string; readonly handle: string; readonly expires: number };

async function issued(item: object = {}, sub = "job", run?: string): Promise<Handle> {
  const asked = { secrets: [{ uri: "env://API_TOKEN", audience: "ci:host", ...item }], ...(run && { run }) };
  const { status, body } = await ask(sub, "POST", "/v1/handles", asked);
  expect({ status, body }).toMatchObject({ status: 200 });
  return (body.handles as Handle[])[0]!;
}

const wrapped = async (sub: string, name: string) => {
  const { keys } = (await (await fetch(`${broker.url}/.well-known/jwks.json`)).json()) as {
    keys: { use: string }[];
  };
  const context = { iss: broker.url, accessToken: await tokenOf(sub), audience: "ci:host" };
  const value = await wrapValue(
    new Secret(Buffer.from("own")),
    context,
    keys.find(({ use }) => use === "enc") as never,
  );
  return { secrets: [{ value, name, audience: "ci:host" }] };
};

const redemption = (handle: string) => ({ id: randomUUID(), handles: [handle], key: identity.encryptionKey });

/** What each action is over HTTP; `own` says by whom the handle that it is about was asked for. */
const requests = {
  issue: async (sub: string) =>
    ask(sub, "POST", "/v1/handles", { secrets: [{ uri: "env://API_TOKEN", audience: "ci:host" }] }),
  wrap: async (sub: string) => ask(sub, "POST", "/v1/handles/wrap", await wrapped(sub, "KEY")),
  redeem: async (sub: string) =>
    ask(sub, "POST", "/v1/redemptions", redemption((await issued({ audience: `ci:${sub}` })).handle), true),
  check: async (sub: string) =>
    ask(
      sub,
      "POST",
      "/v1/handles/check",
      { handles: [(await issued({ audience: `ci:${sub}` })).handle], key: identity.encryptionKey },
      true,
    ),
  inspect: async (sub: string) => ask(sub, "GET", `/v1/handles/${(await issued()).jti}`),
  "revoke one": async (sub: string) => ask(sub, "DELETE", `/v1/handles/${(await issued()).jti}`),
  "revoke a run": async (sub: string) => ask(sub, "POST", "/v1/revocations", { run: "nightly" }, true),
  "revoke a principal": async (sub: string) =>
    ask(sub, "POST", "/v1/revocations", { subject: "ci:someone" }, true),
  "revoke the tenant": async (sub: string) => ask(sub, "POST", "/v1/revocations", { all: true }, true),
  "audit.read": async (sub: string) => ask(sub, "GET", "/v1/audit"),
} as const;
type Request = keyof typeof requests;

describe("by the rules of the file", () => {
  const all = Object.keys(requests) as Request[];
  test.each<[string, Request[]]>([
    // Its own handles a requester may always look at and revoke.
    ["job", ["issue", "wrap", "inspect", "revoke one"]],
    ["job-ttl", ["issue"]],
    ["host", ["redeem", "check"]],
    ["host-other", []],
    [
      "boss",
      ["inspect", "revoke one", "revoke a run", "revoke a principal", "revoke the tenant", "audit.read"],
    ],
    ["boss-of-some", ["inspect", "revoke one"]],
    ["boss-suspended", []],
  ])("%s may only %j", async (sub, allowed) => {
    const granted: Request[] = [];
    for (const request of all) {
      const { status, body } = await requests[request](sub);
      if (status === 200) granted.push(request);
      // What is not the caller's business is not there for it; a handle cannot be for who has no registered key.
      else
        expect({ request, status, code: body.code }).toMatchObject({
          status: expect.toBeOneOf([400, 403, 404]),
        });
    }
    expect(granted).toEqual(allowed);
  });

  test.each<[Request, string, string]>([
    ["issue", "job", "issue"],
    ["wrap", "job", "wrap"],
    ["redeem", "host", "redeem"],
    ["check", "host", "check"],
    ["inspect", "boss", "inspect"],
    ["inspect", "boss-of-some", "inspect"],
    ["revoke one", "boss-of-some", "revoke"],
    ["revoke the tenant", "boss", "revoke"],
    ["revoke the tenant", "boss-of-some", "revoke"],
    ["revoke the tenant", "boss-suspended", "revoke"],
    ["audit.read", "boss", "audit.read"],
    ["audit.read", "boss-suspended", "audit.read"],
    ["audit.read", "job", "audit.read"],
  ])("explain says of %s by %s what the broker does", async (request, sub, action) => {
    const uri = request === "wrap" ? "wrap://KEY" : "env://API_TOKEN";
    const named = request === "audit.read" || request === "revoke the tenant" ? [] : ["--uri", uri];
    const folder = makeFolder({ "policy.yaml": policy, "claims.json": JSON.stringify({ iss: ci.url, sub }) });
    const [policyFile, claims] = [join(folder, "policy.yaml"), join(folder, "claims.json")];
    const said = await claimcheck([
      "policy",
      "explain",
      policyFile,
      "--as",
      claims,
      "--action",
      action,
      ...named,
    ]);
    const { status } = await requests[request](sub);
    expect(said).toMatchObject({ code: status === 200 ? 0 : 1, stderr: "" });
  });

  test("a run that is revoked is over, and the others are not", async () => {
    const [nightly, other] = [await issued({}, "job", "nightly"), await issued({}, "job", "other")];
    expect((await requests["revoke a run"]("boss")).status).toBe(200);
    const redeem = async ({ handle }: Handle) =>
      (await ask("host", "POST", "/v1/redemptions", redemption(handle), true)).status;
    expect([await redeem(nightly), await redeem(other)]).toEqual([410, 200]);
  });

  test("an auditor finds by whose rule it was", async () => {
    await issued();
    const { body } = await ask("boss", "GET", "/v1/audit?uri=env%3A%2F%2FAPI_TOKEN&principal=ci%3Ajob");
    expect(body.records).toContainEqual(
      expect.objectContaining({ action: "issue", outcome: "issued", rule: "jobs" }),
    );
  });
});

describe("a limit of the file", () => {
  const bound = { jkt: "k".repeat(43) };
  test.each<[limit: string, within: object, beyond: object, detail: string]>([
    [
      "ttl",
      { ttl: 120 },
      { ttl: 121 },
      "env://API…: a handle lives at most 120 seconds by the policy, not 121",
    ],
    ["uses", { uses: 2 }, { uses: 3 }, "env://API…: a handle has at most 2 uses by the policy, not 3"],
    [
      "audience",
      {},
      { audience: "ci:host-other" },
      "env://API…: the policy does not allow handles for this audience",
    ],
    ["binding", bound, {}, "env://API…: the policy requires that the handle is bound to a key (jkt)"],
    [
      "keys",
      { cacheKey: "npm-a" },
      { cacheKey: "pip-a" },
      "env://API…: the policy does not allow this cache key",
    ],
  ])("%s is kept, and a refusal says what it is", async (limit, within, beyond, detail) => {
    const sub = `job-${limit}`;
    await issued(within, sub);
    const asked = { secrets: [{ uri: "env://API_TOKEN", audience: "ci:host", ...beyond }] };
    const { status, body } = await ask(sub, "POST", "/v1/handles", asked);
    expect({ status, failures: body.failures }).toMatchObject({
      status: 403,
      failures: [{ index: 0, code: "forbidden", detail }],
    });
  });

  test.each([
    [["--ttl", "2h"], "job-ttl", "a handle lives at most 120 seconds by the policy, not 7200"],
    [["--uses", "9"], "job-uses", "a handle has at most 2 uses by the policy, not 9"],
  ])("claimcheck issue %j says so too", async (flags, sub, says) => {
    const env = {
      CLAIMCHECK_BROKER: broker.url,
      CLAIMCHECK_BROKER_KEYS: /keys ([\w,-]+)/.exec(broker.said.join(""))?.[1] ?? "",
      CLAIMCHECK_TOKEN: await tokenOf(sub),
    };
    const asked = ["issue", ...flags, "--audience", "ci:host", "env://API_TOKEN"];
    const { code, stderr } = await claimcheck(asked, { env });
    expect({ code, stderr }).toMatchObject({ code: 125, stderr: expect.stringContaining(says) });
  });

  test("ttl is also how long a handle lives that asks for no time", async () => {
    const lifetime = async (sub: string) => (await issued({}, sub)).expires - Math.floor(Date.now() / 1000);
    expect(await lifetime("job-ttl")).toBeLessThanOrEqual(120);
    expect(await lifetime("job")).toBeGreaterThan(800);
  });

  test("cache: never leaves out what stands for the secret in caches", async () => {
    const check = async (sub: string) => {
      const { handle } = await issued({}, sub);
      const content = { handles: [handle], key: identity.encryptionKey };
      const { status, body } = await ask("host", "POST", "/v1/handles/check", content, true);
      expect(status).toBe(200);
      const { plaintext } = await jose.compactDecrypt(String(body.confirmation), identity.decryptionKey);
      return (jose.decodeJwt(Buffer.from(plaintext).toString()).handles as { cacheId?: string }[])[0]
        ?.cacheId;
    };
    expect(await check("job-uncached")).toBeUndefined();
    expect(await check("job")).toMatch(/^[\w-]{43}$/);
  });

  test("totpSeeds gives out what one-time passwords are made of", async () => {
    onTestFinished(() => void service.takeLog());
    const seed = { uri: "op://Infra/Database/code", audience: "ci:host" };
    const status = async (sub: string) => (await ask(sub, "POST", "/v1/handles", { secrets: [seed] })).status;
    expect([await status("job-otp"), await status("job-seeds")]).toEqual([403, 200]);
  });
});
