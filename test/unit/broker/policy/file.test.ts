/** What a policy file can say, and every way in which it can be wrong: by line, all at once. */
import { describe, expect, test } from "vitest";
import { remoteKeys } from "../../../../broker/authn/issuer-keys.ts";
import { policySchema } from "../../../../broker/policy/schema.ts";
import { loadPolicy } from "../../../support/policy.ts";
import { undescribed } from "../../../support/undescribed.ts";

const vaultId = "abcdefghijklmnopqrstuvwx23";

/** Lines 1 to 13: two tenants; rules of acme follow, those of the test from line 12 on. */
const head = `version: 1
issuers:
  github: { issuer: https://token.actions.githubusercontent.com }
  cluster: { issuer: https://kubernetes.example, keys: https://kubernetes.example/openid/v1/jwks }
tenants:
  acme:
    principals:
      - { issuer: github, claims: { repository_owner: acme }, roles: [requester] }
      - { issuer: cluster, claims: { kubernetes.io: { namespace: acme-* } }, roles: [executor], proofKeys: [${"k".repeat(43)}] }
      - { issuer: github, claims: { repository: acme/ops }, roles: [operator] }
    rules:
`;

const load = (text: string) => loadPolicy(text, remoteKeys);

function faultsOf(text: string): string[] {
  const loaded = load(text);
  return "faults" in loaded ? loaded.faults.map(({ line, message }) => `${line}: ${message}`) : [];
}

const rule = (body: string) => `      - { name: first, actions: [issue], secrets: ["env://A"], ${body} }\n`;
const named = (name: string, body: string) => `      - { name: ${name}, ${body} }\n`;

test("a good file is taken, with its limits and its defaults", () => {
  const loaded = load(
    head.replace("    rules:", "    limits: { ttl: 1h }\n    rules:") +
      named(
        "one",
        `actions: [issue], secrets: ["env://A"], limits: { uses: 3, keyBinding: true, totpSeeds: true }`,
      ) +
      named("two", `actions: [redeem], secrets: [{ exact: "cmd://ls *" }]`),
  );
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  expect(
    loaded.rules.map(({ rule: { name, effect, tenant, who, limits } }) => ({
      name,
      effect,
      tenant,
      who,
      limits,
    })),
  ).toEqual([
    {
      name: "one",
      effect: "allow",
      tenant: "acme",
      who: {},
      limits: { ttl: 3600, uses: 3, keyBinding: true, totpSeeds: true },
    },
    { name: "two", effect: "allow", tenant: "acme", who: {}, limits: { ttl: 3600, uses: 1 } },
  ]);
  expect(loaded.issuers).toMatchObject([
    {
      issuer: "https://token.actions.githubusercontent.com",
      algorithms: ["RS256"],
      skew: 30,
      prefix: "github:",
    },
    { issuer: "https://kubernetes.example", members: [{ tenant: "acme", roles: ["executor"] }] },
  ]);
});

