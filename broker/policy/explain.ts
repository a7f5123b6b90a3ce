/** Why the policy decides as it does, in words, for people who write rules: the decision itself is the broker's own. */

import type { Action } from "../../shared/actions.ts";
import { asClaimcheckError } from "../../shared/errors.ts";
import { showPattern } from "../../shared/glob.ts";
import { printable, printableJson } from "../../shared/printable.ts";
import { splitSource, withSource } from "../../shared/source-name.ts";
import { prepare, recognise, subjectForm } from "../authn/authenticate.ts";
import type { Caller } from "../authn/caller.ts";
import { type Claims, type Condition, holds, holdsAlone, valuesOf } from "../authn/claims.ts";
import { roles } from "../authn/roles.ts";
import { type CompiledRule, guarded, isAbout, isPermitted, type Limits, type Rule } from "./decide.ts";
import type { LoadedPolicy } from "./file.ts";
import type { SecretPattern } from "./secret-pattern.ts";

export interface Question {
  /** As they stand in the token. */
  readonly claims: Claims;
  readonly action: Action;
  /** Canonical; missing for a request that names no secret. */
  readonly uri?: string;
}

/** Rules that would have allowed it but for a little, at most. */
const shownClose = 5;

export function explain(loaded: LoadedPolicy, question: Question): { allowed: boolean; text: string } {
  const caller = findCaller(loaded, question.claims);
  if (typeof caller === "string")
    return {
      allowed: false,
      text: lines("denied: no tenant has a principal that matches the token", [caller]),
    };
  const decision = loaded.policy.decide(caller, question.action, question.uri);
  const own = loaded.rules.filter(({ rule }) => rule.tenant === caller.tenant);
  const decisive = own.find(({ rule }) => rule.name === decision.rule);
  const fitting = own.filter((each) => misfits(each, caller, question).length === 0);
  const asked = [
    `as      ${printable(caller.principal)} of ${caller.tenant}, ${caller.roles.join(" and ")}`,
    `to      ${question.action} ${question.uri === undefined ? objectOf[question.action] : printable(question.uri)}`,
  ];
  const always = ownRight(caller, question);
  if (!decisive)
    return {
      allowed: false,
      text: lines("denied: no rule allows it", [...asked, ...close(own, caller, question), ...always]),
    };

  const others = fitting.filter((each) => each !== decisive && each.rule.effect === "allow");
  const reasons = [
    ...asked,
    `because ${[...decisive.who.map((condition) => says(condition, caller.claims)), why(decisive, question)].join(", ")}`,
  ];
  if (!decision.allowed) {
    const overruled = others.map(
      ({ rule }) => `        ${named(rule)} would allow it, but what denies comes first`,
    );
    return {
      allowed: false,
      text: lines(`denied by ${named(decisive.rule)}`, [...reasons, ...overruled, ...always]),
    };
  }
  const later = others.map(({ rule }) => `        ${named(rule)} allows it too, but comes later`);
  const { tokenAlone } = decisive.rule;
  const proof =
    guarded.includes(question.action) && !tokenAlone
      ? ["with    a proof by a key that the token or proofKeys names"]
      : [];
  const limited = question.action === "issue" || question.action === "wrap";
  const limits = limited ? [`limits  ${describe(decision.limits)}`] : [];
  return {
    allowed: true,
    text: lines(`allowed by ${named(decisive.rule)}`, [...reasons, ...limits, ...proof, ...later]),
  };
}

/** What a request without a URI is about. */
const objectOf: Partial<Record<Action, string>> = {
  revoke: "all handles of a run, of a principal or of the tenant",
  "audit.read": "the audit log",
};

const named = ({ name }: Rule) => `"${printable(name)}"`;

function why({ rule, secrets }: CompiledRule, { uri }: Question): string {
  if (!rule.secrets) return "the rule names no secrets and so is about all";
  if (uri === undefined) return "the rule is about some of the secrets";
  return `the secret fits ${showSecret(secrets.find((secret) => secret.matches(splitSource(uri))))}`;
}

/** What takes no rule, and what the policy therefore cannot tell. */
function ownRight(caller: Caller, { action, uri }: Question): string[] {
  if (action !== "inspect" && action !== "revoke") return [];
  const own = uri === undefined ? "its own handles, all of them" : "a handle that it asked for itself";
  return [`but     ${printable(caller.principal)} may always ${action} ${own}`];
}

