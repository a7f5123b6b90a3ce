/** The index gives the decisions of the plain way, whatever the rules. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Caller } from "../../../../broker/authn/caller.ts";
import type { Who } from "../../../../broker/authn/claims.ts";
import { roles } from "../../../../broker/authn/roles.ts";
import type { Rule } from "../../../../broker/policy/decide.ts";
import { actions, type Role } from "../../../../shared/actions.ts";
import { createLinearPolicy } from "../../../support/linear-policy.ts";
import { createPolicy } from "../../../support/policy.ts";

const part = fc.constantFrom("app", "apple", "db", "*", "**", "a*", "x");
const secret = fc
  .tuple(fc.constantFrom("vault://", "env://", "**", ""), fc.array(part, { minLength: 1, maxLength: 3 }))
  .map(([scheme, parts]) => `${scheme}${parts.join("/")}`);
const uri = fc
  .tuple(
    fc.constantFrom("vault://", "env://"),
    fc.array(fc.constantFrom("app", "apple", "db", "x", "ap"), { minLength: 1, maxLength: 3 }),
  )
  .map(([scheme, parts]) => `${scheme}${parts.join("/")}`);

const claim = fc.constantFrom("main", "dev", "acme/site", "acme/shop", "acme/s", "acme/*", "7");
const wish = fc.oneof(
  claim,
  // Beginnings of claims, and of each other.
  fc.constantFrom("acme/*", "acme/s*", "acme/**", "acme/si*e", "a**", "main*", "m*", "7*", "*site", "**"),
  fc.constantFrom({ exact: "acme/site" }, { exact: "acme/*" }),
  fc.array(fc.oneof(claim, fc.constantFrom("acme/s*", "acme/shop*", "d**", "*")), {
    minLength: 1,
    maxLength: 3,
  }),
);
const who: fc.Arbitrary<Who> = fc.record(
  { ref: wish, repository: wish, run: wish, kubernetes: fc.record({ namespace: wish }) },
  { requiredKeys: [] },
);
const claims = fc.record(
  {
    ref: fc.oneof(claim, fc.array(claim, { maxLength: 2 })),
    repository: claim,
    run: fc.oneof(claim, fc.constant(7), fc.constant(null)),
    kubernetes: fc.record({ namespace: claim }),
  },
  { requiredKeys: [] },
);

const tenant = fc.constantFrom("acme", "rival");
const rule = fc.record({
  tenant: fc.option(tenant, { nil: undefined }),
  effect: fc.constantFrom("allow" as const, "allow" as const, "deny" as const),
  actions: fc.uniqueArray(fc.constantFrom(...actions), { minLength: 1, maxLength: 5 }),
  who: fc.oneof(who, fc.constant({})),
  secrets: fc.array(secret, { minLength: 1, maxLength: 3 }),
});
const rules = fc.array(rule, { maxLength: 12 }).map((drawn) =>
  drawn.map(
    ({ tenant: own, ...rest }, index): Rule => ({
      name: `rule ${index}`,
      ...(own && { tenant: own }),
      ...rest,
      limits: { ttl: index + 1, uses: 1 },
    }),
  ),
);

const caller: fc.Arbitrary<Caller> = fc.record({
  tenant,
  principal: fc.constant("ci"),
  accessToken: fc.constant(""),
  claims,
  roles: fc.uniqueArray(fc.constantFrom(...(Object.keys(roles) as Role[])), { minLength: 1 }),
  proofKeys: fc.constant([]),
  anyProofKey: fc.constant(false),
  proven: fc.constant(true),
});

test("an indexed decision is the linear one: same answer, same rule, same limits", () => {
  let allowed = 0;
  let denied = 0;
  fc.assert(
    fc.property(rules, caller, fc.constantFrom(...actions), uri, (drawn, asking, action, wanted) => {
      const expected = createLinearPolicy(drawn).decide(asking, action, wanted);
      expect(createPolicy(drawn).decide(asking, action, wanted)).toEqual(expected);
      if (expected.allowed) allowed += 1;
      else if (expected.rule) denied += 1;
    }),
    { numRuns: 10_000 },
  );
  // A generator that never hits anything would prove nothing.
  expect(Math.min(allowed, denied)).toBeGreaterThan(100);
});
