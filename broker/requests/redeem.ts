/**
 * Redeeming, the only way by which plaintext leaves a broker. The order is the guarantee: proof, policy of
 * today, take, durable record, answer. What cannot be recorded is given back and not answered.
 */
import type { Recipient } from "../../shared/ecdh-es.ts";
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import type { HandleClaims } from "../../shared/handle.ts";
import { importRecipient, type RedeemedValue, sealRedemption } from "../../shared/redemption.ts";
import type { Secret } from "../../shared/secret.ts";
import type { RedemptionRequest, RedemptionResponse } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import type { BrokerKeys } from "../keys/keys.ts";
import { sealOverhead } from "../keys/seal.ts";
import { type Account, requestValueLimit, valuesTooLarge } from "../quota/budget.ts";
import type { Redemption } from "../store/store.ts";
import { auditReasonOfItem } from "./audit-reason.ts";
import {
  type Allowed,
  authorizePresented,
  batchError,
  grants,
  type ProvenMessage,
  prove,
  readHandles,
  refuse,
} from "./presentation.ts";

export async function redeem(
  broker: Broker,
  caller: Caller,
  asked: RedemptionRequest,
  message: ProvenMessage,
  request: string,
  account?: Account,
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
  const refused = (thrown: unknown) => refuse(broker, about, handles, thrown);

  const proof = await prove(broker, caller, message, asked.key).catch(refused);
  const recipient = await importRecipient(asked.key).catch(refused);
  const redemption: Redemption = { tenant, id: asked.id, principal, jkt: proof.jkt, run: asked.run ?? "" };
  let released: Release[] = [];
  let attempt: string | undefined;
  try {
    handles = await readHandles(broker, caller, redemption.jkt, asked.handles);
    const allowed = await authorizePresented(broker, caller, "redeem", redemption, handles);
    const size = allowed.reduce((sum, { state }) => sum + state.size, 0);
    if (size > requestValueLimit) throw valuesTooLarge();
    account?.grow(size);
    const taken = await take(broker, redemption, handles);
    if (taken.outcome === "taken") attempt = taken.attempt;
    released = allowed.map((each, index) => ({
      ...each,
      sealed: taken.handles[index]?.sealed ?? none,
      claims: handles[index] as HandleClaims,
    }));
  } catch (thrown) {
    return refused(thrown);
  }

  const records = grants({ ...about, outcome: attempt === undefined ? "repeat" : "released" }, released);
  let heads: readonly string[];
  try {
    heads = await broker.audit.record(records);
  } catch (thrown) {
    if (attempt !== undefined) {
      await broker.store.giveBack(
        redemption,
        attempt,
        handles.map(({ jti }) => jti),
      );
    }
    throw thrown;
  }
  try {
    return await answer(broker, redemption, proof.jti, { released, heads }, recipient);
  } catch (thrown) {
    const error = asClaimcheckError(thrown);
    await broker.audit.record(
      records.map((record, index) => ({ ...record, outcome: "failed", ...auditReasonOfItem(error, index) })),
    );
    throw thrown;
  }
}

/** What leaves: the record that the policy was asked about, and the value that was taken under its name. */
interface Release extends Allowed {
  readonly sealed: Uint8Array;
  readonly claims: HandleClaims;
}

const none = new Uint8Array();

async function take({ store }: Broker, redemption: Redemption, handles: readonly HandleClaims[]) {
  const taken = await store.take(
    redemption,
    handles.map(({ jti }) => jti),
  );
  switch (taken.outcome) {
    case "taken":
    case "repeat":
      return taken;
    case "conflict":
      throw new ClaimcheckError("redemption_conflict");
    case "refused":
      throw batchError([
        ...taken.unknown.map((index) => new ClaimcheckError("handle_void").at(index)),
        ...taken.spent.map((index) => new ClaimcheckError("handle_spent").at(index)),
      ]);
  }
}

async function answer(
  { keys, url }: Broker,
  { tenant, id }: Redemption,
  proof: string,
  { released, heads }: { readonly released: readonly Release[]; readonly heads: readonly string[] },
  recipient: Recipient,
): Promise<RedemptionResponse> {
  const values: RedeemedValue[] = [];
  try {
    for (const [index, release] of released.entries()) {
      const { jti, digest } = release.claims;
      values.push({ jti, digest, value: unseal(keys, tenant, release, index) });
    }
    const context = { iss: url, tenant, redemption: id, proof };
    return { id, payload: await sealRedemption(context, { values, heads }, keys.signingKey, recipient) };
  } finally {
    for (const { value } of values) value.wipe();
  }
}

/** @throws {ClaimcheckError} `handle_void` when the store has another value there than the handle was issued for. */
function unseal(keys: BrokerKeys, tenant: string, { state, sealed, claims }: Release, index: number): Secret {
  try {
    if (sealed.length !== state.size + sealOverhead) throw new Error("the store has another value");
    const value = keys.unseal(tenant, state.value, sealed);
    if (keys.isHandleDigest(claims.digest, tenant, claims.jti, value)) return value;
    value.wipe();
    throw new Error("the handle is for another value");
  } catch (cause) {
    throw batchError([new ClaimcheckError("handle_void", { cause }).at(index)]);
  }
}
