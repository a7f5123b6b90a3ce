/** The broker's HTTP interface: which route takes what, and what answers it. openapi.yaml is its contract. */
import { randomUUID } from "node:crypto";
import type { ServerResponse } from "node:http";
import { type Context, Hono } from "hono";
import { every } from "hono/combine";
import { createMiddleware } from "hono/factory";
import { matchedRoutes } from "hono/route";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type * as z from "zod/mini";
import { asClaimcheckError, ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import {
  CheckRequest,
  IssueRequest,
  ReceiptRequest,
  RedemptionRequest,
  RevocationRequest,
  WrapRequest,
} from "../../shared/wire.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { type Account, budgetPause } from "../quota/budget.ts";
import type { QuotaName } from "../quota/quota.ts";
import { attest } from "../requests/attest.ts";
import { check } from "../requests/check.ts";
import { issue } from "../requests/issue.ts";
import { confirmCaller, type ProvenMessage } from "../requests/presentation.ts";
import { redeem } from "../requests/redeem.ts";
import { inspect, revoke, revokeOne } from "../requests/revoke.ts";
import { wrap } from "../requests/wrap.ts";
import { readBody, refuseUnread } from "./body.ts";
import { identify } from "./identify.ts";

type Env = {
  /** What the answer is written to, where it goes over a socket. */
  Bindings: { outgoing?: ServerResponse };
  Variables: { caller: Caller; request: string; account: Account | undefined; body: string };
};

/** Version, trace id, the caller's span, flags. Later versions may have more to say. */
const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;

export type BrokerApp = Hono<Env>;

/** Refusals that could come without end, from anybody: the audit log counts them. All others are recorded by name. */
const counted: readonly ErrorCode[] = ["unauthenticated", "token_not_confined", "quota_exceeded"];

export function createApp(broker: Broker): BrokerApp {
  const app = new Hono<Env>();

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
      const caller = await identify(broker, c.req.header("authorization"));
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
      countRefusal(broker, asClaimcheckError(thrown), caller);
      throw thrown;
    }
    return next();
  });
  const proving = (quota: QuotaName) => every(readable, authenticated(quota), withBody);
  const asking = (quota: QuotaName) => every(proving(quota), confirmed);
  const looking = every(authenticated("manage"), confirmed);

  app.use(async (c, next) => {
    const start = performance.now();
    c.set("request", randomUUID());
    await next();
    const { method } = c.req;
    const [, trace] = traceparent.exec(c.req.header("traceparent") ?? "") ?? [];
    const route = matchedRoutes(c).findLast((each) => each.method !== "ALL")?.path;
    const error = c.error && asClaimcheckError(c.error);
    if (error && counted.includes(error.code)) countRefusal(broker, error, c.get("caller"));
    broker.log({
      request: c.get("request"),
      ...(trace !== undefined && { trace }),
      method,
      ...(route !== undefined && { route }),
      status: c.res.status,
      seconds: (performance.now() - start) / 1000,
      ...(error && { code: error.reason, cause: error.cause }),
    });
  });

  app.use("/v1/*", async (c, next) => {
    c.header("cache-control", "no-store");
    await next();
  });

  app.post("/v1/handles", asking("issue"), async (c) => {
    const asked = parse(c.get("body"), IssueRequest);
    await charge(c, "issue", asked.secrets.length - 1);
    return c.json(await issue(broker, c.get("caller"), asked, c.get("request"), c.get("account")));
  });

  app.post("/v1/handles/wrap", asking("issue"), async (c) => {
    const asked = parse(c.get("body"), WrapRequest);
    await charge(c, "issue", asked.secrets.length - 1);
    return c.json(await wrap(broker, c.get("caller"), asked, c.get("request")));
  });

  app.post("/v1/handles/check", proving("redeem"), async (c) => {
    const message = messageOf(c);
    const asked = parse(message.body, CheckRequest);
    await charge(c, "redeem", asked.handles.length - 1);
    return c.json(await check(broker, c.get("caller"), asked, message, c.get("request")));
  });

  app.get("/v1/handles/:jti", looking, async (c) =>
    c.json(await inspect(broker, c.get("caller"), c.req.param("jti"), c.get("request"))),
  );

  app.delete("/v1/handles/:jti", looking, async (c) =>
    c.json(await revokeOne(broker, c.get("caller"), c.req.param("jti"), c.get("request"))),
  );

  app.post("/v1/revocations", asking("manage"), async (c) =>
    c.json(await revoke(broker, c.get("caller"), parse(c.get("body"), RevocationRequest), c.get("request"))),
  );

  app.post("/v1/redemptions", proving("redeem"), async (c) => {
    const message = messageOf(c);
    const asked = parse(message.body, RedemptionRequest);
    await charge(c, "redeem", asked.handles.length - 1);
    return c.json(await redeem(broker, c.get("caller"), asked, message, c.get("request"), c.get("account")));
  });

  app.post("/v1/receipts", proving("redeem"), async (c) => {
    const message = messageOf(c);
    const asked = parse(message.body, ReceiptRequest);
    await charge(c, "redeem", asked.handles.length - 1);
    return c.json(await attest(broker, c.get("caller"), asked, message, c.get("request")));
  });

  // An embedded broker, which is started for each run, has nobody who asks these.
  app.get("/v1/audit", looking, async (c) => {
    const { AuditQuery, readAudit } = await import("../requests/read-audit.ts");
    const asked = validate(parametersOf(c), AuditQuery, "the query");
    return c.json(await readAudit(broker, c.get("caller"), asked, c.get("request")));
  });

  app.get("/v1/audit/head", looking, async (c) => {
    const { readHeads } = await import("../requests/read-audit.ts");
    return c.json(await readHeads(broker, c.get("caller"), c.get("request")));
  });

  app.get("/.well-known/jwks.json", (c) => c.json(broker.keys.jwks));
  app.get("/openapi.json", async (c) => {
    const { contract } = await import("./contract.ts");
    return c.json(await contract());
  });
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const complaints = broker.complaints();
    const stopping = complaints.filter(({ serving }) => !serving);
    if (stopping.length > 0) {
      const detail = stopping.map(({ part, message }) => `${part}: ${message}`).join("; ");
      throw new ClaimcheckError("not_ready", { detail });
    }
    return c.json({
      status: complaints.length > 0 ? "degraded" : "ready",
      complaints: complaints.map(({ part, message }) => ({ part, message })),
    });
  });

  const routes = app.routes
    .filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => ({
      method,
      path,
      pattern: new RegExp(`^${path.replace(/:\w+/g, "[^/]+")}$`),
    }));
  app.notFound((c) => {
    // A path that has a name is not one that has a parameter in that place.
    const named = routes.filter(({ path }) => path === c.req.path);
    const fitting = named.length > 0 ? named : routes.filter(({ pattern }) => pattern.test(c.req.path));
    const allowed = new Set(fitting.map(({ method }) => method));
    if (allowed.size === 0) return problem(c, new ClaimcheckError("not_found"));
    return problem(c, new ClaimcheckError("method_not_allowed"), { allow: [...allowed].join(", ") });
  });
  app.onError((thrown, c) => problem(c, asClaimcheckError(thrown)));
  return app;
}