const lines = (verdict: string, details: readonly string[]) =>
  `${[verdict, ...details.map((line) => `  ${line}`)].join("\n")}\n`;

/** The caller that such a token makes, or why it makes none. */
function findCaller({ issuers }: LoadedPolicy, claims: Claims): Caller | string {
  const issuer = issuers.find((each) => each.issuer === claims.iss);
  if (!issuer) return `the policy has no issuer ${printableJson(claims.iss ?? null)}`;
  const ready = prepare(issuer);
  try {
    // It is the claims that are asked about; what else the request needs is said beside.
    return { ...recognise(claims, ready), accessToken: "", proven: true };
  } catch (thrown) {
    if (asClaimcheckError(thrown).reason === "subject_invalid")
      return `its sub cannot be a name: ${subjectForm}`;
    const wanted = ready.members.map(({ tenant, conditions }) => {
      const missed = conditions.filter((condition) => !holdsAlone(condition, claims));
      return `${tenant} wants ${missed.map((condition) => wants(condition, claims)).join(", ")}`;
    });
    return wanted.slice(0, shownClose).join("\n  ") || "no tenant's policy accepts tokens of this issuer";
  }
}

/** Everything that keeps a rule from deciding this. */
function misfits(each: CompiledRule, caller: Caller, { action, uri }: Question): string[] {
  const { rule, who, secrets } = each;
  const found: string[] = [];
  if (!rule.actions.includes(action)) found.push(`is about ${rule.actions.join(" and ")}`);
  if (!isPermitted(caller, action)) found.push(`to ${action} takes ${rolesFor(action)}`);
  if (!isAbout(each, caller)) {
    for (const condition of who.filter((condition) => !holds(condition, caller.claims))) {
      found.push(`wants ${wants(condition, caller.claims)}`);
    }
  }
  const covered =
    uri === undefined
      ? rule.effect === "deny" || !rule.secrets
      : secrets.some((secret) => secret.matches(splitSource(uri)));
  if (!covered) found.push(`is about ${secrets.map(showSecret).join(" and ")}`);
  return found;
}

function close(rules: readonly CompiledRule[], caller: Caller, question: Question): string[] {
  const allowing = rules.filter(({ rule }) => rule.effect === "allow");
  const measured = allowing.map((each) => ({ each, why: misfits(each, caller, question) }));
  const nearest = measured.sort((a, b) => a.why.length - b.why.length).slice(0, shownClose);
  return nearest.map(
    ({ each, why }, index) =>
      `${index === 0 ? "close   " : "        "}${named(each.rule)} ${why.join(", and ")}`,
  );
}

const rolesFor = (action: Action) =>
  Object.entries(roles)
    .filter(([, permitted]) => (permitted as readonly Action[]).includes(action))
    .map(([role]) => `role ${role}`)
    .join(" or ");

/** As it stands in the file. */
function showSecret(secret: SecretPattern | undefined): string {
  if (!secret) return "";
  const { glob, source } = secret;
  const text = showPattern(glob.pattern);
  if (!source) return text;
  const name = typeof source.pattern === "string" ? source.pattern : source.pattern.exact;
  return withSource(text, name);
}

const patternsOf = ({ globs }: Condition) => globs.map(({ pattern }) => showPattern(pattern)).join(" or ");

function wants(condition: Condition, claims: Claims): string {
  const values = valuesOf(claims, condition.path);
  const has = values.length === 0 ? "there is none" : `it is ${printable(values.join(", "))}`;
  return `${claimOf(condition)} ${patternsOf(condition)} (${has})`;
}

const claimOf = ({ path }: Condition) => printable(path.join("."));

const says = (condition: Condition, claims: Claims) =>
  `${claimOf(condition)} ${printable(valuesOf(claims, condition.path).join(", "))} fits ${patternsOf(condition)}`;

function describe({ ttl, uses, audience, keyBinding, cacheKeys, cache, totpSeeds }: Limits): string {
  return [
    `at most ${ttl} seconds`,
    `${uses} use${uses === 1 ? "" : "s"}`,
    `for ${audience ? audience.map(showPattern).join(" or ") : "any principal of the tenant"}`,
    keyBinding ? "bound to a key" : "bound to a key or not",
    cacheKeys ? `cache keys ${cacheKeys.map(showPattern).join(" or ")}` : "no cache key",
    ...(cache ? ["results never cached"] : []),
    ...(totpSeeds ? ["seeds of one-time passwords too"] : []),
  ].join(", ");
}
