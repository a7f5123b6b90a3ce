/**
 * Looking after handles once they are out: what state one is in, and how to void it or many. Who asked for a handle
 * may always look at it and, with a proof, revoke it; others need a rule. A handle that is not there, one of another tenant and one
 * that is none of the caller's business are the same to the caller.
 */
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import type { HandleStatus, RevocationRequest, Revoked } from "../../shared/wire.ts";
import type { AuditRecord } from "../audit/record.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { denial, isTrusted, refusalOf } from "../policy/decide.ts";
import type { Revocation } from "../store/store.ts";
import { auditReason } from "./audit-reason.ts";
import { type Found, findHandles } from "./find-handles.ts";

export async function inspect(
  broker: Broker,
  caller: Caller,
  jti: string,
  request: string,
): Promise<HandleStatus> {
  const { state, rule } = await findOwn(broker, caller, "inspect", jti, request);
  const { subject, run, uses, left, expires, digest, uri } = state;
  await broker.audit.record([
    { ...aboutOf(caller, "inspect", request), outcome: "shown", jti, digest, uri, ...rule },
  ]);
  return { jti, subject, ...(run !== undefined && { run }), uses, left, expires };
}

export async function revokeOne(
  broker: Broker,
  caller: Caller,
  jti: string,
  request: string,
): Promise<Revoked> {
  const { state, rule } = await findOwn(broker, caller, "revoke", jti, request);
  const { digest, uri, run } = state;
  const about = {
    ...aboutOf(caller, "revoke", request),
    jti,
    digest,
    uri,
    ...(run !== undefined && { run }),
  };
  return revokeRecorded(broker, caller, { jti }, { ...about, ...rule });
}

export async function revoke(
  broker: Broker,
  caller: Caller,
  asked: RevocationRequest,
  request: string,
): Promise<Revoked> {
  if ("jti" in asked) return revokeOne(broker, caller, asked.jti, request);
  const about: About = {
    ...aboutOf(caller, "revoke", request),
    ...("run" in asked && { run: asked.run }),
    ...("subject" in asked && { subject: asked.subject }),
  };
  const own = "subject" in asked && asked.subject === caller.principal;
  if (own && isTrusted(caller)) return revokeRecorded(broker, caller, asked, about);
  const decision = broker.policy.decide(caller, "revoke");
  if (!decision.allowed) {
    const refusal = own ? new ClaimcheckError("proof_required") : refusalOf(broker.policy, caller, "revoke");
    await broker.audit.record([{ ...about, outcome: "denied", ...auditReason(refusal) }]);
    throw refusal;
  }
  return revokeRecorded(broker, caller, asked, { ...about, rule: decision.rule });
}

type About = Omit<AuditRecord, "outcome">;

const aboutOf = ({ tenant, principal }: Caller, action: "inspect" | "revoke", request: string) =>
  ({ action, tenant, principal, request }) as const;

/** In force on every broker when it returns; a revocation that failed after its record is recorded as failed. */
async function revokeRecorded(
  { audit, store }: Broker,
  { tenant }: Caller,
  revocation: Revocation,
  about: About,
): Promise<Revoked> {
  await audit.record([{ ...about, outcome: "revoked" }]);
  try {
    await store.revoke(tenant, revocation);
  } catch (thrown) {
    await audit.record([{ ...about, outcome: "failed", code: asClaimcheckError(thrown).code }]);
    throw thrown;
  }
  return { status: "revoked" };
}

/** People paste things into paths, too: only what has the form of an id gets into the log. */
const idForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

async function findOwn(
  broker: Broker,
  caller: Caller,
  action: "inspect" | "revoke",
  jti: string,
  request: string,
): Promise<{ state: Found; rule: Pick<AuditRecord, "rule"> }> {
  const known = idForm.test(jti);
  const [state] = known ? await findHandles(broker, caller.tenant, [jti]) : [];
  const decision = state && broker.policy.decide(caller, action, state.uri);
  if (decision?.allowed) return { state: state as Found, rule: { rule: decision.rule } };
  const own = state?.subject === caller.principal;
  if (own && (action === "inspect" || isTrusted(caller))) return { state, rule: {} };
  const wanted = state && refusalOf(broker.policy, caller, action, state.uri);
  const refusal =
    own || wanted?.code === "proof_required"
      ? new ClaimcheckError("proof_required")
      : new ClaimcheckError("not_found", decision && denial(decision));
  await broker.audit.record([
    {
      ...aboutOf(caller, action, request),
      outcome: "denied",
      ...auditReason(refusal),
      ...(known && { jti }),
    },
  ]);
  throw refusal;
}
