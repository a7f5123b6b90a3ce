/**
 * Redeeming, the only way by which plaintext leaves a broker. The order is the guarantee: proof, policy of
 * today, take, durable record, answer. What cannot be recorded is given back and not answered.
 */
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../shared/errors.ts";
import { type HandleClaims, verifyHandle } from "../shared/handle.ts";
import { verifyProof } from "../shared/proof.ts";
import { importRecipient, type Recipient, sealRedemption } from "../shared/redemption.ts";
import type { RedemptionRequest, RedemptionResponse } from "../shared/wire.ts";
import type { AuditRecord } from "./audit/log.ts";
import type { Broker } from "./broker.ts";
import type { Caller } from "./caller.ts";
import type { OpenHandle, Redemption } from "./store/store.ts";

/** The HTTP request as the proof covers it. */
export interface RedemptionMessage {
  readonly proof: string | undefined;
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

export async function redeem(
  broker: Broker,
  caller: Caller,
  asked: RedemptionRequest,
  message: RedemptionMessage,
  request: string,
): Promise<RedemptionResponse> {
  const { tenant, principal } = caller;
  const about = {
    action: "redeem",
    tenant,
    principal,
    request,
    redemption: asked.id,
    masked: asked.masked ?? true,
  } as const;

  let handles: HandleClaims[] = [];
  const refused = async (thrown: unknown): Promise<never> => {
    const { reason, failures } = asClaimcheckError(thrown);
    const denied = { ...about, outcome: "denied", code: reason } as const;
    const named = handles.map(({ jti, digest }, index) => {
      const failed = failures.find((failure) => failure.index === index);
      return { ...denied, jti, digest, ...(failed && { code: failed.code }) };
    });
    await broker.audit.record(named.length > 0 ? named : [denied]);
    throw thrown;
  };

  const proof = await prove(broker, caller, asked, message).catch(refused);
  const recipient = await importRecipient(asked.key).catch(refused);
  const redemption: Redemption = { tenant, id: asked.id, principal, jkt: proof.jkt };
  let released: Release[] = [];
  let outcome: "released" | "repeat" = "released";
  try {
    handles = await readHandles(broker, caller, proof.jkt, asked.handles);
    const rules = await authorise(broker, caller, handles);
    const taken = await take(broker, redemption, handles);
    if (taken.repeated) outcome = "repeat";
    released = taken.handles.map((handle, index) => ({ handle, rule: rules[index] as string }));
  } catch (thrown) {
    return refused(thrown);
  }

  const records = released.map(
    ({ handle, rule }): AuditRecord => ({
      ...about,
      outcome,
      uri: handle.uri,
      jti: handle.jti,
      digest: handle.digest,
      rule,
      ...(handle.run !== undefined && { run: handle.run }),
    }),
  );
  try {
    await broker.audit.record(records);
  } catch (thrown) {
    if (outcome === "released") await broker.store.giveBack(redemption);
    throw thrown;
  }
  return answer(broker, redemption, proof.jti, released, recipient);
}

interface Release {
  readonly handle: OpenHandle;
  readonly rule: string;
}

async function prove(broker: Broker, caller: Caller, asked: RedemptionRequest, message: RedemptionMessage) {
  const proven = await verifyProof(message.proof, {
    method: message.method,
    url: message.url,
    body: message.body,
    accessToken: caller.accessToken,
    encryptionKey: asked.key,
  });
  if (caller.proofKeys.length > 0 && !caller.proofKeys.includes(proven.jkt)) {
    throw new ClaimcheckError("invalid_proof", { reason: "proof_key_unregistered" });
  }
  if (!(await broker.store.rememberProof(proven.jti, proven.expires))) {
    throw new ClaimcheckError("invalid_proof", { reason: "proof_replayed" });
  }
  return proven;
}

/** Only handles of this broker, for this principal of this tenant, bound to its key; or to none, if that is registered. */
async function readHandles(
  { keys, url }: Broker,
  { tenant, principal, proofKeys }: Caller,
  jkt: string,
  handles: readonly string[],
): Promise<HandleClaims[]> {
  const read = await Promise.allSettled(
    handles.map(async (handle) => {
      const claims = await verifyHandle(handle, keys.findKey, url);
      const wrong =
        (claims.tenant !== tenant && "another_tenant") ||
        (claims.aud !== principal && "another_audience") ||
        (claims.cnf && claims.cnf.jkt !== jkt && "another_key") ||
        (!claims.cnf && !proofKeys.includes(jkt) && "no_key");
      if (wrong) throw new ClaimcheckError("invalid_handle", { reason: wrong });
      return claims;
    }),
  );
  const failures = read.flatMap((each, index) =>
    each.status === "rejected" ? [asClaimcheckError(each.reason).at(index)] : [],
  );
  if (failures.length > 0) {
    const first = asClaimcheckError(read.find((each) => each.status === "rejected")?.reason);
    throw new ClaimcheckError(first.code, { failures, reason: first.reason });
  }
  return read.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}

/** @returns the name of the rule that allows each handle today. */
async function authorise(
  { store, policy }: Broker,
  caller: Caller,
  handles: readonly HandleClaims[],
): Promise<string[]> {
  const open = await store.look(
    caller.tenant,
    handles.map(({ jti }) => jti),
  );
  const failures: ItemFailure[] = [];
  const rules = open.map((handle, index) => {
    const decision = handle && policy.decide(caller, "redeem", handle.uri);
    if (decision?.allowed) return decision.rule;
    failures.push(new ClaimcheckError(handle ? "forbidden" : "handle_void").at(index));
    return "";
  });
  if (failures.length > 0) throw batchError(failures);
  return rules;
}

async function take({ store }: Broker, redemption: Redemption, handles: readonly HandleClaims[]) {
  const taken = await store.take(
    redemption,
    handles.map(({ jti }) => jti),
  );
  switch (taken.outcome) {
    case "taken":
    case "repeat":
      return { handles: taken.handles, repeated: taken.outcome === "repeat" };
    case "conflict":
      throw new ClaimcheckError("redemption_conflict");
    case "refused":
      throw batchError([
        ...taken.unknown.map((index) => new ClaimcheckError("handle_void").at(index)),
        ...taken.spent.map((index) => new ClaimcheckError("handle_spent").at(index)),
      ]);
  }
}

const batchError = (failures: readonly ItemFailure[]) =>
  new ClaimcheckError((failures[0] as ItemFailure).code, { failures });

async function answer(
  { keys, url }: Broker,
  { tenant, id }: Redemption,
  proof: string,
  released: readonly Release[],
  recipient: Recipient,
): Promise<RedemptionResponse> {
  const values = released.map(({ handle: { jti, digest, sealed } }) => ({
    jti,
    digest,
    value: keys.open(tenant, jti, sealed),
  }));
  try {
    const context = { iss: url, tenant, redemption: id, proof };
    return { id, payload: await sealRedemption(context, values, keys.signingKey, recipient) };
  } finally {
    for (const { value } of values) value.wipe();
  }
}
