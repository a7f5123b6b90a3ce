/** Tokens of CI systems, from real issuers on loopback: whose they make one, and what becomes of an issuer in trouble. */
import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { type Authenticate, createAuthenticator } from "../../broker/authn/authenticate.ts";
import { remoteKeys } from "../../broker/authn/issuer-keys.ts";
import { startIssuer, type TestIssuer } from "../parts/issuer.ts";
import { loadPolicy } from "../support/policy.ts";
import { refusalOf } from "../support/refusal.ts";

const audience = "https://broker.example";

afterEach(() => {
  vi.useRealTimers();
});

interface Setting {
  /** Fields of the issuer in the file, in YAML. */
  readonly fields?: string;
  readonly members?: string;
}

function authenticatorFor(issuers: Readonly<Record<string, readonly [TestIssuer, Setting?]>>): Authenticate {
  const entries = Object.entries(issuers);
  const file = [
    "version: 1",
    "issuers:",
    ...entries.map(([name, [{ url }, { fields = "" } = {}]]) => `  ${name}: { issuer: "${url}", ${fields} }`),
    "tenants:",
    ...entries.map(
      ([name, [, { members } = {}]]) =>
        `  ${name}:\n    principals:\n${members ?? `      - { issuer: ${name}, claims: { sub: "**" }, roles: [requester] }`}\n    rules: []`,
    ),
  ].join("\n");
  const loaded = loadPolicy(file, remoteKeys);
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  return createAuthenticator(loaded.issuers, audience);
}

const later = (milliseconds: number) =>
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + milliseconds });
const bearer = async (token: Promise<string>) => `Bearer ${await token}`;

describe("the token of", () => {
  test.each<[string, jose.JWTPayload, string, object]>([
    [
      "GitHub Actions",
      {
        sub: "repo:acme/site:ref:refs/heads/main",
        repository: "acme/site",
        repository_owner: "acme",
        repository_owner_id: "65",
        ref: "refs/heads/main",
        ref_protected: "true",
        workflow_ref: "acme/site/.github/workflows/deploy.yml@refs/heads/main",
        run_id: "9000",
        event_name: "push",
      },
      `{ issuer: ci, claims: { repository_owner: acme, repository_owner_id: "65" }, roles: [requester] }`,
      { principal: "ci:repo:acme/site:ref:refs/heads/main", roles: ["requester"] },
    ],
    [
      "GitLab",
      {
        sub: "project_path:acme/site:ref_type:branch:ref:main",
        namespace_path: "acme",
        project_path: "acme/site",
        project_id: "22",
        ref: "main",
        ref_protected: "true",
        pipeline_source: "push",
        groups_direct: ["acme/devs"],
      },
      "{ issuer: ci, claims: { namespace_path: acme }, roles: [requester, executor], dangerouslyTokenAlone: true }",
      { principal: "ci:project_path:acme/site:ref_type:branch:ref:main", roles: ["requester", "executor"] },
    ],
    [
      "Buildkite",
      {
        sub: "organization:acme:pipeline:site:ref:refs/heads/main:commit:9f3:step:build",
        organization_slug: "acme",
        pipeline_slug: "site",
        build_number: 1842,
        build_branch: "main",
        step_key: "build",
        job_id: "0184990a",
        agent_id: "0184990b",
      },
      `{ issuer: ci, claims: { organization_slug: acme, build_number: "1*" }, roles: [requester] }`,
      { principal: expect.stringMatching(/^ci:organization:acme:pipeline:site:/) },
    ],
    [
      "a Kubernetes service account",
      {
        aud: [audience, "https://kubernetes.default.svc"],
        sub: "system:serviceaccount:ci:claimcheck-executor",
        "kubernetes.io": {
          namespace: "ci",
          pod: { name: "executor-7d", uid: "4f" },
          serviceaccount: { name: "claimcheck-executor", uid: "5a" },
        },
        nbf: Math.floor(Date.now() / 1000),
      },
      `{ issuer: ci, claims: { kubernetes.io: { namespace: ci, serviceaccount: { name: claimcheck-executor } } }, roles: [executor], proofKeys: [${"k".repeat(43)}] }`,
      {
        principal: "ci:system:serviceaccount:ci:claimcheck-executor",
        roles: ["executor"],
        proofKeys: ["k".repeat(43)],
      },
    ],
  ])(
    "%s makes a principal of a tenant by its claims, and of nobody else's",
    async (_, claims, member, expected) => {
      const issuer = await startIssuer();
      const authenticate = authenticatorFor({ ci: [issuer, { members: `      - ${member}` }] });
      const authorization = await bearer(issuer.sign({ aud: audience, ...claims }));
      expect(await authenticate(authorization)).toMatchObject({ tenant: "ci", ...expected });

      const strangers = {
        repository_owner: "evil",
        namespace_path: "evil",
        organization_slug: "evil",
        "kubernetes.io": { namespace: "evil" },
      };
      const stranger = await bearer(issuer.sign({ aud: audience, ...claims, ...strangers }));
      expect(await refusalOf(() => authenticate(stranger))).toMatchObject({
        code: "unauthenticated",
        reason: "principal_unknown",
      });
    },
  );
});

