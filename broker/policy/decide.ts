/**
 * Who may do what with which secrets, and within which limits. Nothing is allowed that no rule allows; a rule
 * that denies beats all that allow. Among several that allow, the first in the file sets the limits.
 */

import type { Action } from "../../shared/actions.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { compileGlob, matches, type Pattern } from "../../shared/glob.ts";
import { splitSource } from "../../shared/source-name.ts";
import type { Caller } from "../authn/caller.ts";
import { type Condition, compileWho, holds, valuesOf, type Who } from "../authn/claims.ts";
import { roles } from "../authn/roles.ts";
import { atOnce } from "./paced.ts";
import { buildIndex, type RuleIndex } from "./rule-index.ts";
import type { SecretPattern, SecretPatterns } from "./secret-pattern.ts";

/** What gives nobody a value: a rule about these alone can leave out the secrets. */
export const caretaking: readonly Action[] = roles.operator;

/** What a token alone does not do, unless a rule says so: it could be anybody's who saw it. */
export const guarded: readonly Action[] = ["revoke", "audit.read"];

export interface Limits {
  /** The longest life of a handle, in seconds. */
  readonly ttl: number;
  readonly uses: number;
  /** Principals that handles may be for, as patterns; any of the tenant where it is missing. */
  readonly audience?: readonly Pattern[];
  /** Whether a handle must be bound to a key. */
  readonly keyBinding?: boolean;
  /** Cache keys that may be asked for, as patterns; none where it is missing. */
  readonly cacheKeys?: readonly Pattern[];
  /** Whether results that are made with the secret may be cached: a hit tells that two values are equal. */
  readonly cache?: "never";
  /** Whether what one-time passwords are made of is given out, and not only the passwords. */
  readonly totpSeeds?: boolean;
}

export interface Rule {
  /** The rule's name in the audit log. */
  readonly name: string;
  /** Whose principals it is about; everybody's where it is missing. */
  readonly tenant?: string;
  readonly effect: "allow" | "deny";
  readonly actions: readonly Action[];
  readonly who: Who;
  /** Over canonical URIs. Without them the rule is about every secret, and about requests that name none. */
  readonly secrets?: readonly Pattern[];
  readonly limits: Limits;
  /** Whether it allows what is guarded to a token alone. */
  readonly tokenAlone?: boolean;
}

export type Decision =
  | { readonly allowed: true; readonly rule: string; readonly limits: Limits }
  | { readonly allowed: false; readonly rule?: string };

/** A rule, ready to be asked. */
export interface CompiledRule {
  readonly rule: Rule;
  /** Its place in the file. */
  readonly order: number;
  readonly who: readonly Condition[];
  readonly secrets: readonly SecretPattern[];
}

export function compileRule(rule: Rule, order: number, patterns: SecretPatterns): CompiledRule {
  const secrets = (rule.secrets ?? ["**"]).map((pattern) => patterns.compile(pattern, rule.effect));
  return { rule, order, who: compileWho(rule.who), secrets };
}

export interface Policy {
  /** @param uri canonical; missing where the request names no secret: the audit log, or revoking many handles at once. */
  decide(caller: Caller, action: Action, uri?: string): Decision;
  /** Whether there is any secret for which a rule allows it: for requests that use up none of them. */
  decideForAny(caller: Caller, action: Action): Decision;
  /** The rules about this caller, in the order of the file; of each, the actions that its roles permit. */
  rulesAbout(caller: Caller): Rule[];
}

export const createPolicy = (rules: readonly Rule[], patterns: SecretPatterns): Policy =>
  atOnce(buildPolicy(rules.map((rule, order) => compileRule(rule, order, patterns))));

