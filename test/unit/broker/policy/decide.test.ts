import { describe, expect, test } from "vitest";
import type { Caller } from "../../../../broker/authn/caller.ts";
import type { Claims, Who } from "../../../../broker/authn/claims.ts";
import { allowsCacheKey, type Rule } from "../../../../broker/policy/decide.ts";
import { type Action, actions, type Role } from "../../../../shared/actions.ts";
import { allow, deny } from "../../../support/broker.ts";
import { createPolicy } from "../../../support/policy.ts";

const caller = (principal = "ci"): Caller => ({
  tenant: "acme",
  principal,
  accessToken: "",
  claims: { sub: principal },
  roles: ["requester", "executor", "operator"],
  proofKeys: [],
  anyProofKey: false,
  proven: true,
});

describe("a pattern over secrets", () => {
  const yes = true;
  const no = false;
  test.each([
    ["env://API_TOKEN", "env://API_TOKEN", yes],
    ["env://API_TOKEN", "env://API_TOKEN2", no],
    ["env://API_TOKEN", "xenv://API_TOKEN", no],
    ["env://api_token", "env://API_TOKEN", no],
    ["env://CI_*", "env://CI_TOKEN", yes],
    ["env://CI_*", "env://CI_", yes],
    ["env://CI_*", "env://PROD_TOKEN", no],
    ["vault://secret/*", "vault://secret/app", yes],
    ["vault://secret/*", "vault://secret/app/db", no],
    ["vault://secret/*", "vault://secret/app#password", no],
    ["vault://secret/*#*", "vault://secret/app#password", yes],
    ["vault://secret/*/db#password", "vault://secret/app/db#password", yes],
    ["vault://secret/**", "vault://secret/app/db#password", yes],
    ["vault://secret/**", "vault://secret", no],
    ["vault://**/db#*", "vault://a/b/c/db#user", yes],
    ["**", "anything://at/all#x", yes],
    ["*", "env://A", no],
    ["env://A.B", "env://AxB", no],
    ["env://A+", "env://AA", no],
    ["env://(A|B)", "env://A", no],
    ["env://[A]", "env://A", no],
    ["env://A$", "env://A", no],
    ["cmd://a\\d", "cmd://a1", no],
    ["cmd://a\\d", "cmd://a\\d", yes],
    ["cmd://echo **", "cmd://echo a\nb", yes],
    ["cmd://echo a", "cmd://echo a\n", no],
    ["env://A", "env://B\nenv://A", no],
  ])("%j on %j: %j", (pattern, uri, allowed) => {
    expect(createPolicy([allow([pattern])]).decide(caller(), "issue", uri).allowed).toBe(allowed);
  });
});

describe("a pattern over principals", () => {
  test.each([
    ["ci", "ci", true],
    ["ci", "ci2", false],
    ["repo:acme/*", "repo:acme/site", true],
    ["repo:acme/*", "repo:acme/site/ref", false],
    ["repo:acme/**", "repo:acme/site/ref", true],
    ["repo:acme/*", "repo:evil/site", false],
  ])("%s on %s: %j", (pattern, principal, allowed) => {
    const policy = createPolicy([allow(["**"], { principals: [pattern] })]);
    expect(policy.decide(caller(principal), "issue", "env://A").allowed).toBe(allowed);
  });
});

describe("deciding", () => {
  const uri = "env://PROD_TOKEN";
  const everything = allow(["**"]);
  const production = deny(["env://PROD_*"]);

  test("allows nothing without a rule", () => {
    expect(createPolicy([]).decide(caller(), "issue", uri)).toEqual({ allowed: false });
  });

  test.each([
    ["before", [production, everything]],
    ["after", [everything, production]],
  ])("lets a rule that denies %s one that allows win, and names it", (_, rules) => {
    expect(createPolicy(rules).decide(caller(), "issue", uri)).toEqual({
      allowed: false,
      rule: production.name,
    });
  });

  test("denies only those whom the denying rule is about", () => {
    const rules = [everything, deny(["**"], { principals: ["intruder"] })];
    expect(createPolicy(rules).decide(caller("ci"), "issue", uri).allowed).toBe(true);
    expect(createPolicy(rules).decide(caller("intruder"), "issue", uri).allowed).toBe(false);
  });

  test.each([
    ["issue", "redeem"],
    ["redeem", "issue"],
  ] as const)("does not take a right to %s for one to %s", (given, asked) => {
    const policy = createPolicy([allow(["**"], { actions: [given] })]);
    expect(policy.decide(caller(), given, uri).allowed).toBe(true);
    expect(policy.decide(caller(), asked, uri).allowed).toBe(false);
  });

  test("takes the limits of the first rule that allows", () => {
    const strict = allow(["env://PROD_*"], { name: "strict", limits: { ttl: 60, uses: 1 } });
    expect(createPolicy([strict, everything]).decide(caller(), "issue", uri)).toEqual({
      allowed: true,
      rule: "strict",
      limits: { ttl: 60, uses: 1 },
    });
    expect(createPolicy([everything, strict]).decide(caller(), "issue", uri)).toMatchObject({
      rule: everything.name,
    });
  });
});

