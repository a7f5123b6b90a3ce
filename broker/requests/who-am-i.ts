/** What a caller may know of itself: its tenant, its name, its roles, and the rules that are about it. */
import type { WhoAmI } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { isTrusted } from "../policy/decide.ts";

/** So many rules are shown: an answer has a bound, a policy hardly. */
const shown = 500;

export function whoAmI({ policy }: Broker, caller: Caller): WhoAmI {
  const { tenant, principal, roles } = caller;
  const about = policy.rulesAbout(caller);
  const rules = about.slice(0, shown).map(({ name, effect, actions, secrets }) => ({
    name,
    effect,
    actions: [...actions],
    ...(secrets && { secrets: [...secrets] }),
  }));
  return {
    tenant,
    principal,
    roles: [...roles],
    proven: isTrusted(caller),
    rules,
    more: about.length > shown,
  };
}