function countRefusal({ audit }: Broker, { reason }: ClaimcheckError, caller: Caller | undefined): void {
  audit.count({ code: reason, ...(caller && { tenant: caller.tenant }) });
}

function parse<Schema extends z.ZodMiniType>(body: string, schema: Schema): z.infer<Schema> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new ClaimcheckError("invalid_request", { detail: "the body is not JSON" });
  }
  return validate(json, schema);
}

/** Those of the query; one that is there twice is a list, and no parameter is. */
function parametersOf({ req }: Context<Env>): unknown {
  const given = Object.entries(req.queries());
  return Object.fromEntries(given.map(([name, values]) => [name, values.length === 1 ? values[0] : values]));
}

function validate<Schema extends z.ZodMiniType>(
  json: unknown,
  schema: Schema,
  whole = "the body",
): z.infer<Schema> {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  // The path names fields of ours and positions; what the client wrote there is not repeated.
  const where = parsed.error.issues.map(({ path }) => path.join(".") || whole).slice(0, 5);
  throw new ClaimcheckError("invalid_request", { detail: `wrong or missing: ${where.join(", ")}` });
}

function problem(c: Context<Env>, error: ClaimcheckError, headers: Record<string, string> = {}): Response {
  const status = error.status as ContentfulStatusCode;
  return c.body(JSON.stringify(error.problem()), status, {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    ...(error.code === "store_unavailable" && { "retry-after": "2" }),
    ...(error.reason === "bytes_exceeded" && { "retry-after": String(budgetPause) }),
    ...(error.code === "issuer_unavailable" && { "retry-after": "10" }),
    // The rest of the body is not read, so the connection is of no more use.
    ...(error.code === "body_too_large" && { connection: "close" }),
    ...(status === 401 && { "www-authenticate": 'DPoP algs="EdDSA Ed25519 ES256", Bearer' }),
    ...headers,
  });
}