describe("its form", () => {
  test.each<[string, string, string[]]>([
    [
      "no YAML",
      "version: [1",
      ["1: Flow sequence in block collection must be sufficiently indented and end with a ]"],
    ],
    ["a key twice", `${head}${rule("name: other")}`, ['12: "name" appears twice']],
    ["nothing", "", ["1: the file: Invalid input: expected object, received null"]],
    [
      "an unknown field",
      head + rule("unless: {}"),
      ["12: tenants.acme.rules[0].unless: this field does not exist"],
    ],
    [
      "a number for a text",
      head + rule("who: { run: 7 }"),
      [
        "12: tenants.acme.rules[0].who.run: a text (numbers, true and false in quotes), a list of them, or the claims within this one",
      ],
    ],
    ...(
      [
        ["__proto__: { ref: main }", '"__proto__" cannot be a key'],
        ["who: { __proto__: { ref: main } }", '"__proto__" cannot be a key'],
        ["who: { ref: { __proto__: main } }", '"__proto__" cannot be a key'],
        ["who: { <<: { ref: main } }", '"<<" would merge in YAML 1.1; write the fields out'],
        ["who: { 7: main }", "a key must be a text; write numbers, true, false and null in quotes"],
        ["who: { null: main }", "a key must be a text; write numbers, true, false and null in quotes"],
        ["who: { [ref]: main }", "a key must be a text; write numbers, true, false and null in quotes"],
        ["who: { ref: main, ref: dev }", '"ref" appears twice'],
      ] as const
    ).map(([body, fault]): [string, string, string[]] => [
      `the key in ${body}`,
      head + rule(body).replace("who: {", "who: {"),
      [`12: ${fault}`],
    ]),
    ...[
      "who: { ref: {} }",
      "who: { ref: { exact: main, other: dev } }",
      "who: { k: { ns: {} } }",
      "who: { ref: [] }",
    ].map((body): [string, string, string[]] => [
      `a claim that would ask for nothing, ${body}`,
      head + rule(body),
      [
        expect.stringMatching(
          /^12: tenants\.acme\.rules\[0\]\.who\.(ref|k\.ns): (a text|Too small)/,
        ) as unknown as string,
      ],
    ]),
    [
      "a member by a claim that asks for nothing",
      head.replace("{ repository: acme/ops }", "{ repository: {} }") + rule("effect: deny"),
      [expect.stringMatching(/^10: .*claims\.repository: a text/) as unknown as string],
    ],
    [
      "YAML 1.1",
      `%YAML 1.1\n---\n${head}`,
      ["1: the file must be YAML 1.2: in 1.1 the same text can mean something else"],
    ],
    [
      "no unit",
      head + rule("limits: { ttl: 15 }"),
      ["12: tenants.acme.rules[0].limits.ttl: Invalid input: expected string, received number"],
    ],
    [
      "another unit",
      head + rule("limits: { ttl: 15y }"),
      ["12: tenants.acme.rules[0].limits.ttl: a number and its unit, such as 15m"],
    ],
    [
      "an unknown action",
      head + rule(`effect: deny`).replace("[issue]", "[isue]"),
      [
        expect.stringMatching(
          /^12: tenants\.acme\.rules\[0\]\.actions\[0\]: Invalid option: expected one of "issue"\|/,
        ) as unknown as string,
      ],
    ],
    [
      "no claim that says whose",
      head.replace("{ repository: acme/ops }", "{}"),
      [
        expect.stringMatching(/^10: .*: name at least one claim/) as unknown as string,
        "11: tenants.acme.rules: Invalid input: expected array, received null",
      ],
    ],
    [
      "aliases that multiply",
      `a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c, *c]\n`,
      ["1: its aliases make it too large; write the repeated parts out"],
    ],
  ])("%s", (_, text, faults) => {
    expect(faultsOf(text)).toEqual(faults);
  });

  test("everything that is wrong is said at once, in the order of the lines", () => {
    expect(
      faultsOf(
        `${head.replace("version: 1", "version: 0")}${rule("unless: 1")}${rule("limits: { ttl: 1 }")}`,
      ).map((fault) => fault.split(":")[0]),
    ).toEqual(["1", "12", "13"]);
  });
});

describe("issuers and tenants", () => {
  const other = (claims: string, issuer = "github") =>
    `${head}${rule("effect: allow")}  rival:\n    principals:\n      - { issuer: ${issuer}, claims: ${claims}, roles: [requester] }\n    rules: []\n`;
  const ambiguous = "15: a token can fit both acme and rival: their claims do not exclude each other";

  test.each([
    ["{ repository_owner: acme }", [ambiguous]],
    ["{ repository_owner: a* }", [ambiguous]],
    ["{ ref: refs/heads/main }", [ambiguous]],
    ["{ repository_owner: [rival, acme], ref: main }", [ambiguous]],
    ["{ repository_owner: rival }", [ambiguous]],
    ["{ repository_owner: rival, repository: rival/* }", []],
    ["{ repository_owner: r*, repository: '*/site' }", []],
  ])("that tell tokens apart by %s", (claims, faults) => {
    // repository: acme/ops alone does not say whose it is.
    expect(faultsOf(other(claims))).toEqual(faults);
  });

  test.each([
    ["{ kubernetes.io: { namespace: rival } }", []],
    ["{ kubernetes.io: { namespace: acme-1 } }", [ambiguous]],
    ["{ kubernetes.io: { namespace: '*-1' } }", [ambiguous]],
    ["{ kubernetes.io.namespace: rival }", [ambiguous]],
  ])("that tell service accounts apart by %s", (claims, faults) => {
    expect(faultsOf(other(claims, "cluster"))).toEqual(faults);
  });

  test.each([
    [
      "https://token.actions.githubusercontent.com }",
      "http://token.example }",
      "3: github: the issuer's URL must be https",
    ],
    [
      "https://kubernetes.example/openid/v1/jwks",
      "http://10.0.0.1/jwks",
      "4: cluster: the URL of the keys must be https",
    ],
    [
      "https://kubernetes.example,",
      "https://token.actions.githubusercontent.com,",
      "4: cluster: github is the same issuer",
    ],
    [
      "keys:",
      'prefix: "github:ci:", keys:',
      "4: cluster: could name the same principals as github; give each a prefix",
    ],
    [
      "keys:",
      'prefix: "", keys:',
      "4: cluster: could name the same principals as github; give each a prefix",
    ],
    ["issuer: cluster,", "issuer: clutter,", '9: there is no issuer "clutter"'],
  ])("%s turned into %s", (from, to, fault) => {
    expect(faultsOf(head.replace(from, to) + rule("effect: allow"))).toEqual([fault]);
  });
});

