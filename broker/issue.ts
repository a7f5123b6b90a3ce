/**
 * Issuing: authorise, resolve, record, and only then let the handles out. One function, and the only one that
 * puts handles into the store.
 */
import { randomUUID } from "node:crypto";
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../shared/errors.ts";
import { type HandleClaims, signHandle } from "../shared/handle.ts";
import type { Secret } from "../shared/secret.ts";
import type { IssueItem, IssueRequest, IssueResponse } from "../shared/wire.ts";
import type { AuditRecord } from "./audit/log.ts";
import type { Broker } from "./broker.ts";
import type { Caller } from "./caller.ts";
import { allowsAudience, allowsCacheKey, type Limits } from "./policy.ts";
import type { ResolvableReference } from "./resolver.ts";

const defaultLifetime = 15 * 60;

/** A request's item that the policy allows. */
interface Granted {
  readonly item: IssueItem;
  readonly reference: ResolvableReference;
  readonly rule: string;
  readonly limits: Limits;
}

export async function issue(
  broker: Broker,
  caller: Caller,
  { secrets, run }: IssueRequest,
  request: string,
): Promise<IssueResponse> {
  const about = { action: "issue", tenant: caller.tenant, principal: caller.principal, request } as const;
  const describe = (granted: Granted) => ({
    ...about,
    ...(run !== undefined && { run }),
    uri: granted.reference.canonical,
    rule: granted.rule,
  });

  const granted = await authorise(broker, caller, secrets, about);
  let values: Secret[];
  try {
    values = await broker.resolver.resolve(granted.map(({ reference }) => reference));
  } catch (thrown) {
    const { failures, code } = asClaimcheckError(thrown);
    await broker.audit.record(
      granted.map((each, index) => {
        const failed = failures.find((failure) => failure.index === index);
        return { ...describe(each), outcome: "failed", code: failed?.code ?? code };
      }),
    );
    throw thrown;
  }

  try {
    const claims = granted.map((each, index) => claim(broker, caller, each, values[index] as Secret, run));
    await broker.audit.record(
      claims.map(({ jti, digest }, index) => ({
        ...describe(granted[index] as Granted),
        outcome: "issued",
        jti,
        digest,
      })),
    );
    await broker.store.put(
      claims.map((claimed, index) => ({
        tenant: caller.tenant,
        jti: claimed.jti,
        subject: caller.principal,
        ...(run !== undefined && { run }),
        uri: (granted[index] as Granted).reference.canonical,
        digest: claimed.digest,
        sealed: broker.keys.seal(caller.tenant, claimed.jti, values[index] as Secret),
        uses: claimed.uses,
        expires: claimed.exp,
      })),
    );
    return {
      handles: await Promise.all(
        claims.map(async (claimed) => ({
          jti: claimed.jti,
          handle: await signHandle(claimed, broker.keys.signingKey),
          expires: claimed.exp,
        })),
      ),
    };
  } finally {
    for (const value of values) value.wipe();
  }
}

/** Every item has to be well-formed, allowed and within its rule's limits, or the whole request is refused. */
async function authorise(
  broker: Broker,
  caller: Caller,
  items: readonly IssueItem[],
  about: Pick<AuditRecord, "action" | "tenant" | "principal" | "request">,
): Promise<Granted[]> {
  const granted: Granted[] = [];
  const failures: ItemFailure[] = [];
  const records: AuditRecord[] = [];
  for (const [index, item] of items.entries()) {
    try {
      granted.push(grant(broker, caller, item));
    } catch (thrown) {
      const error = asClaimcheckError(thrown);
      failures.push(error.at(index));
      const uri = broker.keys.redact(caller.tenant, item.uri);
      records.push({ ...about, outcome: "denied", code: error.reason, uri: `redacted:${uri}` });
    }
  }
  if (failures.length === 0) return granted;
  await broker.audit.record(records);
  const codes = new Set(failures.map(({ code }) => code));
  throw new ClaimcheckError(codes.size === 1 ? (failures[0] as ItemFailure).code : "secrets_unavailable", {
    failures,
  });
}

function grant(broker: Broker, caller: Caller, item: IssueItem): Granted {
  const reference = broker.resolver.parse(item.uri);
  const decision = broker.policy.decide(caller, "issue", reference.canonical);
  const detail = reference.shown;
  if (!decision.allowed) throw new ClaimcheckError("forbidden", { detail, reason: "no_rule" });
  const { rule, limits } = decision;
  if ((item.ttl ?? 0) > limits.ttl) throw new ClaimcheckError("forbidden", { detail, reason: "ttl_limit" });
  if ((item.uses ?? 1) > limits.uses)
    throw new ClaimcheckError("forbidden", { detail, reason: "uses_limit" });
  if (limits.keyBinding && item.jkt === undefined) {
    throw new ClaimcheckError("forbidden", { detail, reason: "key_binding_required" });
  }
  if (!allowsAudience(limits, item.audience ?? caller.principal)) {
    throw new ClaimcheckError("forbidden", { detail, reason: "audience_not_allowed" });
  }
  if (item.cacheKey === "") throw new ClaimcheckError("invalid_cache_key", { detail });
  if (item.cacheKey !== undefined && !allowsCacheKey(limits, item.cacheKey)) {
    throw new ClaimcheckError("forbidden", { detail, reason: "cache_key_not_allowed" });
  }
  return { item, reference, rule, limits };
}

function claim(
  { keys, url }: Broker,
  { tenant, principal }: Caller,
  { item, reference, limits }: Granted,
  value: Secret,
  run: string | undefined,
): HandleClaims {
  const iat = Math.floor(Date.now() / 1000);
  return {
    iss: url,
    aud: item.audience ?? principal,
    sub: principal,
    jti: randomUUID(),
    iat,
    exp: iat + (item.ttl ?? Math.min(defaultLifetime, limits.ttl)),
    tenant,
    ...(run !== undefined && { run }),
    name: item.name ?? "",
    scheme: reference.scheme,
    digest: keys.digest(tenant, value),
    ...(item.cacheKey !== undefined && { cache_key: item.cacheKey }),
    cache_id: keys.cacheId(tenant, item.cacheKey === undefined ? { value } : { cacheKey: item.cacheKey }),
    uses: item.uses ?? 1,
    ...(item.jkt !== undefined && { cnf: { jkt: item.jkt } }),
    ...(item.plan !== undefined && { plan: item.plan }),
  };
}
