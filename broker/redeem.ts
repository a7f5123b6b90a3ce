/**
 * Redeeming, the only way by which plaintext leaves a broker. The order is the guarantee: proof, policy of
 * today, take, durable record, answer. What cannot be recorded is given back and not answered.
 */
import { ClaimcheckError } from "../shared/errors.ts";
import type { HandleClaims } from "../shared/handle.ts";
import { importRecipient, type Recipient, sealRedemption } from "../shared/redemption.ts";
import type { RedemptionRequest, RedemptionResponse } from "../shared/wire.ts";
import type { AuditRecord } from "./audit/record.ts";
import type { Broker } from "./broker.ts";
import type { Caller } from "./caller.ts";
import { authorise, batchError, type ProvenMessage, prove, readHandles, refuse } from "./presentation.ts";
import type { OpenHandle, Redemption } from "./store/store.ts";

export async function redeem(
  broker: Broker,
  caller: Caller,
  asked: RedemptionRequest,
  message: ProvenMessage,
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
  const refused = (thrown: unknown) => refuse(broker, about, handles, thrown);

  const proof = await prove(broker, caller, message, asked.key).catch(refused);
  const recipient = await importRecipient(asked.key).catch(refused);
  const redemption: Redemption = { tenant, id: asked.id, principal, jkt: proof.jkt, run: asked.run ?? "" };
  let released: Release[] = [];
  let outcome: "released" | "repeat" = "released";
  try {
    handles = await readHandles(broker, caller, redemption.jkt, asked.handles);
    const allowed = await authorise(broker, caller, "redeem", redemption, handles);
    const taken = await take(broker, redemption, handles);
    if (taken.repeated) outcome = "repeat";
    released = taken.handles.map((handle, index) => ({ handle, rule: allowed[index]?.rule ?? "" }));
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
    if (outcome === "released") {
      await broker.store.giveBack(
        redemption,
        handles.map(({ jti }) => jti),
      );
    }
    throw thrown;
  }
  return answer(broker, redemption, proof.jti, released, recipient);
}

interface Release {
  readonly handle: OpenHandle;
  readonly rule: string;
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