describe("a rule that never decides", () => {
  const wide = named("wide", `actions: [issue, redeem], secrets: ["env://**"]`);
  const never = (line: number, name: string, why: string) => `${line}: "${name}" never decides: ${why}`;
  test.each<[string, string, string[]]>([
    ["after one that allows more", wide + rule(""), [never(13, "first", '"wide" always comes first')]],
    ["before it, it does", rule("") + wide, []],
    [
      "for everybody, after one for some, it does",
      `${named("some", `actions: [issue], who: { ref: main }, secrets: ["env://A"]`)}${rule("")}`,
      [],
    ],
    [
      "for some, after one for more of them",
      named("more", `actions: [issue], who: { ref: ["m*", dev] }, secrets: ["env://*"]`) +
        rule("who: { ref: main, job: test }"),
      [never(13, "first", '"more" always comes first')],
    ],
    [
      "where what denies is anywhere",
      rule("") + named("no", `effect: deny, actions: [issue], secrets: ["env://*"]`),
      [never(12, "first", '"no" always comes first')],
    ],
    [
      "where only one of its actions is covered, it does",
      named("no", `effect: deny, actions: [redeem], secrets: ["**"]`) + wide,
      [],
    ],
    [
      "where each of its secrets is covered by another",
      named("a", `actions: [issue], secrets: ["env://A*"]`) +
        named("b", `actions: [issue], secrets: ["env://B*"]`) +
        named("both", `actions: [issue], secrets: ["env://AA", "env://BB"]`),
      [never(14, "both", '"a" always comes first')],
    ],
    [
      "about people whom the tenant does not have",
      rule("who: { repository_owner: rival, repository: rival/x, kubernetes.io: { namespace: x } }"),
      [never(12, "first", "no principal of the tenant has these claims")],
    ],
    [
      "about what nobody there may do",
      named("x", `actions: [wrap, check], who: { repository: acme/ops }, secrets: ["**"]`)
        .replace('"**"', '"env://*"')
        .replace("repository: acme/ops", "kubernetes.io: { namespace: acme-1 }, repository_owner: [rival]"),
      [never(12, "x", "no principal that the rule matches has a role that allows to wrap")],
    ],
  ])("%s", (_, rules, faults) => {
    expect(faultsOf(head + rules)).toEqual(faults);
  });
});

