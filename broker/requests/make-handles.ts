/** From values to handles: record, then store, then sign. Nothing else puts handles into the store. */
import { randomUUID } from "node:crypto";
import { asClaimcheckError } from "../../shared/errors.ts";
import { type HandleClaims, signHandle } from "../../shared/handle.ts";
import type { Secret } from "../../shared/secret.ts";
import type { IssueResponse } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { sha256Of } from "../keys/keys.ts";
import { type Marks, sealMarks } from "../keys/marks.ts";
import { sealOverhead } from "../keys/seal.ts";
import type { OpenHandle } from "../store/store.ts";
import type { About, Granted } from "./authorize.ts";

const defaultLifetime = 15 * 60;

interface Made extends Granted {
  readonly value: Secret;
  readonly named: Named;
  readonly claims: HandleClaims;
}

/** Wipes the values, whatever happens. */
export async function makeHandles(
  broker: Broker,
  caller: Caller,
  about: About,
  granted: readonly Granted[],
  values: readonly Secret[],
): Promise<IssueResponse> {
  try {
    const names = nameOnce(broker, caller, about);
    const made = granted.map((each, index): Made => {
      const value = values[index] as Secret;
      const named = names(value);
      return { ...each, value, named, claims: claim(broker, caller, about, each, named) };
    });
    const records = made.map(({ reference, rule, named: { digest }, claims: { jti } }) => ({
      ...about,
      uri: reference.canonical,
      rule,
      jti,
      digest,
    }));
    const handles = sealOnce(broker, caller, made);
    try {
      holdOpen(broker, handles);
    } catch (thrown) {
      const { reason: code } = asClaimcheckError(thrown);
      await broker.audit.record(records.map((record) => ({ ...record, outcome: "denied", code })));
      throw thrown;
    }
    await broker.audit.record(records.map((record) => ({ ...record, outcome: "issued" })));
    try {
      await broker.store.put(handles);
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

/** However many handles are for a value, it is sealed, sent and stored once. */
function sealOnce({ keys }: Broker, { tenant, principal }: Caller, made: readonly Made[]): OpenHandle[] {
  const values = new Map<Secret, { readonly id: string; readonly sealed: Uint8Array }>();
  return made.map((each) => {
    const { reference, value, named, claims } = each;
    const { jti, run, uses, exp } = claims;
    const id = randomUUID();
    const kept = values.get(value) ?? { id, sealed: keys.seal(tenant, id, value) };
    values.set(value, kept);
    const fields = {
      tenant,
      jti,
      subject: principal,
      ...(run !== undefined && { run }),
      uri: reference.canonical,
      marks: sealMarks(keys, tenant, jti, { ...named, cacheId: cacheIdOf(keys, tenant, each) }),
      uses,
      expires: exp,
      value: kept.id,
      size: kept.sealed.length - sealOverhead,
    };
    return { ...fields, sealed: kept.sealed, mac: keys.recordMac(fields) };
  });
}

/** What a handle takes up besides its value, roughly: its names in the store and what points to them. */
const handleSize = 1024;

function holdOpen({ budgets }: Broker, handles: readonly OpenHandle[]): void {
  const values = new Map(handles.map(({ value, size }) => [value, size]));
  const sealed = [...values.values()].reduce((sum, size) => sum + size, 0);
  const named = handles.reduce((sum, { uri }) => sum + handleSize + 2 * uri.length, 0);
  const [first] = handles as [OpenHandle, ...OpenHandle[]];
  budgets?.holdOpen(first.tenant, sealed + named, Math.max(...handles.map(({ expires }) => expires)));
}

/** What takes the time of the value's length is made once for all handles that are for it. */
function nameOnce({ keys }: Broker, { tenant, principal }: Caller, { action }: About) {
  const wrappedBy = action === "wrap" ? principal : undefined;
  const known = new Map<Secret, Named>();
  return (value: Secret): Named => {
    const names = known.get(value) ?? {
      wrappedBy,
      sha256: sha256Of(value),
      digest: keys.digest(tenant, value, wrappedBy),
      cacheId: keys.cacheId(tenant, { value, wrappedBy }),
    };
    known.set(value, names);
    return names;
  };
}

interface Named extends Marks {
  readonly wrappedBy: string | undefined;
  readonly sha256: Uint8Array;
  readonly cacheId: string;
}

function cacheIdOf(keys: Broker["keys"], tenant: string, { item, limits, named }: Made): string {
  if (limits.cache === "never") return "";
  const { wrappedBy, cacheId } = named;
  return item.cacheKey === undefined ? cacheId : keys.cacheId(tenant, { cacheKey: item.cacheKey, wrappedBy });
}

function claim(
  { keys, url }: Broker,
  { tenant, principal }: Caller,
  { run }: About,
  { item, reference, limits }: Granted,
  { sha256 }: Named,
): HandleClaims {
  const iat = Math.floor(Date.now() / 1000);
  const jti = randomUUID();
  return {
    iss: url,
    aud: item.audience ?? principal,
    sub: principal,
    jti,
    iat,
    exp: iat + (item.ttl ?? Math.min(defaultLifetime, limits.ttl)),
    tenant,
    ...(run !== undefined && { run }),
    name: item.name ?? "",
    scheme: reference.scheme,
    digest: keys.handleDigest(tenant, jti, sha256),
    ...(item.cacheKey !== undefined && { cache_key: item.cacheKey }),
    uses: item.uses ?? 1,
    ...(item.jkt !== undefined && { cnf: { jkt: item.jkt } }),
    ...(item.plan !== undefined && { plan: item.plan }),
  };
}
