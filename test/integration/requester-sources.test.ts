/** A source that each job logs in to with a token of its own: a real OpenBao server, whose policies tell the jobs apart. */
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { Secret } from "../../shared/secret.ts";
import type { Jwks } from "../../shared/wire.ts";
import { wrapValue } from "../../shared/wrapping.ts";
import { openIssuer, type TestIssuer } from "../parts/issuer.ts";
import { answering, type Bao, type FaultProxy, startBao, startProxy, whereas } from "../parts/openbao.ts";
import { type BrokerProcess, startBrokerProcess } from "../support/broker-process.ts";
import { claimcheck } from "../support/command.ts";

let ci: TestIssuer;
let server: Bao;
let proxy: FaultProxy;
let broker: BrokerProcess;
let encryptionKey: Jwks["keys"][number];
let pins: string;

const json = JSON.stringify;
const upstream = "https://vault.example";

beforeAll(async () => {
  ci = await openIssuer("ES256");
  server = await startBao();
  await server.call("POST", "sys/mounts/shared", { type: "kv", options: { version: "2" } });
  for (const project of ["one", "two"]) {
    await server.call("POST", `shared/data/${project}/app`, { data: { token: `value-of-${project}` } });
  }
  await server.call("POST", "sys/auth/jwt", { type: "jwt" });
  const { data: methods } = await server.call("GET", "sys/auth");
  const project = `{{identity.entity.aliases.${methods["jwt/"].accessor}.metadata.project}}`;
  const policy = `path "shared/data/${project}/*" { capabilities = ["read"] }
path "shared/data/none" { capabilities = ["read"] }`;
  await server.call("POST", "sys/policies/acl/of-project", { policy });
  await server.call("POST", "auth/jwt/config", { jwks_url: `${ci.url}/keys`, bound_issuer: ci.url });
  await server.call("POST", "auth/jwt/role/jobs", {
    role_type: "jwt",
    user_claim: "job",
    bound_audiences: [upstream],
    claim_mappings: { project: "project" },
    token_policies: ["of-project"],
    token_ttl: "5m",
  });
  proxy = await startProxy(server.address);
  const vault = { provider: "vault", tenants: ["acme"], address: proxy.address };
  broker = await startBrokerProcess({
    policy: `version: 1
issuers:
  ci: { issuer: "${ci.url}", algorithms: [ES256] }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: { sub: "*" }, roles: [requester] }
    rules:
      - { name: all, actions: [issue], secrets: ["vault://**"] }
`,
    fields: `cacheTtl: 600\nsources: ${json({
      jobs: { ...vault, auth: { requester: { role: "jobs" } } },
      own: { ...vault, auth: { token: "env://VAULT_TOKEN" } },
    })}\n`,
    env: { VAULT_TOKEN: server.token },
  });
  const jwks = (await (await fetch(`${broker.url}/.well-known/jwks.json`)).json()) as Jwks;
  encryptionKey = jwks.keys.find(({ use }) => use === "enc")!;
  pins = jwks.keys.map(({ kid }) => kid).join(",");
});

afterEach(() => proxy.mend());

afterAll(async () => {
  await broker.end("SIGKILL");
  await broker.remove();
  await Promise.all([proxy, server].map((each) => each.close()));
  ci.stop();
});

/** What OpenBao knows a job by, beside the subject that the broker knows it by. */
const upstreamToken = (sub: string, more: object = {}) =>
  ci.sign({ sub, aud: upstream, project: sub, job: sub, ...more });

interface Sent {
  readonly sub: string;
  readonly uri?: string;
  readonly tokens?: Readonly<Record<string, string>>;
  /** What the tokens are encrypted for, where that is not this request. */
  readonly context?: { readonly accessToken?: string; readonly source?: string };
}

const shared = "vault://shared/one/app#token?source=jobs";

