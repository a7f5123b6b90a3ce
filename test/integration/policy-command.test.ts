/** claimcheck policy: what it prints, as people read it. */
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

const policy = `version: 1
issuers:
  github: { issuer: https://token.actions.githubusercontent.com }
tenants:
  acme:
    principals:
      - { issuer: github, claims: { repository_owner: acme }, roles: [requester] }
    rules:
      - name: deploy keys for main
        actions: [issue]
        who: { repository: acme/*, ref: refs/heads/main }
        secrets: ["vault://secret/deploy/**"]
        limits: { ttl: 10m, uses: 2, audience: ["cluster:*"], keyBinding: true, cacheKeys: ["npm-*"], totpSeeds: true }
      - name: everybody's
        actions: [issue]
        secrets: ["vault://secret/*/public#*", "vault://secret/deploy/site#token"]
      - name: never root
        effect: deny
        actions: [issue]
        secrets: ["vault://**#root"]
`;

const token = {
  iss: "https://token.actions.githubusercontent.com",
  sub: "repo:acme/site:ref:refs/heads/main",
  repository_owner: "acme",
  repository: "acme/site",
  ref: "refs/heads/main",
};

function ask(claims: object, ...args: string[]) {
  const folder = makeFolder({ "policy.yaml": policy, "claims.json": JSON.stringify(claims) });
  return claimcheck([
    "policy",
    "explain",
    join(folder, "policy.yaml"),
    "--as",
    join(folder, "claims.json"),
    ...args,
  ]);
}

describe("policy explain", () => {
  test("names the rule that allows, why, and its limits", async () => {
    expect(await ask(token, "--uri", "vault://secret/deploy/site#token")).toEqual({
      code: 0,
      stderr: "",
      stdout: `allowed by "deploy keys for main"
  as      github:repo:acme/site:ref:refs/heads/main of acme, requester
  to      issue vault://secret/deploy/site#token
  because repository acme/site fits acme/*, ref refs/heads/main fits refs/heads/main, the secret fits vault://secret/deploy/**
  limits  at most 600 seconds, 2 uses, for cluster:*, bound to a key, cache keys npm-*, seeds of one-time passwords too
          "everybody's" allows it too, but comes later
`,
    });
  });

  test("takes a token itself, and says what is wrong with one that is none, or with two askers", async () => {
    const payload = Buffer.from(JSON.stringify(token)).toString("base64url");
    const folder = makeFolder({ token: `e30.${payload}.c2ln\n`, nonsense: "guessme" });
    const uri = ["--uri", "vault://secret/deploy/site#token"];
    const file = join(makeFolder({ "policy.yaml": policy }), "policy.yaml");
    const explain = (...args: string[]) => claimcheck(["policy", "explain", file, ...uri, ...args]);
    const { code, stdout } = await explain("--token", join(folder, "token"));
    expect({ code, first: stdout.split("\n")[0] }).toEqual({
      code: 0,
      first: 'allowed by "deploy keys for main"',
    });
    const { stderr } = await explain("--token", join(folder, "nonsense"));
    expect(stderr).toMatch(/nonsense holds no JSON Web Token \[usage\]\n$/);
    expect(stderr).not.toContain("guessme");
    for (const args of [[], ["--token", join(folder, "token"), "--as", join(folder, "token")]]) {
      expect((await explain(...args)).stderr).toMatch(
        /by --as FILE with claims or by --token FILE \[usage\]\n$/,
      );
    }
  });

  test("names the rule that denies, and those that it overrules", async () => {
    const { code, stdout } = await ask(token, "--uri", "vault://secret/deploy/site#root");
    expect({ code, lines: stdout.split("\n") }).toEqual({
      code: 1,
      lines: [
        'denied by "never root"',
        "  as      github:repo:acme/site:ref:refs/heads/main of acme, requester",
        "  to      issue vault://secret/deploy/site#root",
        "  because the secret fits vault://**#root",
        '          "deploy keys for main" would allow it, but what denies comes first',
        "",
      ],
    });
  });

  test("names the rules that came close, the closest first, and what they want", async () => {
    const { code, stdout } = await ask(
      { ...token, ref: "refs/heads/dev" },
      "--uri",
      "vault://secret/deploy/db#user",
    );
    expect({ code, lines: stdout.split("\n") }).toEqual({
      code: 1,
      lines: [
        "denied: no rule allows it",
        "  as      github:repo:acme/site:ref:refs/heads/main of acme, requester",
        "  to      issue vault://secret/deploy/db#user",
        '  close   "deploy keys for main" wants ref refs/heads/main (it is refs/heads/dev)',
        `          "everybody's" is about vault://secret/*/public#* and vault://secret/deploy/site#token`,
        "",
      ],
    });
  });

  test("says what a role would have to be", async () => {
    const { stdout } = await ask(token, "--uri", "vault://secret/deploy/db#user", "--action", "redeem");
    expect(stdout).toContain('"deploy keys for main" is about issue, and to redeem takes role executor');
  });

  test.each([
    [{ ...token, iss: "https://evil.example" }, 'the policy has no issuer "https://evil.example"'],
    [{ ...token, repository_owner: "evil" }, "acme wants repository_owner acme (it is evil)"],
    [{ iss: token.iss, sub: "x" }, "acme wants repository_owner acme (there is none)"],
  ])("says of a token that makes nobody a principal why: %o", async (claims, why) => {
    expect(await ask(claims, "--uri", "env://A")).toEqual({
      code: 1,
      stdout: `denied: no tenant has a principal that matches the token\n  ${why}\n`,
      stderr: "",
    });
  });
});

describe("policy check", () => {
  test("counts the rules of a good file", async () => {
    const folder = makeFolder({ "policy.yaml": policy });
    const file = join(folder, "policy.yaml");
    expect(await claimcheck(["policy", "check", file])).toEqual({
      code: 0,
      stdout: `${file} is in order: 3 rules\n`,
      stderr: "",
    });
  });

  test("says all that is wrong with another, as compilers do", async () => {
    const wrong = policy.replace("effect: deny", "effect: allow").replace("refs/heads/main }", "7 }");
    const file = join(makeFolder({ "policy.yaml": wrong }), "policy.yaml");
    const { code, stderr } = await claimcheck(["policy", "check", file]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(/^\S+policy\.yaml:11: tenants\.acme\.rules\[0\]\.who\.ref: a text .*\n$/),
    });
  });

  test("has a schema to publish", async () => {
    const { code, stdout } = await claimcheck(["policy", "schema"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      required: ["version", "issuers", "tenants"],
    });
  });
});
