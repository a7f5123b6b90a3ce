/**
 * Receipts for results that are put where others can write. An executor gets one for handles that this very run of its
 * own has redeemed (as in check.ts), and whose values it may redeem today: so only somebody who had the values can say
 * what is made with them. Without handles it is for a result that no secret was used for, and
 * takes a rule that lets the caller redeem at all: the role alone makes nobody's word worth a result.
 */
import { ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import type { HandleClaims } from "../../shared/handle.ts";
import { signReceipt } from "../../shared/receipt.ts";
import type { ReceiptRequest, ReceiptResponse } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { denial } from "../policy/decide.ts";
import { cacheIdOf } from "./check.ts";
import {
  authorizePresented,
  batchError,
  grants,
  type ProvenMessage,
  prove,
  readHandles,
  refuse,
} from "./presentation.ts";

export async function attest(
  broker: Broker,
  caller: Caller,
  asked: ReceiptRequest,
  message: ProvenMessage,
  request: string,
): Promise<ReceiptResponse> {
  const { tenant, principal } = caller;
  const { key, manifest } = asked;
  const about = { action: "attest", tenant, principal, request, manifest } as const;
  let handles: HandleClaims[] = [];
  try {
    const { jkt } = await prove(broker, caller, message);
    handles = await readHandles(broker, caller, jkt, asked.handles);
    const taker = { principal, jkt, run: asked.run ?? "" };
    const allowed = await authorizePresented(broker, caller, "redeem", taker, handles);
    const unredeemed = allowed.flatMap(({ state }, index): ItemFailure[] =>
      state.taken ? [] : [new ClaimcheckError("not_redeemed").at(index)],
    );
    if (unredeemed.length > 0) throw batchError(unredeemed);
    const secrets = allowed.map((each) => {
      const cacheId = cacheIdOf(each);
      if (cacheId === undefined)
        throw new ClaimcheckError("forbidden", { reason: "cache_never", rule: each.rule });
      return cacheId;
    });
    // Without handles there is no rule yet that has let the caller do this.
    const decision = broker.policy.decideForAny(caller, "redeem");
    if (!decision.allowed) throw new ClaimcheckError("forbidden", denial(decision));
    const attested = { ...about, outcome: "attested" } as const;
    const records = grants(attested, allowed);
    await broker.audit.record(records.length > 0 ? records : [{ ...attested, rule: decision.rule }]);
    const result = { iss: broker.url, tenant, key, manifest, secrets };
    const now = Math.floor(Date.now() / 1000);
    return { receipt: await signReceipt(result, now, broker.keys.signingKey) };
  } catch (thrown) {
    return refuse(broker, about, handles, thrown);
  }
}