describe("a role", () => {
  const anything = createPolicy([allow(["**"])]);
  test.each<[Role, Action[]]>([
    ["requester", ["issue", "wrap", "inspect", "revoke"]],
    ["executor", ["redeem", "check", "inspect"]],
    ["operator", ["inspect", "revoke", "audit.read"]],
  ])("of %s may only %j, though a rule allows everything", (role, permitted) => {
    const asking = { ...caller(), roles: [role] };
    expect(actions.filter((action) => anything.decide(asking, action, "env://A").allowed)).toEqual(
      actions.filter((action) => permitted.includes(action)),
    );
  });
});

describe("a request that names no secret", () => {
  test.each<[string, Rule[], boolean]>([
    ["is allowed by a rule that names none", [allow(undefined)], true],
    ["is not allowed by a rule about some", [allow(["env://**"])], false],
    ["is not allowed by a rule about all that there are", [allow(["**"])], false],
    ["is denied by a rule about some", [allow(undefined), deny(["env://A"])], false],
    ["is denied by a rule that names none", [allow(undefined), deny(undefined)], false],
    [
      "is not denied to those whom a rule is not about",
      [allow(undefined), deny(["**"], { principals: ["x"] })],
      true,
    ],
    ["is not allowed in another tenant", [allow(undefined, { tenant: "rival" })], false],
  ])("%s", (_, rules, allowed) => {
    expect(createPolicy(rules).decide(caller(), "revoke").allowed).toBe(allowed);
  });
});

describe("a rule that denies op:// by ids", () => {
  const [vault, item, other] = ["a", "b", "c"].map((letter) => letter.repeat(26)) as [string, string, string];
  const policy = createPolicy([allow(["**"]), deny([`op://${vault}/${item}/**`])]);
  test.each([
    [`op://${vault}/${item}/password`, false],
    [`op://${vault}/${item}/section/password`, false],
    [`op://${vault}/${other}/password`, true],
    [`op://${other}/${item}/password`, true],
    // Names: each may be another word for the pinned id.
    ["op://Prod/Database/password", false],
    [`op://${vault}/Database/password`, false],
    [`op://prod/${item}/password`, false],
    [`op://Prod/${other}/password`, true],
    ["env://A", true],
  ])("%s is allowed: %j", (uri, allowed) => {
    expect(policy.decide(caller(), "issue", uri).allowed).toBe(allowed);
  });
});

describe("claims", () => {
  const decide = (who: Who, claims: Claims) =>
    createPolicy([{ ...allow(["**"]), who }]).decide({ ...caller(), claims }, "issue", "env://A").allowed;
  test.each<[Who, Claims, boolean]>([
    [{}, {}, true],
    [{ ref: "main" }, { ref: "main" }, true],
    [{ ref: "main" }, {}, false],
    [{ ref: "main", job: "test" }, { ref: "main" }, false],
    [{ ref: ["main", "dev"] }, { ref: "dev" }, true],
    [{ number: "7" }, { number: 7 }, true],
    [{ protected: "true" }, { protected: true }, true],
    [{ groups: "devs" }, { groups: ["ops", "devs"] }, true],
    [{ groups: "devs" }, { groups: [["devs"]] }, false],
    [{ k: { ns: "ci" } }, { k: { ns: "ci" } }, true],
    [{ k: { ns: "ci" } }, { "k.ns": "ci" }, false],
    [{ k: { ns: "ci" } }, { k: "ci" }, false],
    [{ toString: "**" }, {}, false],
    [{ k: { constructor: "**" } }, { k: {} }, false],
    [{ ref: { exact: "a*" } }, { ref: "a*" }, true],
    [{ ref: { exact: "a*" } }, { ref: "ab" }, false],
    [{ ref: "**" }, { ref: null }, false],
  ])("who %j, claims %j: %j", (who, claims, allowed) => {
    expect(decide(who, claims)).toBe(allowed);
  });
});

describe("cache keys", () => {
  test.each([
    [undefined, "any", false],
    [[], "any", false],
    [["npm-*"], "npm-token", true],
    [["npm-*"], "pip-token", false],
    [["npm-*"], "npm-a/b", false],
    [["npm-**"], "npm-a/b", true],
    [["a", "b"], "b", true],
    [["a"], "ab", false],
  ])("of a rule that names %j: %s is allowed: %j", (cacheKeys, cacheKey, allowed) => {
    const limits = { ttl: 60, uses: 1, ...(cacheKeys && { cacheKeys }) };
    expect(allowsCacheKey(limits, cacheKey)).toBe(allowed);
  });
});
