/** From values to handles: record, then store, then sign. Nothing else puts handles into the store. */
import { randomUUID } from "node:crypto";
import { asClaimcheckError } from "../shared/errors.ts";
import { type HandleClaims, signHandle } from "../shared/handle.ts";
import type { Secret } from "../shared/secret.ts";
import type { IssueResponse } from "../shared/wire.ts";
import type { Broker } from "./broker.ts";
import type { Caller } from "./caller.ts";
import type { About, Granted } from "./grant.ts";
import type { OpenHandle } from "./store/store.ts";

const defaultLifetime = 15 * 60;

interface Made extends Granted {
  readonly value: Secret;
  readonly claims: HandleClaims;
}

/** Wipes the values, whatever happens. */
export async function deliver(
  broker: Broker,
  caller: Caller,
  about: About,
  granted: readonly Granted[],
  values: readonly Secret[],
): Promise<IssueResponse> {
  try {
    const made = granted.map((each, index): Made => {
      const value = values[index] as Secret;
      return { ...each, value, claims: claim(broker, caller, about, each, value) };
    });
    const records = made.map(({ reference, rule, claims: { jti, digest } }) => ({
      ...about,
      uri: reference.canonical,
      rule,
      jti,
      digest,
    }));
    await broker.audit.record(records.map((record) => ({ ...record, outcome: "issued" })));
    try {
      await broker.store.put(made.map((each) => open(broker, caller, each)));
    } catch (thrown) {
      const { code } = asClaimcheckError(thrown);
      await broker.audit.record(records.map((record) => ({ ...record, outcome: "failed", code })));
      throw thrown;
    }
    return {
      handles: await Promise.all(
        made.map(async ({ claims }) => ({
          jti: claims.jti,
          handle: await signHandle(claims, broker.keys.signingKey),
          expires: claims.exp,
        })),
      ),
    };
  } finally {
    for (const value of values) value.wipe();
  }
}

function open({ keys }: Broker, { principal }: Caller, { reference, value, claims }: Made): OpenHandle {
  const { tenant, jti, run, digest, uses, exp } = claims;
  const fields = {
    tenant,
    jti,
    subject: principal,
    ...(run !== undefined && { run }),
    uri: reference.canonical,
    digest,
    uses,
    expires: exp,
  };
  return { ...fields, sealed: keys.seal(tenant, jti, value), mac: keys.recordMac(fields) };
}

function claim(
  { keys, url }: Broker,
  { tenant, principal }: Caller,
  { action, run }: About,
  { item, reference, limits }: Granted,
  value: Secret,
): HandleClaims {
  const iat = Math.floor(Date.now() / 1000);
  const wrappedBy = action === "wrap" ? principal : undefined;
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
    digest: keys.digest(tenant, value, wrappedBy),
    ...(item.cacheKey !== undefined && { cache_key: item.cacheKey }),
    cache_id: keys.cacheId(
      tenant,
      item.cacheKey === undefined ? { value, wrappedBy } : { cacheKey: item.cacheKey },
    ),
    uses: item.uses ?? 1,
    ...(item.jkt !== undefined && { cnf: { jkt: item.jkt } }),
    ...(item.plan !== undefined && { plan: item.plan }),
  };
}