async function ask({ sub, uri = shared, tokens = {}, context = {} }: Sent) {
  const accessToken = await ci.sign({ sub, aud: broker.url });
  const sealed = Object.entries(tokens).map(async ([source, token]) => [
    source,
    await wrapValue(
      new Secret(Buffer.from(token)),
      { iss: broker.url, accessToken, source, ...context },
      encryptionKey,
    ),
  ]);
  const answer = await fetch(`${broker.url}/v1/handles`, {
    method: "POST",
    headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
    body: json({ secrets: [{ uri }], sourceTokens: Object.fromEntries(await Promise.all(sealed)) }),
  });
  const body = (await answer.json()) as { code?: string; handles?: object[]; failures?: object[] };
  if (body.handles) return "issued";
  const { code, detail } = (body.failures?.[0] ?? body) as { code: string; detail?: string };
  return `${code}: ${detail}`;
}

describe("two jobs with policies of their own at the upstream", () => {
  test("read what the upstream lets each of them read", async () => {
    const [one, two] = await Promise.all(["one", "two"].map((sub) => upstreamToken(sub)));
    expect(await ask({ sub: "one", tokens: { jobs: one! } })).toBe("issued");
    expect(await ask({ sub: "two", tokens: { jobs: two! } })).toMatch(/^provider_denied/);
    const theirs = "vault://shared/two/app#token?source=jobs";
    expect(await ask({ sub: "two", uri: theirs, tokens: { jobs: two! } })).toBe("issued");
    expect(await ask({ sub: "one", uri: theirs, tokens: { jobs: one! } })).toMatch(/^provider_denied/);
  });

  test("share no read of one URI at the same moment, and no cached value after it", async () => {
    const one = await upstreamToken("one");
    const two = await upstreamToken("two");
    const together = Array.from({ length: 10 }, (_, nth) =>
      nth % 2 === 0 ? ask({ sub: "one", tokens: { jobs: one } }) : ask({ sub: "two", tokens: { jobs: two } }),
    );
    const outcomes = await Promise.all(together);
    expect(new Set(outcomes.filter((_, nth) => nth % 2 === 0))).toEqual(new Set(["issued"]));
    for (const outcome of outcomes.filter((_, nth) => nth % 2 === 1)) {
      expect(outcome).toMatch(/^provider_denied/);
    }
  });

  test("one job with two tokens of different rights has two log-ins", async () => {
    const strong = await upstreamToken("one");
    const weak = await upstreamToken("one", { project: "two", job: "weak" });
    expect(await ask({ sub: "one", tokens: { jobs: strong } })).toBe("issued");
    expect(await ask({ sub: "one", tokens: { jobs: weak } })).toMatch(/^provider_denied/);
  });

  test("one token logs in once, and what it read is remembered for it alone", async () => {
    const one = await upstreamToken("one");
    proxy.takeLog();
    expect(await ask({ sub: "one", tokens: { jobs: one } })).toBe("issued");
    expect(proxy.takeLog().filter((line) => line.includes("auth/jwt/login"))).toHaveLength(1);
    expect(await ask({ sub: "one", tokens: { jobs: one } })).toBe("issued");
    expect(proxy.takeLog()).toEqual([]);
  });

  test("one's refused log-ins close the source for nobody else, and are no complaint of the broker", async () => {
    const [one, two] = await Promise.all(["one", "two"].map((sub) => upstreamToken(sub)));
    proxy.breakWith(whereas(({ body }) => body.includes(two!), answering(503, { "retry-after": "86400" })));
    for (let nth = 0; nth < 6; nth++) {
      expect(await ask({ sub: "two", tokens: { jobs: two! } })).toMatch(/^provider_failed/);
    }
    expect(await ask({ sub: "one", tokens: { jobs: one! } })).toBe("issued");
    expect(await (await fetch(`${broker.url}/readyz`)).json()).toEqual({ status: "ready", complaints: [] });
  });
});

