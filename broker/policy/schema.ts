/** The policy file. This is its one definition: the loader, `claimcheck policy schema` and its readers go by it. */

import * as z from "zod/mini";
import { actions, type Role } from "../../shared/actions.ts";
import { described } from "../../shared/described.ts";
import { readDuration } from "../../shared/duration.ts";
import { record } from "../../shared/record.ts";
import { confinements, roles } from "../authn/roles.ts";

const duration = described(
  z.string().check(z.regex(/^[1-9][0-9]{0,5}[smhd]$/, { error: "a number and its unit, such as 15m" })),
  "A number and its unit: 30s, 15m, 2h, 1d.",
);

const name = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/));

const pattern = described(
  z.union([z.string().check(z.minLength(1), z.maxLength(8192)), z.strictObject({ exact: z.string() })], {
    error: "a text (numbers, true and false in quotes), or { exact: … }",
  }),
  "`*` matches any text without / and #, `**` matches any text. { exact: … } matches its text literally.",
);
const patterns = z.array(pattern).check(z.minLength(1));

const claimForm = "a text (numbers, true and false in quotes), a list of them, or the claims within this one";

/** One claim, and what it may be; or the claims within it. */
const Claim: z.ZodMiniType<ClaimInput> = z.lazy(() =>
  z.union(
    [
      pattern,
      patterns,
      // A claim called `exact` cannot be told from an exact text, and an empty one would ask for nothing.
      record(z.string(), Claim).check(
        z.refine((inner) => Object.keys(inner).length > 0 && !Object.hasOwn(inner, "exact"), {
          error: claimForm,
        }),
      ),
    ],
    { error: claimForm },
  ),
);
type ClaimInput = z.infer<typeof pattern> | z.infer<typeof patterns> | { [claim: string]: ClaimInput };
const claims = record(z.string(), Claim);

const IssuerEntry = z.strictObject({
  issuer: described(z.url(), "The `iss` of its tokens; https, or http on loopback."),
  keys: described(
    z.optional(z.url()),
    "The URL of the issuer's JWKS. By default the issuer's OpenID Connect discovery document gives it.",
  ),
  algorithms: described(
    z._default(
      z.array(
        z.enum(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]),
      ),
      ["RS256"],
    ),
    "The signature algorithms that the broker accepts from this issuer.",
  ),
  audience: described(
    z.optional(z.string().check(z.minLength(1))),
    "The audience that the issuer's tokens must name; the broker's URL by default.",
  ),
  skew: described(
    z._default(duration, "30s"),
    "The tolerated difference between the issuer's clock and the broker's.",
  ),
  prefix: described(
    z.optional(z.string()),
    "The text before the token's `sub` in a principal's name. By default the issuer's name in this file and a colon.",
  ),
});

const MemberEntry = z.strictObject({
  issuer: described(name, "One of `issuers`."),
  claims: described(
    claims.check(z.refine((value) => Object.keys(value).length > 0, { error: "name at least one claim" })),
    "The claims that a token must have, all of them. No token may match two tenants.",
  ),
  roles: described(
    z.array(z.enum(Object.keys(roles) as [Role, ...Role[]])).check(z.minLength(1)),
    "requester: issue, wrap, inspect, revoke. executor: redeem, check, inspect. operator: inspect, revoke, audit.read.",
  ),
  proofKeys: described(
    z.optional(z.array(z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/))).check(z.minLength(1))),
    "RFC 7638 thumbprints of the only keys by which it proves possession, as `claimcheck executor key` prints them. An executor needs one, unless it is `confined`.",
  ),
  confined: described(
    z.optional(z.enum(confinements)),
    "Its tokens have to name a key, and every request needs a proof by that key. issuer: as audience BROKER#jkt=THUMBPRINT, or in `cnf.jkt`. sealed: as a JWE to the broker is enough, where the issuer cannot. For jobs that redeem what they ask for themselves.",
  ),
  dangerouslyTokenAlone: described(
    z.optional(z.literal(true)),
    "For tests only. The token alone is then enough to redeem: everybody who sees the token, for example a proxy that ends TLS, can redeem with another key.",
  ),
});

const limitFields = {
  ttl: described(z.optional(duration), "The maximum lifetime of a handle; 15m by default."),
  uses: described(
    z.optional(z.int().check(z.positive(), z.maximum(1_000_000))),
    "The maximum number of redemptions of a handle; 1 by default.",
  ),
  audience: described(
    z.optional(patterns),
    "The principals that handles may name as audience. Without it, every principal of the tenant.",
  ),
  keyBinding: described(z.optional(z.boolean()), "Whether a handle must be bound to a key (`jkt`)."),
  cacheKeys: described(z.optional(patterns), "The cache keys that a request may name. Without it, none."),
  cache: described(
    z.optional(z.enum(["never"])),
    "`never`: results that are made with the secret are neither cached nor taken from a cache, because a hit tells that two values are equal. It counts in the rule that lets a handle be issued, and in the one that lets it be checked.",
  ),
  totpSeeds: described(
    z.optional(z.boolean()),
    "Whether op:// may give out what one-time passwords are made of, and not only `?attribute=otp`. Without it, no.",
  ),
};

const RuleEntry = z.strictObject({
  name: described(z.string().check(z.minLength(1), z.maxLength(256)), "The rule's name in the audit log."),
  effect: described(
    z._default(z.enum(["allow", "deny"]), "allow"),
    "A rule that denies wins over every rule that allows.",
  ),
  actions: described(z.array(z.enum(actions)).check(z.minLength(1)), "The actions that the rule is about."),
  who: described(
    z._default(claims, {}),
    "The claims that a token must have, all of them; of a claim that is a list, one member must match. Without it the rule is for every principal of the tenant.",
  ),
  secrets: described(
    z.optional(patterns),
    "Canonical URIs. A rule about inspect, revoke and audit.read alone needs none; it is then about all secrets of the tenant. Only a rule without `secrets` allows audit.read, and the revocation of a run, a principal or the whole tenant.",
  ),
  limits: z.optional(z.strictObject(limitFields)),
  tokenAlone: described(
    z.optional(z.literal(true)),
    "Whether it allows revoke and audit.read to a token without a proof, too. Without it, they need one by a key that the token or `proofKeys` names.",
  ),
});

const TenantEntry = z.strictObject({
  principals: described(z.array(MemberEntry).check(z.minLength(1)), "The principals of the tenant."),
  limits: z.optional(described(z.strictObject(limitFields), "The limits of rules that set none.")),
  rules: described(
    z.array(RuleEntry),
    "If several rules allow a request, the first one sets the limits. A request that no rule allows is denied.",
  ),
});

export const PolicyFile = described(
  z.strictObject({
    version: z.literal(1),
    issuers: described(
      record(name, IssuerEntry),
      "The issuers whose tokens the broker accepts, each under a name of your choice.",
    ),
    tenants: described(record(name, TenantEntry), "Groups of principals. Tenants share nothing."),
  }),
  "Claimcheck's policy: who may do what with which secrets.",
);

export type PolicyFile = z.infer<typeof PolicyFile>;
export type IssuerEntry = z.infer<typeof IssuerEntry>;
export type RuleEntry = z.infer<typeof RuleEntry>;
export type LimitFields = NonNullable<RuleEntry["limits"]>;

/** JSON Schema 2020-12, for editors: what may be written, defaults left out. */
export function policySchema(): object {
  return z.toJSONSchema(PolicyFile, { io: "input" });
}

/** @returns seconds. */
export const seconds = (text: z.infer<typeof duration>): number => readDuration(text) ?? 0;
