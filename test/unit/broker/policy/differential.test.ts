/**
 * Random policy files through the loader, against an evaluator that shares no code with it: for every action, with a
 * secret and without one, the same answer by the same rule within the same limits, and `explain` says so too.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { prepare, recognise } from "../../../../broker/authn/authenticate.ts";
import type { Caller } from "../../../../broker/authn/caller.ts";
import { remoteKeys } from "../../../../broker/authn/issuer-keys.ts";
import type { Rule } from "../../../../broker/policy/decide.ts";
import { explain } from "../../../../broker/policy/explain.ts";
import type { LoadedPolicy } from "../../../../broker/policy/file.ts";
import { type Action, actions, type Role } from "../../../../shared/actions.ts";
import { createLinearPolicy } from "../../../support/linear-policy.ts";
import { loadPolicy } from "../../../support/policy.ts";

const issuer = "https://ci.example";
/** What the file says of these principals, and what they are by it. */
const kinds: Record<string, readonly Role[]> = {
  job: ["requester"],
  host: ["executor"],
  ops: ["operator"],
  all: ["requester", "executor", "operator"],
};
const tenants = ["acme", "rival"] as const;

const text = fc.constantFrom("a", "ab", "b", "a/b", "7");
const pattern = fc.oneof(text, fc.constantFrom("a*", "*b", "a/**", "**", "*/*", "b*"));
const who = fc.record(
  { kind: fc.constantFrom("all", "*", "a*", "*l"), ref: pattern, run: fc.record({ id: pattern }) },
  { requiredKeys: [] },
);
const secret = fc.constantFrom(
  "env://A",
  "env://**",
  "env://*",
  "vault://**",
  "vault://a/b#k",
  "vault://a/**",
  "**/b#k",
  "**",
);
const withoutSecrets = fc.uniqueArray(fc.constantFrom<Action>("inspect", "revoke", "audit.read"), {
  minLength: 1,
});
const withSecrets = fc.uniqueArray(fc.constantFrom(...actions.filter((action) => action !== "audit.read")), {
  minLength: 1,
  maxLength: 4,
});
const effect = fc.constantFrom("allow", "allow", "deny");
const drawnRule = fc.oneof(
  { arbitrary: fc.record({ effect, actions: withoutSecrets, who }), weight: 5 },
  {
    arbitrary: fc.record({
      effect,
      actions: withSecrets,
      who,
      secrets: fc.uniqueArray(secret, { minLength: 1, maxLength: 2 }),
    }),
    weight: 10,
  },
  // Some that cannot be taken.
  { arbitrary: fc.record({ effect, actions: fc.constant<Action[]>(["issue"]), who }), weight: 1 },
  {
    arbitrary: fc.record({
      effect,
      actions: fc.constant<Action[]>(["audit.read"]),
      who,
      secrets: fc.constant(["**"]),
    }),
    weight: 1,
  },
);
type DrawnRule = Omit<Rule, "name" | "limits" | "effect"> & { readonly effect: string };
interface NamedRule extends DrawnRule {
  readonly name: string;
  readonly limits?: { readonly ttl: string; readonly uses: number };
}
const drawn = fc.record({
  acme: fc.array(drawnRule, { minLength: 3, maxLength: 9, size: "max" }),
  rival: fc.array(drawnRule, { maxLength: 3 }),
});

const claims = fc.record(
  {
    sub: fc.constant("somebody"),
    owner: fc.constantFrom(...tenants),
    kind: fc.constantFrom(...Object.keys(kinds), "all", "all"),
    ref: fc.oneof(text, fc.array(text, { maxLength: 2 })),
    run: fc.record({ id: fc.oneof(text, fc.constant(7)) }),
  },
  { requiredKeys: ["sub", "owner", "kind"] },
);
const uris = ["env://A", "env://B", "vault://a/b#k", "vault://a/c/b#k", "wrap://A"];

type File = Record<(typeof tenants)[number], NamedRule[]>;

const nameRules = (rules: readonly DrawnRule[], tenant: string): NamedRule[] =>
  rules.map((rule, index) => ({
    name: `${tenant} ${index}.`,
    ...rule,
    ...(rule.effect === "allow" &&
      rule.actions.includes("issue") && { limits: { ttl: `${index + 1}s`, uses: index + 1 } }),
  }));

