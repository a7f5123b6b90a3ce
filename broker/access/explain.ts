/** Why the policy decides as it does, in words: for whoever writes rules and wonders. */
import { type Caller, prepare, recognise } from "../caller.ts";
import { type Action, type CompiledRule, isAbout, isPermitted, type Limits, roles } from "../policy.ts";
import { type Claims, type Condition, holds, holdsAlone, valuesOf } from "./claims.ts";
import type { Pattern } from "./glob.ts";
import type { LoadedPolicy } from "./policy-file.ts";

export interface Question {
  /** As they stand in the token. */
  readonly claims: Claims;
  readonly action: Action;
  /** Canonical. */
  readonly uri: string;
}

/** Rules that would have allowed it but for a little, at most. */
const shownClose = 5;

export function explain(loaded: LoadedPolicy, question: Question): { allowed: boolean; text: string } {
  const caller = findCaller(loaded, question.claims);
  if (typeof caller === "string")
    return { allowed: false, text: lines("denied: the token makes nobody a principal", [caller]) };
  const decision = loaded.policy.decide(caller, question.action, question.uri);
  const own = loaded.rules.filter(({ rule }) => rule.tenant === caller.tenant);
  const fitting = own.filter((each) => misfits(each, caller, question).length === 0);
  const decisive = fitting.find(({ rule }) => rule.name === decision.rule);
  const asked = [
    `as      ${caller.principal} of ${caller.tenant}, ${caller.roles.join(" and ")}`,
    `to      ${question.action} ${question.uri}`,
  ];
  if (!decisive)
    return {
      allowed: false,
      text: lines("denied: no rule allows it", [...asked, ...close(own, caller, question)]),
    };

  const others = fitting.filter((each) => each !== decisive && each.rule.effect === "allow");
  const because = decisive.secrets.find((secret) => secret.matches(question.uri));
  const reasons = [
    ...asked,
    `because ${[...decisive.who.map((condition) => says(condition, caller.claims)), `the secret fits ${show(because?.glob.pattern ?? "")}`].join(", ")}`,
  ];
  if (!decision.allowed) {
    const overruled = others.map(
      ({ rule }) => `        "${rule.name}" would allow it, but what denies comes first`,
    );
    return { allowed: false, text: lines(`denied by "${decisive.rule.name}"`, [...reasons, ...overruled]) };
  }
  const later = others.map(({ rule }) => `        "${rule.name}" allows it too, but comes later`);
  const limits = `limits  ${describe(decision.limits)}`;
  return { allowed: true, text: lines(`allowed by "${decisive.rule.name}"`, [...reasons, limits, ...later]) };
}

const lines = (verdict: string, details: readonly string[]) =>
  `${[verdict, ...details.map((line) => `  ${line}`)].join("\n")}\n`;

/** The caller that such a token makes, or why it makes none. */
function findCaller({ issuers }: LoadedPolicy, claims: Claims): Caller | string {
  const issuer = issuers.find((each) => each.issuer === claims.iss);
  if (!issuer) return `no issuer here is ${JSON.stringify(claims.iss)}`;
  if (typeof claims.sub !== "string") return "it has no sub";
  const ready = prepare(issuer);
  try {
    return { ...recognise({ ...claims, sub: claims.sub }, ready), accessToken: "" };
  } catch {
    const wanted = ready.members.map(({ tenant, conditions }) => {
      const missed = conditions.filter((condition) => !holdsAlone(condition, claims));
      return `${tenant} wants ${missed.map((condition) => wants(condition, claims)).join(", ")}`;
    });
    return wanted.slice(0, shownClose).join("\n  ") || "no tenant takes tokens of this issuer";
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
  if (!secrets.some((secret) => secret.matches(uri))) {
    found.push(`is about ${secrets.map(({ glob }) => show(glob.pattern)).join(" and ")}`);
  }
  return found;
}

function close(rules: readonly CompiledRule[], caller: Caller, question: Question): string[] {
  const allowing = rules.filter(({ rule }) => rule.effect === "allow");
  const measured = allowing.map((each) => ({ each, why: misfits(each, caller, question) }));
  const nearest = measured.sort((a, b) => a.why.length - b.why.length).slice(0, shownClose);
  return nearest.map(
    ({ each, why }, index) =>
      `${index === 0 ? "close   " : "        "}"${each.rule.name}" ${why.join(", and ")}`,
  );
}

const rolesFor = (action: Action) =>
  Object.entries(roles)
    .filter(([, permitted]) => (permitted as readonly Action[]).includes(action))
    .map(([role]) => `role ${role}`)
    .join(" or ");

const show = (pattern: Pattern) => (typeof pattern === "string" ? pattern : `exactly ${pattern.exact}`);

const patternsOf = ({ globs }: Condition) => globs.map(({ pattern }) => show(pattern)).join(" or ");

function wants(condition: Condition, claims: Claims): string {
  const values = valuesOf(claims, condition.path);
  const has = values.length === 0 ? "there is none" : `it is ${values.join(", ")}`;
  return `${condition.path.join(".")} ${patternsOf(condition)} (${has})`;
}

const says = (condition: Condition, claims: Claims) =>
  `${condition.path.join(".")} ${valuesOf(claims, condition.path).join(", ")} fits ${patternsOf(condition)}`;

function describe({ ttl, uses, audience, keyBinding, cacheKeys, totpSeeds }: Limits): string {
  return [
    `at most ${ttl} seconds`,
    `${uses} use${uses === 1 ? "" : "s"}`,
    `for ${audience ? audience.map(show).join(" or ") : "any principal of the tenant"}`,
    keyBinding ? "bound to a key" : "bound to a key or not",
    cacheKeys ? `cache keys ${cacheKeys.map(show).join(" or ")}` : "no cache key",
    ...(totpSeeds ? ["seeds of one-time passwords too"] : []),
  ].join(", ");
}
