/**
 * Checking: may a run have what was made with the values of these handles, without the values? Nothing is consumed.
 * All of the handles have to be good, and a handle is good when
 *
 *   - the proof, its signature, expiry, audience, tenant and key are as for a redemption, and it is not revoked;
 *   - today's policy would let the caller redeem it;
 *   - it has a use left, or is spent and this very run took one of its uses. The same run is the same principal
 *     with the same proof key, who says the same `run` as in the redemption (none being one that all share).
 *
 * The last is for a run that meets its own results again: whoever got a spent handle from a log has neither the
 * key nor, under an executor that serves several jobs, the run.
 *
 * The answer, which only the executor can read, says what stands for each secret in its cache: from these ids it makes the
 * keys that it looks for. A hit tells it that two values are equal, and so does the answer itself; each question is on
 * record with the values' digests, and a rule that says `cache: never` leaves an id out.
 *
 * Without any handle it tells an executor that some rule lets check its tenant, whose cached results are the only ones that it may have.
 */
import { sealConfirmation } from "../../shared/confirmation.ts";
import { ClaimcheckError, type ItemFailure } from "../../shared/errors.ts";
import type { HandleClaims } from "../../shared/handle.ts";
import { importRecipient } from "../../shared/redemption.ts";
import type { CheckRequest, CheckResponse } from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { denial } from "../policy/decide.ts";
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

export async function check(
  broker: Broker,
  caller: Caller,
  asked: CheckRequest,
  message: ProvenMessage,
  request: string,
): Promise<CheckResponse> {
  const { tenant, principal } = caller;
  const about = { action: "check", tenant, principal, request } as const;
  let handles: HandleClaims[] = [];
  try {
    const proof = await prove(broker, caller, message, asked.key);
    const recipient = await importRecipient(asked.key);
    const taker = { principal, jkt: proof.jkt, run: asked.run ?? "" };
    handles = await readHandles(broker, caller, taker.jkt, asked.handles);
    const allowed = await authorizePresented(broker, caller, "check", taker, handles);
    const spent = allowed.flatMap(({ state: { left, taken } }, index): ItemFailure[] =>
      left > 0 || taken ? [] : [new ClaimcheckError("handle_spent").at(index)],
    );
    if (spent.length > 0) throw batchError(spent);
    // Without handles there is no rule yet that has let the caller do this.
    const decision = broker.policy.decideForAny(caller, "check");
    if (!decision.allowed) throw new ClaimcheckError("forbidden", denial(decision));
    const confirmed = { ...about, outcome: "confirmed" } as const;
    const records = grants(confirmed, allowed).map((record, index) => ({
      ...record,
      ...(cacheIdOf(allowed[index] as Allowed) === undefined && { code: "cache_never" }),
    }));
    await broker.audit.record(records.length > 0 ? records : [{ ...confirmed, rule: decision.rule }]);
    const named = allowed.map((each) => ({ jti: each.state.jti, cacheId: cacheIdOf(each) }));
    const said = { iss: broker.url, tenant, proof: proof.jti, handles: named };
    return { confirmation: await sealConfirmation(said, broker.keys.signingKey, recipient) };
  } catch (thrown) {
    return refuse(broker, about, handles, thrown);
  }
}

/** Undefined where the rule that issued the handle, or the one that lets it be checked today, says `cache: never`. */
export const cacheIdOf = ({ state, limits }: Allowed): string | undefined =>
  limits.cache === "never" || state.cacheId === "" ? undefined : state.cacheId;