describe("tokens that are not taken", () => {
  test("of another algorithm than the issuer is trusted with, though it signed them", async () => {
    const issuer = await startIssuer("ES256");
    const authorization = await bearer(issuer.sign({ sub: "ci", aud: audience }));
    expect(await refusalOf(() => authenticatorFor({ ci: [issuer] })(authorization))).toMatchObject({
      reason: "token_invalid",
    });
    const trusted = authenticatorFor({ ci: [issuer, { fields: "algorithms: [ES256]" }] });
    expect(await trusted(authorization)).toMatchObject({ principal: "ci:ci" });
  });

  test("signed HS256 with the issuer's public key, which everybody has", async () => {
    const issuer = await startIssuer();
    const publicKey = Buffer.from(JSON.stringify(issuer.publicJwk));
    const token = new jose.SignJWT({ sub: "ci", aud: audience, iss: issuer.url, exp: 9e9 })
      .setProtectedHeader({ alg: "HS256", kid: "1" })
      .sign(publicKey);
    expect(
      await refusalOf(async () => authenticatorFor({ ci: [issuer] })(await bearer(token))),
    ).toMatchObject({ reason: "token_invalid" });
  });

  test("of one issuer in another's name", async () => {
    const [first, second] = [await startIssuer(), await startIssuer()];
    const authenticate = authenticatorFor({ first: [first], second: [second] });
    const forged = await bearer(second.sign({ sub: "ci", aud: audience, iss: first.url }));
    expect(await refusalOf(() => authenticate(forged))).toMatchObject({ reason: "token_invalid" });
  });

  test("for another audience than the issuer's tokens have to be for", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer, { fields: "audience: claimcheck" }] });
    expect(await authenticate(await bearer(issuer.sign({ sub: "ci", aud: "claimcheck" })))).toMatchObject({
      tenant: "ci",
    });
    const wrong = await bearer(issuer.sign({ sub: "ci", aud: audience }));
    expect(await refusalOf(() => authenticate(wrong))).toMatchObject({ reason: "token_invalid" });
  });

  test("whose tenant would be a list's to say", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({
      ci: [issuer, { members: "      - { issuer: ci, claims: { group: acme }, roles: [requester] }" }],
    });
    const listed = await bearer(issuer.sign({ sub: "ci", aud: audience, group: ["acme", "rival"] }));
    expect(await refusalOf(() => authenticate(listed))).toMatchObject({ reason: "principal_unknown" });
  });

  test("before and after their time, but for the skew", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer, { fields: "skew: 10s" }] });
    const now = Math.floor(Date.now() / 1000);
    const ask = async (claims: jose.JWTPayload) =>
      authenticate(await bearer(issuer.sign({ sub: "ci", aud: audience, ...claims })));
    await ask({ exp: now - 5 });
    await ask({ nbf: now + 5 });
    expect(await refusalOf(() => ask({ exp: now - 15 }))).toMatchObject({ reason: "token_expired" });
    expect(await refusalOf(() => ask({ nbf: now + 60 }))).toMatchObject({ reason: "token_invalid" });
  });
});

