/** Handles that somebody presents, and the proof that they may: what redeeming and checking have in common. */
import { asClaimcheckError, ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import { type HandleClaims, verifyHandle } from "../../shared/handle.ts";
import { verifyProof } from "../../shared/proof.ts";
import type { EncryptionKey } from "../../shared/wire.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { denial, type Limits } from "../policy/decide.ts";
import type { Taker } from "../store/store.ts";
import { auditReason, auditReasonOfItem } from "./audit-reason.ts";
import { type Found, findHandles } from "./find-handles.ts";

/** The HTTP request as the proof covers it. */
export interface ProvenMessage {
  readonly proof: string | undefined;
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

/** @throws {ClaimcheckError} `invalid_proof`, also for a proof that any broker saw before; `key_not_registered`. */
export async function prove(
  broker: Broker,
  caller: Caller,
  message: ProvenMessage,
  encryptionKey?: EncryptionKey,
) {
  const { roles, proofKeys, anyProofKey, confined } = caller;
  const proven = await verifyOnce(broker, caller, message, encryptionKey);
  // Whatever key a handle names: whoever stole a token can have asked for it.
  const known = proofKeys.length > 0 ? proofKeys.includes(proven.jkt) : confined !== undefined || anyProofKey;
  // Who is no executor is refused by the policy, which knows no key that would help.
  if (!known && roles.includes("executor")) throw new ClaimcheckError("key_not_registered");
  return proven;
}

/**
 * The proof of a request that could do without: a token that names a key is good for nothing without it, and it lets a
 * caller do what a token alone does not.
 *
 * @throws {ClaimcheckError} `proof_required`, `invalid_proof`.
 */
export async function confirmCaller(broker: Broker, caller: Caller, message: ProvenMessage): Promise<Caller> {
  const { boundKey, vouched, proofKeys } = caller;
  if (boundKey !== undefined && message.proof === undefined) throw new ClaimcheckError("proof_required");
  // Nothing is said by a proof where nobody has named a key.
  if (message.proof === undefined || (boundKey === undefined && proofKeys.length === 0)) return caller;
  const { jkt } = await verifyOnce(broker, caller, message);
  return { ...caller, proven: vouched || proofKeys.includes(jkt) };
}

async function verifyOnce(
  { store }: Broker,
  { accessToken, boundKey }: Caller,
  { proof, ...message }: ProvenMessage,
  encryptionKey?: EncryptionKey,
) {
  const covered = { ...message, accessToken, ...(encryptionKey && { encryptionKey }) };
  const proven = await verifyProof(proof, covered);
  if (boundKey !== undefined && proven.jkt !== boundKey) {
    throw new ClaimcheckError("invalid_proof", { reason: "proof_key_mismatch" });
  }
  // Under the key's name, or somebody could use up the ids of other people's proofs.
  if (!(await store.rememberProof(`${proven.jkt}:${proven.jti}`, proven.expires))) {
    throw new ClaimcheckError("invalid_proof", { reason: "proof_replayed" });
  }
  return proven;
}

/** Only handles of this broker, for this principal of this tenant, bound to its key or to none. */
export async function readHandles(
  { keys, url }: Broker,
  { tenant, principal, confined, proofKeys }: Caller,
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
        // Others may have asked with a token alone, which somebody stole, for a key that this one has by right.
        (confined && proofKeys.length === 0 && claims.sub !== principal && "another_requester") ||
        (confined && proofKeys.length === 0 && !claims.cnf && "no_key");
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

/** A handle's state, and the rule that allows what is asked today: its name and its limits. */
export interface Allowed {
  readonly state: Found;
  readonly rule: string;
  readonly limits: Limits;
}

/** @throws {ClaimcheckError} for the whole batch, where one of the handles is void or not allowed today. */
export async function authorizePresented(
  broker: Broker,
  caller: Caller,
  action: "redeem" | "check",
  taker: Taker,
  handles: readonly HandleClaims[],
): Promise<Allowed[]> {
  const states = await findHandles(
    broker,
    caller.tenant,
    handles.map(({ jti }) => jti),
    taker,
  );
  const failures: ItemFailure[] = [];
  const allowed = states.flatMap((state, index) => {
    const decision = state && broker.policy.decide(caller, action, state.uri);
    if (state && decision?.allowed) return [{ state, rule: decision.rule, limits: decision.limits }];
    const error = decision
      ? new ClaimcheckError("forbidden", denial(decision))
      : new ClaimcheckError("handle_void");
    failures.push(error.at(index));
    return [];
  });
  if (failures.length > 0) throw batchError(failures);
  return allowed;
}

/** What is written down of a request that was granted: one record for each handle. */
export const grants = (about: AuditRecord, allowed: readonly Allowed[]): AuditRecord[] =>
  allowed.map(({ state: { uri, jti, digest, run }, rule }) => ({
    ...about,
    uri,
    jti,
    digest,
    rule,
    ...(run !== undefined && { run }),
  }));

export const batchError = (failures: readonly ItemFailure[]) =>
  new ClaimcheckError((failures[0] as ItemFailure).code, { failures });

/**
 * Writes down that a request was refused: one record for each handle that could be read, or one for them all.
 *
 * @throws what was thrown, or that it cannot be written down.
 */
export async function refuse(
  { audit }: Broker,
  about: Omit<AuditRecord, "outcome">,
  handles: readonly HandleClaims[],
  thrown: unknown,
): Promise<never> {
  const error = asClaimcheckError(thrown);
  const denied = { ...about, outcome: "denied" } as const;
  const named = handles.map(({ jti }, index) => ({ ...denied, jti, ...auditReasonOfItem(error, index) }));
  await audit.record(named.length > 0 ? named : [{ ...denied, ...auditReason(error) }]);
  throw thrown;
}