/** @param compiled their orders ascend within each tenant. */
export function* buildPolicy(compiled: readonly CompiledRule[]): Generator<void, Policy> {
  const byTenant = new Map<string | undefined, CompiledRule[]>();
  for (const each of compiled) {
    const own = byTenant.get(each.rule.tenant);
    if (own) own.push(each);
    else byTenant.set(each.rule.tenant, [each]);
  }
  const indexes = new Map<string | undefined, RuleIndex<CompiledRule>>();
  for (const [tenant, own] of byTenant) indexes.set(tenant, yield* buildIndex(own));
  const nobody: readonly CompiledRule[] = [];
  const rulesOf = (tenant: string | undefined) => byTenant.get(tenant) ?? nobody;

  return {
    decide(caller, action, uri) {
      if (!isPermitted(caller, action)) return { allowed: false };
      if (uri === undefined) {
        return decideWithoutSecret([...rulesOf(caller.tenant), ...rulesOf(undefined)], caller, action);
      }
      const named = splitSource(uri);
      let denying: CompiledRule | undefined;
      let allowing: CompiledRule | undefined;
      const consider = ({ rule: found, secret }: { rule: CompiledRule; secret: SecretPattern }) => {
        const { rule, order } = found;
        const best = rule.effect === "deny" ? denying : allowing;
        if (best && best.order <= order) return;
        if (!rule.actions.includes(action) || !secret.matches(named) || !isAbout(found, caller)) return;
        if (!isOpenTo(rule, caller, action)) return;
        if (rule.effect === "deny") denying = found;
        else allowing = found;
      };
      const valuesIn = (path: readonly string[]) => valuesOf(caller.claims, path);
      indexes.get(caller.tenant)?.visit(named.text, valuesIn, consider);
      indexes.get(undefined)?.visit(named.text, valuesIn, consider);
      return decision(denying, allowing);
    },

    decideForAny(caller, action) {
      if (!isPermitted(caller, action)) return { allowed: false };
      const fitting = fittingRules([...rulesOf(caller.tenant), ...rulesOf(undefined)], caller, action);
      return decision(
        fitting.find(({ rule }) => rule.effect === "deny" && (rule.secrets ?? ["**"]).includes("**")),
        fitting.find(({ rule }) => rule.effect === "allow"),
      );
    },

    rulesAbout: (caller) =>
      [...rulesOf(caller.tenant), ...rulesOf(undefined)]
        .filter((each) => isAbout(each, caller))
        .sort((a, b) => a.order - b.order)
        .map(({ rule }) => ({
          ...rule,
          actions: rule.actions.filter((action) => isPermitted(caller, action)),
        }))
        .filter(({ actions }) => actions.length > 0),
  };
}

const fittingRules = (rules: readonly CompiledRule[], caller: Caller, action: Action): CompiledRule[] =>
  rules
    .filter((each) => each.rule.actions.includes(action) && isAbout(each, caller))
    .filter(({ rule }) => isOpenTo(rule, caller, action))
    .sort((a, b) => a.order - b.order);

export function isPermitted({ roles: own }: Pick<Caller, "roles">, action: Action): boolean {
  return own.some((role) => (roles[role] as readonly Action[]).includes(action));
}

export function isAbout({ rule, who }: CompiledRule, caller: Caller): boolean {
  if (rule.tenant !== undefined && rule.tenant !== caller.tenant) return false;
  return who.every((condition) => holds(condition, caller.claims));
}

const isOpenTo = ({ effect, tokenAlone }: Rule, caller: Caller, action: Action): boolean =>
  effect === "deny" || tokenAlone || !guarded.includes(action) || isTrusted(caller);

/** Whether it is the caller who asks, and not somebody who saw its token. */
export const isTrusted = ({ proven, anyProofKey }: Caller): boolean => proven === true || anyProofKey;

/** The refusal of what a policy does not allow: without a proof, where one would have helped. */
export function refusalOf(policy: Policy, caller: Caller, action: Action, uri?: string): ClaimcheckError {
  const decision = policy.decide({ ...caller, proven: true }, action, uri);
  return decision.allowed
    ? new ClaimcheckError("proof_required")
    : new ClaimcheckError("forbidden", denial(decision));
}

/**
 * A request that names no secret is allowed by a rule that names none either, and denied by one about any secret: who
 * may not revoke one of the handles may not revoke all of them.
 */
function decideWithoutSecret(rules: readonly CompiledRule[], caller: Caller, action: Action): Decision {
  const fitting = fittingRules(rules, caller, action);
  return decision(
    fitting.find(({ rule }) => rule.effect === "deny"),
    fitting.find(({ rule }) => rule.effect === "allow" && rule.secrets === undefined),
  );
}

function decision(denying: CompiledRule | undefined, allowing: CompiledRule | undefined): Decision {
  if (denying) return { allowed: false, rule: denying.rule.name };
  if (!allowing) return { allowed: false };
  return { allowed: true, rule: allowing.rule.name, limits: allowing.rule.limits };
}

/** What the audit record of a denial says: which rule denied, where one did. */
export function denial({ rule }: Decision): { readonly reason: string; readonly rule?: string } {
  return rule === undefined ? { reason: "no_rule" } : { reason: "denied_by_rule", rule };
}

/** Whether a rule's limits let this cache key be asked for. */
export function allowsCacheKey({ cacheKeys = [] }: Limits, cacheKey: string): boolean {
  return cacheKeys.some((pattern) => matches(compileGlob(pattern), cacheKey));
}

/** Whether a rule's limits let handles be for this principal. */
export function allowsAudience({ audience = ["**"] }: Limits, principal: string): boolean {
  return audience.some((pattern) => matches(compileGlob(pattern), principal));
}