describe("a token for a source", () => {
  test("is needed, and without it nobody asks the upstream", async () => {
    proxy.takeLog();
    expect(await ask({ sub: "one" })).toBe(
      "provider_denied: the source jobs is read with your own token for it: send one, as by CLAIMCHECK_SOURCE_TOKENS=jobs=env://VARIABLE",
    );
    expect(proxy.takeLog()).toEqual([]);
  });

  test.each<[string, () => Promise<Partial<Sent>>, string]>([
    [
      "of another job",
      async () => ({ tokens: { jobs: await upstreamToken("one") } }),
      "names another issuer or subject than your access token",
    ],
    [
      "that the broker would take as well",
      async () => ({ tokens: { jobs: await upstreamToken("thief", { aud: [upstream, broker.url] }) } }),
      "must be for the upstream alone: request one with the upstream's audience",
    ],
    [
      "that names a key for the broker",
      async () => ({
        tokens: { jobs: await upstreamToken("thief", { aud: [upstream, `${broker.url}#jkt=x`] }) },
      }),
      "must be for the upstream alone: request one with the upstream's audience",
    ],
    [
      "that has expired",
      async () => ({ tokens: { jobs: await upstreamToken("thief", { exp: 1 }) } }),
      "has expired, or says no time at which it does",
    ],
    ["that is no JWT", async () => ({ tokens: { jobs: "hvs.sesame" } }), "is no JWT"],
    [
      "that was encrypted for another request",
      async () => ({ tokens: { jobs: await upstreamToken("thief") }, context: { accessToken: "another" } }),
      "is not encrypted for this request",
    ],
    [
      "that was encrypted for another source",
      async () => ({ tokens: { jobs: await upstreamToken("thief") }, context: { source: "own" } }),
      "is not encrypted for this request",
    ],
  ])("%s is refused, and nobody asks the upstream", async (_, sent, why) => {
    proxy.takeLog();
    expect(await ask({ sub: "thief", ...(await sent()) })).toBe(
      `invalid_value: the token for the source jobs ${why}`,
    );
    expect(proxy.takeLog()).toEqual([]);
  });

  test("goes to no source that logs in by itself", async () => {
    const one = await upstreamToken("one");
    proxy.requests.splice(0);
    const uri = "vault://shared/one/app#token?source=own&ttl=0";
    expect(await ask({ sub: "one", uri, tokens: { own: one, jobs: one } })).toBe("issued");
    expect(json(proxy.requests)).not.toContain(one);
  });

  test("is in neither log, and the records name the source", async () => {
    const one = await upstreamToken("one");
    await ask({ sub: "one", tokens: { jobs: one } });
    const text = readFileSync(broker.auditFile, "utf8");
    expect(text).toContain("vault://shared/one/app#token?source=jobs");
    for (const said of [text, broker.said.join("")]) {
      for (const secret of [one, one.split(".")[2]!, "value-of-one"]) expect(said).not.toContain(secret);
    }
  });

  test("comes from a variable or a file that CLAIMCHECK_SOURCE_TOKENS names", async () => {
    const env = {
      CLAIMCHECK_BROKER: broker.url,
      CLAIMCHECK_BROKER_KEYS: pins,
      CLAIMCHECK_TOKEN: await ci.sign({ sub: "one", aud: broker.url }),
      CLAIMCHECK_SOURCE_TOKENS: "jobs=env://VAULT_ID_TOKEN",
    };
    const issue = (more: object) => claimcheck(["issue", shared], { env: { ...env, ...more } });
    const good = await issue({ VAULT_ID_TOKEN: await upstreamToken("one") });
    expect(good).toMatchObject({ code: 0, stderr: "" });
    expect((await issue({})).stderr).toContain(
      "CLAIMCHECK_SOURCE_TOKENS: env://VAULT_ID_TOKEN holds no token for jobs",
    );
    const literal = await issue({ CLAIMCHECK_SOURCE_TOKENS: "jobs=eyJsesame" });
    expect(literal.stderr).toContain(
      "write SOURCE=env://VARIABLE or SOURCE=file://PATH, never the token itself",
    );
    expect(literal.stderr).not.toContain("eyJsesame");
  });
});