const textOf = (rules: File): string =>
  JSON.stringify({
    version: 1,
    issuers: { ci: { issuer } },
    tenants: Object.fromEntries(
      tenants.map((tenant) => {
        const principals = Object.entries(kinds).map(([kind, roles]) => ({
          issuer: "ci",
          claims: { owner: tenant, kind },
          roles,
          ...(roles.includes("executor") && { dangerouslyTokenAlone: true }),
        }));
        return [tenant, { principals, rules: rules[tenant] }];
      }),
    ),
  });

/** Takes away what the loader names, until it takes the rest. What never decides stays for the other evaluator. */
function load(all: File): { loaded: LoadedPolicy; asked: File; refused: number } {
  let rules = all;
  let asked = all;
  let refused = 0;
  for (;;) {
    const loaded = loadPolicy(textOf(rules), remoteKeys);
    if (!("faults" in loaded)) return { loaded, asked, refused };
    const without = (from: File, names: readonly string[]): File => ({
      acme: from.acme.filter(({ name }) => !names.includes(name)),
      rival: from.rival.filter(({ name }) => !names.includes(name)),
    });
    const named = (faults: readonly { message: string }[]) =>
      faults.map(({ message }) => /^"(.+?)"/.exec(message)?.[1] ?? message);
    // Where only one of its actions is idle, a rule still decides about the others.
    const idle = /never decides: ("|no principal)/;
    const wrong = named(loaded.faults.filter(({ message }) => !idle.test(message)));
    rules = without(rules, wrong.length > 0 ? wrong : named(loaded.faults));
    asked = without(asked, wrong);
    refused += loaded.faults.length;
  }
}

test("what a file allows is what an evaluator of its own makes of its rules, for every action", () => {
  const met = new Map<string, number>();
  let refusals = 0;
  fc.assert(
    fc.property(drawn, fc.array(claims, { minLength: 4, maxLength: 8 }), (file, tokens) => {
      const { loaded, asked, refused } = load({
        acme: nameRules(file.acme, "acme"),
        rival: nameRules(file.rival, "rival"),
      });
      refusals += refused;
      const linear = createLinearPolicy(
        tenants.flatMap((tenant) =>
          asked[tenant].map((rule): Rule => {
            const ttl = rule.limits ? Number.parseInt(rule.limits.ttl, 10) : 900;
            const effect = rule.effect === "deny" ? "deny" : "allow";
            return { ...rule, effect, tenant, limits: { ttl, uses: rule.limits?.uses ?? 1 } };
          }),
        ),
      );
      for (const token of tokens) {
        const own = { tenant: token.owner, roles: kinds[token.kind]!, claims: { iss: issuer, ...token } };
        const known = recognise(own.claims, prepare(loaded.issuers[0]!));
        const caller: Caller = { ...known, accessToken: "", proven: true };
        expect(caller).toMatchObject(own);
        for (const action of actions) {
          for (const uri of action === "audit.read" ? [undefined] : [...uris, undefined]) {
            const expected = linear.decide({ ...caller, ...own }, action, uri);
            expect(loaded.policy.decide(caller, action, uri)).toEqual(expected);
            const told = explain(loaded, { claims: own.claims, action, ...(uri !== undefined && { uri }) });
            const verdict = expected.allowed ? "allowed by" : expected.rule ? "denied by" : "denied: no rule";
            expect(told.allowed).toBe(expected.allowed);
            expect(told.text.split("\n")[0]).toBe(
              expected.rule ? `${verdict} "${expected.rule}"` : "denied: no rule allows it",
            );
            const what = `${verdict} ${action} ${uri === undefined ? "without" : "with"}`;
            met.set(what, (met.get(what) ?? 0) + 1);
          }
        }
      }
    }),
    { numRuns: 250 },
  );
  // A generator that never comes to a case proves nothing about it.
  const about = actions.flatMap((action) => [
    ...(action === "audit.read" ? [] : [`${action} with`]),
    ...(action === "audit.read" || action === "revoke" ? [`${action} without`] : []),
  ]);
  const rare = about.flatMap((what) =>
    ["allowed by", "denied by", "denied: no rule"]
      .filter((verdict) => (met.get(`${verdict} ${what}`) ?? 0) < 5)
      .map((verdict) => `${verdict} ${what}`),
  );
  expect(rare).toEqual([]);
  expect(refusals).toBeGreaterThan(100);
});
