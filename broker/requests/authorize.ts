/** Whether somebody may have the handles that are asked for, whatever their values come from. */
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import type { HandleTerms } from "../../shared/wire.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { allowsAudience, allowsCacheKey, denial, type Limits } from "../policy/decide.ts";
import type { SecretReference } from "../providers/provider.ts";
import { auditReason } from "./audit-reason.ts";

/** A request's item that the policy allows. */
export interface Granted<Reference extends SecretReference = SecretReference> {
  readonly item: HandleTerms;
  readonly reference: Reference;
  readonly rule: string;
  readonly limits: Limits;
}

/** What all records of one request for handles have in common. */
export interface About extends Pick<AuditRecord, "tenant" | "principal" | "request" | "run"> {
  readonly action: "issue" | "wrap";
}

/**
 * Every item has to be well-formed, allowed and within its rule's limits, or the whole request is refused.
 *
 * @param read reads what an item is about; `uri` is what its text was, for a record without it.
 */
export async function authorize<Item extends HandleTerms, Reference extends SecretReference>(
  broker: Broker,
  caller: Caller,
  about: About,
  items: readonly Item[],
  read: { reference(item: Item): Reference | Promise<Reference>; uri(item: Item): string },
): Promise<Granted<Reference>[]> {
  const granted: Granted<Reference>[] = [];
  const failures: ItemFailure[] = [];
  const records: AuditRecord[] = [];
  const references = await Promise.allSettled(items.map(async (item) => read.reference(item)));
  for (const [index, item] of items.entries()) {
    const found = references[index] as PromiseSettledResult<Reference>;
    try {
      if (found.status === "rejected") throw found.reason;
      granted.push(grant(broker, caller, about.action, item, found.value));
    } catch (thrown) {
      const error = asClaimcheckError(thrown);
      failures.push(error.at(index));
      const uri = `redacted:${broker.keys.redact(caller.tenant, read.uri(item))}`;
      records.push({ ...about, outcome: "denied", ...auditReason(error), uri });
    }
  }
  if (failures.length === 0) return granted;
  await broker.audit.record(records);
  const codes = new Set(failures.map(({ code }) => code));
  throw new ClaimcheckError(codes.size === 1 ? (failures[0] as ItemFailure).code : "secrets_unavailable", {
    failures,
  });
}

function grant<Reference extends SecretReference>(
  { policy }: Broker,
  caller: Caller,
  action: About["action"],
  item: HandleTerms,
  reference: Reference,
): Granted<Reference> {
  const decision = policy.decide(caller, action, reference.canonical);
  const detail = reference.shown;
  if (!decision.allowed) throw new ClaimcheckError("forbidden", { detail, ...denial(decision) });
  const { rule, limits } = decision;
  if (item.cacheKey === "") throw new ClaimcheckError("invalid_cache_key", { detail });
  const beyond = excess(item, caller, limits);
  if (beyond) {
    const [reason, text] = beyond;
    throw new ClaimcheckError("forbidden", { detail: `${detail}: ${text}`, reason, rule });
  }
  return { item, reference, rule, limits };
}

/** Which limit of its rule an item does not keep: for the audit log, and for the one who asks. */
function excess(
  { ttl = 0, uses = 1, jkt, audience, cacheKey }: HandleTerms,
  { principal }: Caller,
  limits: Limits,
): readonly [reason: string, text: string] | undefined {
  if (ttl > limits.ttl)
    return ["ttl_limit", `a handle lives at most ${limits.ttl} seconds by the policy, not ${ttl}`];
  if (uses > limits.uses) {
    const most = limits.uses === 1 ? "1 use" : `${limits.uses} uses`;
    return ["uses_limit", `a handle has at most ${most} by the policy, not ${uses}`];
  }
  if (limits.keyBinding && jkt === undefined)
    return ["key_binding_required", "the policy requires that the handle is bound to a key (jkt)"];
  if (!allowsAudience(limits, audience ?? principal))
    return ["audience_not_allowed", "the policy does not allow handles for this audience"];
  if (cacheKey !== undefined && !allowsCacheKey(limits, cacheKey))
    return ["cache_key_not_allowed", "the policy does not allow this cache key"];
  return undefined;
}
