/** The policy file. This is its one definition: the loader, `claimcheck policy schema` and its readers go by it. */

import * as z from "zod/mini";
import { described } from "../../shared/described.ts";
import { readDuration } from "../../shared/duration.ts";
import { record } from "../../shared/record.ts";
import { actions, confinements, type Role, roles } from "../authn/roles.ts";

const duration = described(
  z.string().check(z.regex(/^[1-9][0-9]{0,5}[smhd]$/, { error: "a number and its unit, such as 15m" })),
  "A number and its unit: 30s, 15m, 2h, 1d.",
);

const name = z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/));

const pattern = described(
  z.union([z.string().check(z.minLength(1), z.maxLength(8192)), z.strictObject({ exact: z.string() })], {
    error: "a text (numbers, true and false in quotes), or { exact: … }",
  }),
  "`*` is any text without / and #, `**` any text; { exact: … } is a text in which a star is a star.",
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
    "Where its JWKS is. Without it, its OpenID Connect discovery document says where.",
  ),
  algorithms: described(
    z._default(
      z.array(
        z.enum(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]),
      ),
      ["RS256"],
    ),
    "The only signatures that are accepted from it.",
  ),
  audience: described(
    z.optional(z.string().check(z.minLength(1))),
    "What its tokens' `aud` has to name. Without it, the broker's URL.",
  ),
  skew: described(z._default(duration, "30s"), "How far its clock may be from the broker's."),
  prefix: described(
    z.optional(z.string()),
    "What its principals are called in handles and in the audit log, before their `sub`. Without it, the issuer's name in this file and a colon.",
  ),
});

const MemberEntry = z.strictObject({
  issuer: described(name, "One of `issuers`."),
  claims: described(
    claims.check(z.refine((value) => Object.keys(value).length > 0, { error: "name at least one claim" })),
    "What has to be in the token, all of it. No token may fit two tenants.",
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
    "Makes its token alone worth its secrets: whoever sees the token, such as a proxy that ends TLS, redeems with a key of their own. For tests.",
  ),
});

const limitFields = {
  ttl: described(z.optional(duration), "The longest life of a handle. Without it 15m."),
  uses: described(
    z.optional(z.int().check(z.positive(), z.maximum(1_000_000))),
    "How often a handle may be redeemed. Without it 1.",
  ),
  audience: described(
    z.optional(patterns),
    "Principals that handles may be for. Without it, every principal of the tenant.",
  ),
  keyBinding: described(z.optional(z.boolean()), "Whether a handle has to be bound to a key (`jkt`)."),
  cacheKeys: described(z.optional(patterns), "Cache keys that may be asked for. Without it, none."),
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
  name: described(z.string().check(z.minLength(1), z.maxLength(256)), "What the audit log calls it."),
  effect: described(
    z._default(z.enum(["allow", "deny"]), "allow"),
    "A rule that denies beats all that allow.",
  ),
  actions: described(z.array(z.enum(actions)).check(z.minLength(1)), "What it is about."),
  who: described(
    z._default(claims, {}),
    "What has to be in the token, all of it; of a claim that is a list, one member. Without it, everybody of the tenant.",
  ),
  secrets: described(
    z.optional(patterns),
    "Canonical URIs. A rule about inspect, revoke and audit.read alone can do without, and is then about all of the tenant's: only such a rule allows audit.read, and revoking a run, a principal or the whole tenant.",
  ),
  limits: z.optional(z.strictObject(limitFields)),
  tokenAlone: described(
    z.optional(z.literal(true)),
    "Whether it allows revoke and audit.read to a token without a proof, too. Without it, they need one by a key that the token or `proofKeys` names.",
  ),
});

const TenantEntry = z.strictObject({
  principals: described(z.array(MemberEntry).check(z.minLength(1)), "Who belongs to it."),
  limits: z.optional(described(z.strictObject(limitFields), "For rules that do not say otherwise.")),
  rules: described(
    z.array(RuleEntry),
    "Among several that allow, the first sets the limits. Nothing else is allowed.",
  ),
});

export const PolicyFile = described(
  z.strictObject({
    version: z.literal(1),
    issuers: described(record(name, IssuerEntry), "Whose tokens are accepted, by names of your choice."),
    tenants: described(record(name, TenantEntry), "Groups of principals that share nothing with each other."),
  }),
  "Who may do what with which secrets, in Claimcheck.",
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
