/** Random rules, URIs and sources, by the real providers' canonical forms: a source that is added opens nothing. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Caller } from "../../../../broker/authn/caller.ts";
import type { Rule } from "../../../../broker/policy/decide.ts";
import { envProvider } from "../../../../broker/providers/env.ts";
import type { Provider } from "../../../../broker/providers/provider.ts";
import { vaultProvider } from "../../../../broker/providers/vault.ts";
import { createResolver } from "../../../../broker/resolve/resolver.ts";
import type { Source } from "../../../../broker/resolve/source.ts";
import { createPolicy } from "../../../support/policy.ts";

const tenant = "acme";
const caller: Caller = {
  tenant,
  principal: "ci:job",
  accessToken: "",
  claims: { sub: "job" },
  roles: ["requester"],
  proofKeys: [],
  anyProofKey: false,
};

const vault = vaultProvider({ server: { missing: "nothing is read here" } }) as unknown as Provider;
const env = envProvider({}) as unknown as Provider;
const sourcesOf = (names: readonly string[]): Source[] =>
  [vault, env].flatMap((provider) =>
    names.map((name) => ({
      name: `${provider.scheme}-${name}`,
      scheme: provider.scheme,
      tenants: [tenant],
      open: () => provider,
    })),
  );

const uri = fc.constantFrom(
  "vault://a/b#c",
  "vault://a/b#c?version=2",
  "vault://b#c?namespace=a",
  "vault://a/b.c",
  "env://A",
  "env://AB",
);
const text = fc.constantFrom(
  "vault://a/b#c",
  "vault://a/b#c?version=2",
  "vault://a/**",
  "vault://*/b#*",
  "vault://**",
  "env://A",
  "env://A*",
  "**",
);
/** Also of sources that there are not, or not yet. */
const named = fc.constantFrom("?source=*-one", "?source=*-two", "?source=vault-*", "?source=*");
const pattern = fc.oneof(
  text,
  fc
    .tuple(text, named)
    .map(([before, source]) => `${before}${before.includes("?") ? source.replace("?", "&") : source}`),
);
const rules = (over: fc.Arbitrary<string>) => fc.array(over, { minLength: 1, maxLength: 3 });

const ruleOf =
  (effect: Rule["effect"]) =>
  (secrets: string, index: number): Rule => ({
    name: `${effect} ${index}`,
    effect,
    actions: ["issue"],
    who: {},
    secrets: [secrets],
    limits: { ttl: 60, uses: 1, cacheKeys: [] },
  });

const canonicalsOf = (sources: readonly Source[], asked: string): string[] => {
  const resolver = createResolver(sources);
  const scheme = asked.slice(0, asked.indexOf("://"));
  return sources
    .filter((source) => source.scheme === scheme)
    .map(({ name }) => {
      const full = `${asked}${asked.includes("?") ? "&" : "?"}source=${name}`;
      return resolver.parse(tenant, sources.length > 2 ? full : asked).canonical;
    });
};

test("what a rule without a source denies stays denied, whichever source a URI names after a second was added", () => {
  fc.assert(
    fc.property(rules(pattern), rules(text), uri, (allowed, denied, asked) => {
      const policy = createPolicy([...allowed.map(ruleOf("allow")), ...denied.map(ruleOf("deny"))]);
      const decide = (canonical: string) => policy.decide(caller, "issue", canonical);
      const [before] = canonicalsOf(sourcesOf(["one"]), asked).map(decide);
      if (before?.allowed || !before?.rule?.startsWith("deny")) return;
      for (const after of canonicalsOf(sourcesOf(["one", "two"]), asked).map(decide)) {
        expect(after).toMatchObject({ allowed: false, rule: expect.stringMatching(/^deny/) });
      }
    }),
    { numRuns: 2000 },
  );
});

test("what is decided about one source is decided in the same way after a second was added", () => {
  fc.assert(
    fc.property(rules(pattern), fc.array(pattern, { maxLength: 3 }), uri, (allowed, denied, asked) => {
      const policy = createPolicy([...allowed.map(ruleOf("allow")), ...denied.map(ruleOf("deny"))]);
      const decide = (canonical: string) => policy.decide(caller, "issue", canonical);
      const [before] = canonicalsOf(sourcesOf(["one"]), asked);
      const [after] = canonicalsOf(sourcesOf(["one", "two"]), asked);
      expect(after).toBe(before);
      expect(decide(after as string)).toEqual(decide(before as string));
    }),
    { numRuns: 2000 },
  );
});