describe("schemes whose names say little", () => {
  const allowed = (secret: string) => faultsOf(head + named("x", `actions: [issue], secrets: [${secret}]`));
  const denied = (secret: string) =>
    faultsOf(head + named("x", `effect: deny, actions: [issue], secrets: [${secret}]`));

  test.each(['"**"', '"cmd://**"', '"cmd://ls *"', '"c*://ls"', '"**/ls"'])(
    "allowing %s would allow commands unseen",
    (secret) => {
      expect(allowed(secret)).toEqual([
        expect.stringMatching(/^12: "x" would allow commands that it does not spell out/),
      ]);
    },
  );

  test.each(['"aws+sm://prod/db?stage=AWSPREVIOUS"', '"aws+ps:///prod/db?region=us-east-1"'])(
    "allowing %s is clear, because it allows no more",
    (secret) => {
      expect(allowed(secret)).toEqual([]);
    },
  );

  test.each(['"cmd://ls"', '{ exact: "cmd://ls *" }', '"env://**"', '"vault://**"', '"op://Prod/**"'])(
    "allowing %s is clear",
    (secret) => {
      expect(allowed(secret)).toEqual([]);
    },
  );

  test.each([
    '"op://Prod/**"',
    '"op://*/*/password"',
    `"op://${vaultId}"`,
    '"o**"',
    '{ exact: "op://a/b/c" }',
    `"op://${vaultId}/x/**"`,
  ])("denying %s can be had around", (secret) => {
    expect(denied(secret)).toEqual([expect.stringMatching(/^12: "x" denies op:\/\/ by a name/)]);
  });

  test.each([
    ['"aws+sm://prod/db?version=1"', "denies aws\\+sm:// in one version"],
    ['"aws+sm://prod/*?stage=AWSPREVIOUS"', "denies aws\\+sm:// in one version"],
    ['"aws+sm://prod/db?region=eu-west-1"', "denies aws\\+sm:// in one version"],
    ['"aws+sm://prod/db?version=1&field=a"', "denies aws\\+sm:// in one version"],
    ['"aws+sm://prod/**field=a"', "denies aws\\+sm:// in one version"],
    ['"aws+ps:///prod/db?version=1"', "denies aws\\+ps:// in one version"],
    ['"aws+ps://prod/**"', "begins the name of a parameter without its slash"],
    ['"aws+ps://*"', "begins the name of a parameter without its slash"],
    ['{ exact: "aws+ps://token" }', "begins the name of a parameter without its slash"],
  ])("denying %s misses the same secret: %s", (secret, said) => {
    expect(denied(secret)).toEqual([expect.stringMatching(`^12: "x" ${said}`)]);
  });

  test.each(['"aws+ps://prod/**"', '"aws+ps://*"'])("allowing %s would allow nothing", (secret) => {
    expect(allowed(secret)).toEqual([expect.stringContaining("without its slash")]);
  });

  test.each([
    '"aws+sm://prod/**"',
    '"aws+sm://prod/db?field=pass*"',
    '"aws+ps:///prod/**"',
    '"aws+ps://**"',
    '"aws+**"',
    '"**"',
    '"op://**"',
    `"op://${vaultId}/**"`,
    `"op://*/${vaultId}/**"`,
    '"cmd://**"',
    '"vault://**"',
  ])("denying %s is clear", (secret) => {
    expect(denied(secret)).toEqual([]);
  });
});

describe("secrets, and where a rule is about none", () => {
  const body = (text: string) => faultsOf(head + named("x", text));
  const needs = (what: string) => [`12: "x" needs secrets, because it is about ${what}`];
  const none =
    '12: "x" has secrets, but audit.read is about none: give it a rule of its own, without secrets';
  test.each<[string, string[]]>([
    ["actions: [audit.read], who: { repository: acme/ops }", []],
    ["effect: deny, actions: [audit.read], who: { repository: acme/ops }", []],
    ["actions: [inspect, revoke, audit.read], who: { repository: acme/ops }", []],
    ["actions: [issue]", needs("issue")],
    ["actions: [issue, revoke]", needs("issue")],
    ["effect: deny, actions: [wrap, redeem]", needs("wrap and redeem")],
    ['actions: [audit.read], who: { repository: acme/ops }, secrets: ["**"]', [none]],
    ['actions: [audit.read], who: { repository: acme/ops }, secrets: [{ exact: "**" }]', [none]],
    // Nobody gets a value by it, so that no command has to be spelled out.
    ['actions: [inspect, revoke], who: { repository: acme/ops }, secrets: ["**"]', []],
  ])("%s", (text, faults) => {
    expect(body(text)).toEqual(faults);
  });

  test("one about all that there are does not come before one about none", () => {
    const all = named("all", `actions: [revoke], secrets: ["**"]`);
    expect(faultsOf(head + all + named("none", "actions: [revoke]"))).toEqual([]);
    expect(faultsOf(head + named("none", "actions: [revoke]") + all)).toEqual([
      '13: "all" never decides: "none" always comes first',
    ]);
  });
});

test.each([
  [
    rule("effect: deny, limits: { ttl: 1m }"),
    '12: "first" has limits, which only mean something where it allows to issue or wrap',
  ],
  [
    rule("limits: { ttl: 1m }").replace("[issue]", "[redeem]"),
    '12: "first" has limits, which only mean something where it allows to issue or wrap',
  ],
  [
    rule("effect: allow") + rule(`who: { ref: x }`).replace("env://A", "env://B"),
    '13: "first" is the name of another rule',
  ],
])("%s is a mistake", (rules, fault) => {
  expect(faultsOf(head + rules)).toEqual([fault]);
});

