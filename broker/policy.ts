/**
 * Who may do what with which secrets, and within which limits. Nothing is allowed that no rule allows; a rule
 * that denies beats all that allow. Among several that allow, the first in the file sets the limits.
 */
import type { Caller } from "./caller.ts";

export type Action = "issue" | "wrap" | "redeem" | "inspect" | "revoke";

export interface Limits {
  /** The longest life of a handle, in seconds. */
  readonly ttl: number;
  readonly uses: number;
  /** Cache keys that may be asked for, as patterns; none where it is missing. */
  readonly cacheKeys?: readonly string[];
}

export interface Rule {
  /** What the audit log calls it. */
  readonly name: string;
  readonly effect: "allow" | "deny";
  readonly actions: readonly Action[];
  readonly principals: readonly string[];
  /** Patterns over canonical URIs: `*` stops at `/` and `#`, `**` does not. */
  readonly secrets: readonly string[];
  readonly limits: Limits;
}

export type Decision =
  | { readonly allowed: true; readonly rule: string; readonly limits: Limits }
  | { readonly allowed: false; readonly rule?: string };

export type Policy = ReturnType<typeof createPolicy>;

export function createPolicy(rules: readonly Rule[]) {
  const compiled = rules.map((rule) => ({
    rule,
    principals: rule.principals.map(compilePattern),
    secrets: rule.secrets.map(compilePattern),
  }));

  return {
    decide(caller: Caller, action: Action, uri: string): Decision {
      const fitting = compiled.filter(
        ({ rule, principals, secrets }) =>
          rule.actions.includes(action) &&
          principals.some((pattern) => pattern.test(caller.principal)) &&
          secrets.some((pattern) => pattern.test(uri)),
      );
      const denying = fitting.find(({ rule }) => rule.effect === "deny");
      if (denying) return { allowed: false, rule: denying.rule.name };
      const allowing = fitting[0];
      if (!allowing) return { allowed: false };
      return { allowed: true, rule: allowing.rule.name, limits: allowing.rule.limits };
    },
  };
}

/** Whether a rule's limits let this cache key be asked for. */
export function allowsCacheKey(limits: Limits, cacheKey: string): boolean {
  return (limits.cacheKeys ?? []).some((pattern) => compilePattern(pattern).test(cacheKey));
}

function compilePattern(pattern: string): RegExp {
  const source = pattern.replace(/\*\*|\*|[^*]+/g, (part) => {
    if (part === "**") return ".*";
    if (part === "*") return "[^/#]*";
    return part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&");
  });
  return new RegExp(`^${source}$`, "s");
}