describe("what an issuer signs for something else is no token:", () => {
  const typed = async (typ: string | undefined) => {
    const issuer = await startIssuer();
    const header = typ === undefined ? {} : { typ };
    const signed = issuer.sign({ sub: "ci", aud: audience }, { typ: undefined, ...header } as object);
    return authenticatorFor({ ci: [issuer] })(await bearer(signed));
  };

  test.each(["logout+jwt", "dpop+jwt", "secevent+jwt", "claimcheck+jwt", "application/logout+jwt", ""])(
    "typ %j",
    async (typ) => {
      expect(await refusalOf(() => typed(typ))).toMatchObject({
        code: "unauthenticated",
        reason: "token_invalid",
      });
    },
  );

  test.each([undefined, "JWT", "jwt", "at+jwt", "application/at+jwt"])("but typ %j is", async (typ) => {
    expect(await typed(typ)).toMatchObject({ tenant: "ci" });
  });
});

describe("a token that was verified", () => {
  test("is not verified again while its issuer's keys are the same, until it expires", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer, { fields: "skew: 1s" }] });
    const authorization = await bearer(issuer.sign({ sub: "ci", aud: audience }));
    const first = await authenticate(authorization);
    // Whoever verified it now would miss the key.
    await issuer.rotate();
    later(35_000);
    expect(await authenticate(authorization)).toEqual(first);
    expect(issuer.state.fetches).toBe(1);
    later(620_000);
    expect(await refusalOf(() => authenticate(authorization))).toMatchObject({ code: "unauthenticated" });
  });

  test("is nobody's once its key is known to be withdrawn", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    const authorization = await bearer(issuer.sign({ sub: "ci", aud: audience }));
    await authenticate(authorization);
    await issuer.rotate();
    later(35_000);
    await authenticate(await bearer(issuer.sign({ sub: "other", aud: audience })));
    expect(await refusalOf(() => authenticate(authorization))).toMatchObject({ code: "issuer_unavailable" });
    later(11_000);
    expect(await refusalOf(() => authenticate(authorization))).toMatchObject({ reason: "token_invalid" });
  });

  test("is believed for ten minutes after its key was withdrawn, and not for as long as it lives", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    const exp = Math.floor(Date.now() / 1000) + 86_400;
    const sign = async (sub: string) => bearer(issuer.sign({ sub, aud: audience, exp }));
    const [used, unused] = [await sign("used"), await sign("unused")];
    await authenticate(used);
    await issuer.rotate();
    later(11 * 60_000);
    for (const token of [used, unused]) {
      expect(await refusalOf(() => authenticate(token))).toMatchObject({ code: "issuer_unavailable" });
    }
    for (const token of [used, unused]) {
      later(11_000);
      expect(await refusalOf(() => authenticate(token))).toMatchObject({ reason: "token_invalid" });
    }
  });

  test("says nothing about one that differs in its signature alone", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    const authorization = await bearer(issuer.sign({ sub: "ci", aud: audience }));
    await authenticate(authorization);
    const [signed, signature = ""] = [
      authorization.slice(0, authorization.lastIndexOf(".") + 1),
      authorization.split(".")[2],
    ];
    const changed = `${signed}${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
    expect(await refusalOf(() => authenticate(changed))).toMatchObject({ reason: "token_invalid" });
  });
});

describe("an issuer's keys", () => {
  const ask = async (authenticate: Authenticate, issuer: TestIssuer, sub = "ci") =>
    authenticate(await bearer(issuer.sign({ sub, aud: audience })));

  test("are found by discovery, or where the file says, and fetched once for many tokens at once", async () => {
    for (const fields of ["", "keys"]) {
      const issuer = await startIssuer();
      const authenticate = authenticatorFor({
        ci: [issuer, { fields: fields && `keys: "${issuer.url}/keys"` }],
      });
      await Promise.all(Array.from({ length: 20 }, (_, index) => ask(authenticate, issuer, `job-${index}`)));
      expect(issuer.state.fetches).toBe(1);
    }
  });

  test("that are new are fetched when a token names one, but not twice within the cool-down", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    await ask(authenticate, issuer);
    await issuer.rotate();
    later(31_000);
    await ask(authenticate, issuer);
    expect(issuer.state.fetches).toBe(2);
    const invented = () => issuer.sign({ sub: "ci", aud: audience }, { kid: "invented" });
    for (let round = 0; round < 5; round += 1) {
      expect(await refusalOf(async () => authenticate(await bearer(invented())))).toMatchObject({
        code: "issuer_unavailable",
        detail: expect.stringContaining("within 10 s"),
      });
    }
    expect(issuer.state.fetches).toBe(2);
    later(11_000);
    expect(await refusalOf(async () => authenticate(await bearer(invented())))).toMatchObject({
      reason: "token_invalid",
    });
    expect(issuer.state.fetches).toBe(3);
  });

  test("that are new within the cool-down are no reason to call their tokens forged", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    await ask(authenticate, issuer);
    await issuer.rotate();
    expect(await refusalOf(() => ask(authenticate, issuer, "new"))).toMatchObject({
      code: "issuer_unavailable",
      status: 503,
    });
    later(11_000);
    expect(await ask(authenticate, issuer, "new")).toMatchObject({ tenant: "ci" });
  });

  test.each(["error", "nonsense", "redirect", "flood"] as const)(
    "that are answered with %s are not had, and only its own tokens suffer",
    async (trouble) => {
      const [broken, good] = [await startIssuer(), await startIssuer()];
      const authenticate = authenticatorFor({ broken: [broken], good: [good] });
      broken.state.trouble = trouble;
      for (let round = 0; round < 3; round += 1) {
        expect(await refusalOf(() => ask(authenticate, broken))).toMatchObject({
          code: "issuer_unavailable",
          status: 503,
        });
        expect(await ask(authenticate, good, `job-${round}`)).toMatchObject({ tenant: "good" });
      }
      // An issuer in trouble is not helped by being asked for every token.
      expect(broken.state.fetches).toBe(1);
      broken.state.trouble = undefined;
      later(31_000);
      expect(await ask(authenticate, broken)).toMatchObject({ tenant: "broken" });
    },
  );

  test("that are waited for in vain end in a coded error, and nobody else waits", async () => {
    const [silent, good] = [await startIssuer(), await startIssuer()];
    silent.state.trouble = "silence";
    const authenticate = authenticatorFor({ silent: [silent], good: [good] });
    const order: string[] = [];
    await Promise.all([
      refusalOf(() => ask(authenticate, silent)).then(({ code }) => order.push(code)),
      ask(authenticate, good).then(({ tenant }) => order.push(tenant)),
    ]);
    expect(order).toEqual(["good", "issuer_unavailable"]);
  });

  test("stay good while it is down", async () => {
    const issuer = await startIssuer();
    const authenticate = authenticatorFor({ ci: [issuer] });
    await ask(authenticate, issuer);
    issuer.stop();
    for (const minutes of [11, 60, 600]) {
      later(minutes * 60_000);
      expect(await ask(authenticate, issuer, `after ${minutes}`)).toMatchObject({ tenant: "ci" });
    }
  });

  test.each<[string, Record<string, string>]>([
    ["another issuer", { issuer: "https://evil.example" }],
    ["keys in clear text", { jwks_uri: "http://10.0.0.1/keys" }],
  ])("are not looked for where a discovery document names %s", async (_, discovered) => {
    const issuer = await startIssuer();
    Object.assign(issuer.state.discovered, discovered);
    expect(await refusalOf(() => ask(authenticatorFor({ ci: [issuer] }), issuer))).toMatchObject({
      code: "issuer_unavailable",
    });
    expect(issuer.state.fetches).toBe(0);
  });
});
