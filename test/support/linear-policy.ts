/** What broker/policy/decide.ts promises, in the plainest way: every rule asked, one after the other. Oracle and measure. */
import type { Caller } from "../../broker/authn/caller.ts";
import { roles } from "../../broker/authn/roles.ts";
import type { Decision, Rule } from "../../broker/policy/decide.ts";
import type { Action } from "../../shared/actions.ts";

type Node = string | { readonly exact: string } | readonly Node[] | { readonly [claim: string]: Node };

/** A pattern as a regular expression: another way to say what shared/glob.ts does by hand. */
export function toRegExp(pattern: string | { readonly exact: string }): RegExp {
  const quote = (text: string) => text.replace(/[\\^$.|?+*()[\]{}]/g, "\\$&");
  if (typeof pattern !== "string") return new RegExp(`^${quote(pattern.exact)}$`, "s");
  const source = pattern.replace(/\*+|[^*]+/g, (part) => {
    if (!part.startsWith("*")) return quote(part);
    return part.length > 1 ? ".*" : "[^/#]*";
  });
  return new RegExp(`^${source}$`, "s");
}

function compileNode(node: Node): (value: unknown) => boolean {
  if (Array.isArray(node)) {
    const any = node.map(compileNode);
    return (value) => any.some((fits) => fits(value));
  }
  if (typeof node === "string" || "exact" in node) {
    const expression = toRegExp(node as string);
    return (value) =>
      [value].flat().some((each) => each !== undefined && each !== null && expression.test(String(each)));
  }
  const parts = Object.entries(node).map(([name, inner]) => [name, compileNode(inner)] as const);
  return (value) =>
    parts.every(([name, fits]) => fits((value as Record<string, unknown> | undefined)?.[name]));
}

export function createLinearPolicy(rules: readonly Rule[]) {
  const compiled = rules.map((rule) => ({
    rule,
    fits: compileNode(rule.who as Node),
    secrets: rule.secrets?.map(toRegExp),
  }));
  return {
    decide(caller: Caller, action: Action, uri?: string): Decision {
      if (!caller.roles.some((role) => (roles[role] as readonly Action[]).includes(action))) {
        return { allowed: false };
      }
      let allowing: Rule | undefined;
      let denying: Rule | undefined;
      for (const { rule, fits, secrets } of compiled) {
        if (rule.tenant !== undefined && rule.tenant !== caller.tenant) continue;
        if (!rule.actions.includes(action)) continue;
        // Nobody may do to all secrets at once what is denied for one of them.
        const about =
          uri === undefined
            ? rule.effect === "deny" || !secrets
            : !secrets || secrets.some((secret) => secret.test(uri));
        if (!about) continue;
        if (!fits(caller.claims)) continue;
        if (rule.effect === "deny") denying ??= rule;
        else allowing ??= rule;
      }
      if (denying) return { allowed: false, rule: denying.name };
      return allowing ? { allowed: true, rule: allowing.name, limits: allowing.limits } : { allowed: false };
    },
  };
}
