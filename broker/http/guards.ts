/** What is before a request's handler: who asks, how much and by which proof; and its body, which comes last. */
import type { ServerResponse } from "node:http";
import type { Context } from "hono";
import { every } from "hono/combine";
import { createMiddleware } from "hono/factory";
import { asClaimcheckError, ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import { openToken } from "../../shared/sealed-token.ts";
import type { Unseal } from "../authn/authenticate.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import type { Account } from "../quota/budget.ts";
import type { QuotaName } from "../quota/quota.ts";
import { confirmCaller, type ProvenMessage } from "../requests/presentation.ts";
import { readBody, refuseUnread } from "./body.ts";

export type Env = {
  /** What the answer is written to, where it goes over a socket. */
  Bindings: { outgoing?: ServerResponse };
  Variables: { caller: Caller; request: string; account: Account | undefined; body: string };
};

/** Refusals that could come without end, from anybody: the audit log counts them. All others are recorded by name. */
const counted: readonly ErrorCode[] = ["unauthenticated", "token_not_confined", "quota_exceeded"];

/** Counts a refusal, where it is one that nobody records. */
export function countRefusal(broker: Broker, error: ClaimcheckError, caller: Caller | undefined): void {
  if (counted.includes(error.code)) count(broker, error, caller);
}

function count({ audit }: Broker, { reason }: ClaimcheckError, caller: Caller | undefined): void {
  audit.count({ code: reason, ...(caller && { tenant: caller.tenant }) });
}

export function createGuards(broker: Broker) {
  const unseal: Unseal = (sent) => openToken(sent, broker.url, broker.keys.findDecryptionKey);
  const readable = createMiddleware<Env>(async (c, next) => {
    refuseUnread(c);
    return next();
  });
  const withBody = createMiddleware<Env>(async (c, next) => {
    c.set("body", await readBody(c, c.get("account")));
    return next();
  });
  /** The request as its proof has to cover it: under our own URL, not under what the client or a proxy calls us. */
  const messageOf = (c: Context<Env>): ProvenMessage => ({
    proof: c.req.header("dpop"),
    method: c.req.method,
    url: `${broker.url}${c.req.path}`,
    body: c.get("body") ?? "",
  });
  /** Counts what the caller asks for, and says in the answer how its quotas stand. */
  const charge = async (c: Context<Env>, quota: QuotaName, amount: number): Promise<void> => {
    const charged = amount > 0 && (await broker.quotas?.charge(quota, c.get("caller"), amount));
    if (!charged) return;
    for (const [name, value] of Object.entries(charged.headers)) c.header(name, value);
    const { exceeded } = charged;
    if (!exceeded) return;
    throw new ClaimcheckError("quota_exceeded", { detail: `${exceeded.policy}: ${exceeded.limit} a minute` });
  };
  /** A caller that is unknown, or over its quota, is refused before its body is read. */
  const authenticated = (quota: QuotaName) =>
    createMiddleware<Env>(async (c, next) => {
      const caller = await broker.authenticate(c.req.header("authorization"), unseal);
      c.set("caller", caller);
      await charge(c, quota, 1);
      const account = broker.budgets?.account(caller.tenant);
      c.set("account", account);
      try {
        await next();
      } finally {
        // Until it is read, an answer takes up the room that it was given.
        const { outgoing } = (c.env ?? {}) as Env["Bindings"];
        if (account && outgoing && !outgoing.closed) outgoing.once("close", account.close);
        else account?.close();
      }
    });
  /** Where no handle is presented, a proof is asked for by the token, and by some actions. */
  const confirmed = createMiddleware<Env>(async (c, next) => {
    const caller = c.get("caller");
    try {
      c.set("caller", await confirmCaller(broker, caller, messageOf(c)));
    } catch (thrown) {
      // Whoever saw a token can cause them without end.
      count(broker, asClaimcheckError(thrown), caller);
      throw thrown;
    }
    return next();
  });
  const proving = (quota: QuotaName) => every(readable, authenticated(quota), withBody);
  const asking = (quota: QuotaName) => every(proving(quota), confirmed);
  const looking = every(authenticated("manage"), confirmed);

  return { messageOf, charge, proving, asking, looking };
}