describe("keys of principals", () => {
  const member = (fields: string) =>
    faultsOf(head.replace(/roles: \[executor\].*/, `roles: [executor]${fields} }`) + rule("effect: allow"));
  const keys = `, proofKeys: [${"k".repeat(43)}]`;
  test.each<[string, string[]]>([
    ["", [expect.stringMatching(/^9: an executor needs proofKeys; .* confined: issuer for /)]],
    [keys, []],
    [", confined: issuer", []],
    [", confined: sealed", []],
    [", confined: true", [expect.stringMatching(/^9: .*confined: Invalid/)]],
    [", dangerouslyTokenAlone: true", []],
    [
      `${keys}, dangerouslyTokenAlone: true`,
      ["9: dangerouslyTokenAlone has no effect beside proofKeys or confined: remove it"],
    ],
    [
      ", confined: sealed, dangerouslyTokenAlone: true",
      ["9: dangerouslyTokenAlone has no effect beside proofKeys or confined: remove it"],
    ],
  ])("an executor with “%s”", (fields, faults) => {
    expect(member(fields)).toEqual(faults);
  });

  test.each([
    ["effect: deny, tokenAlone: true", "[revoke]"],
    ["tokenAlone: true", "[inspect]"],
  ])("tokenAlone is for what takes a proof: %s of %s", (fields, actions) => {
    const text = named("x", `${fields}, actions: ${actions}, who: { repository: acme/ops }`);
    expect(faultsOf(head + text)).toEqual([
      '12: "x" has tokenAlone, which only means something where it allows revoke or audit.read',
    ]);
  });
});

test("the published schema says of every field what it is", () => {
  expect(undescribed(policySchema())).toEqual([]);
});

describe("a long file is read in time that grows with its length", () => {
  const range = (count: number, line: (nth: number) => string) =>
    Array.from({ length: count }, (_, nth) => line(nth)).join("");
  const tenants = (claim: (nth: number) => string) =>
    `version: 1\nissuers:\n  ci: { issuer: https://ci.example }\ntenants:\n${range(
      3000,
      (nth) =>
        `  t${nth}:\n    principals: [{ issuer: ci, claims: { sub: "${claim(nth)}" }, roles: [requester] }]\n    rules: []\n`,
    )}`;
  const rules = (body: (nth: number) => string) =>
    head + range(3000, (nth) => named(`r${nth}`, `actions: [issue], ${body(nth)}`));
  test.each<[string, string]>([
    ["tenants by how a claim begins", tenants((nth) => `repo:org${nth}/*`)],
    ["tenants by how a claim ends", tenants((nth) => `*@${nth}.example`)],
    [
      "rules whose claims begin with a wildcard",
      rules((nth) => `who: { ref: "*/x-${nth}" }, secrets: ["vault://**"]`),
    ],
    ["rules whose secrets begin with a wildcard", rules((nth) => `secrets: ["vault://**/app-${nth}#key"]`)],
    ["rules that end with one too", rules((nth) => `secrets: ["vault://**/app-${nth}-*#*"]`)],
  ])("%s", (_, text) => {
    expect(faultsOf(text)).toEqual([]);
  });

  test("where nothing tells thousands of tenants apart, that is a fault, and does not take for ever", () => {
    const faults = faultsOf(tenants((nth) => `*x${nth}y*`));
    expect(faults).toHaveLength(100);
    expect(faults[0]).toContain("do not exclude each other");
  });
});

test("many tenants are compared in reasonable time: only those that could collide", () => {
  const tenants = Array.from(
    { length: 3000 },
    (_, index) =>
      `  t${index}:\n    principals: [{ issuer: ci, claims: { owner: o${index} }, roles: [requester] }]\n    rules: []\n`,
  );
  const text = `version: 1\nissuers:\n  ci: { issuer: https://ci.example }\ntenants:\n`;
  expect(faultsOf(text + tenants.join(""))).toEqual([]);
  const twin = `  twin:\n    principals: [{ issuer: ci, claims: { owner: o7, more: x }, roles: [requester] }]\n    rules: []\n`;
  expect(faultsOf(text + tenants.join("") + twin)).toEqual([expect.stringContaining("t7 and twin")]);
});
