/** The broker's HTTP interface: which route takes what, and what answers it. openapi.yaml is its contract. */
import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import { matchedRoutes } from "hono/route";
import type * as z from "zod/mini";
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
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
import type { Account } from "../quota/budget.ts";
import type { QuotaName } from "../quota/quota.ts";
import { attest } from "../requests/attest.ts";
import { check } from "../requests/check.ts";
import { issue } from "../requests/issue.ts";
import type { ProvenMessage } from "../requests/presentation.ts";
import { redeem } from "../requests/redeem.ts";
import { inspect, revoke, revokeOne } from "../requests/revoke.ts";
import { wrap } from "../requests/wrap.ts";
import { countRefusal, createGuards, type Env } from "./guards.ts";
import { problem } from "./problem.ts";
import { parametersOf, parse, validate } from "./validate.ts";

/** Version, trace id, the caller's span, flags. Later versions may have more to say. */
const traceparent = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;

export type BrokerApp = Hono<Env>;

/** Who sent a body, and with what. */
interface Sender {
  readonly caller: Caller;
  /** The request's id. */
  readonly request: string;
  readonly account: Account | undefined;
  readonly message: ProvenMessage;
}

/** What a route with a body takes, how much of which quota, and what answers it. */
interface Row<Schema extends z.ZodMiniType> {
  readonly quota: QuotaName;
  /** Whose key the request is proven by: that of the handles in it, always; or the caller's, where one is named. */
  readonly proof: "handles" | "caller";
  readonly body: Schema;
  /** How many items of the quota it costs; one where it is no batch. */
  readonly cost?: (asked: z.infer<Schema>) => number;
  readonly answer: (asked: z.infer<Schema>, sender: Sender) => Promise<object>;
}

const secrets = ({ secrets: { length } }: { readonly secrets: readonly unknown[] }) => length;
const handles = ({ handles: { length } }: { readonly handles: readonly unknown[] }) => length;

export function createApp(broker: Broker): BrokerApp {
  const app = new Hono<Env>();
  const { messageOf, charge, proving, asking, looking } = createGuards(broker);

  app.use(async (c, next) => {
    const start = performance.now();
    c.set("request", randomUUID());
    await next();
    const { method } = c.req;
    const [, trace] = traceparent.exec(c.req.header("traceparent") ?? "") ?? [];
    const route = matchedRoutes(c).findLast((each) => each.method !== "ALL")?.path;
    const error = c.error && asClaimcheckError(c.error);
    if (error) countRefusal(broker, error, c.get("caller"));
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

  const post = <Schema extends z.ZodMiniType>(
    path: string,
    { quota, proof, body, cost = () => 1, answer }: Row<Schema>,
  ) =>
    app.post(path, proof === "handles" ? proving(quota) : asking(quota), async (c) => {
      const message = messageOf(c);
      const asked = parse(message.body, body);
      // The first one was charged for when the caller was known.
      await charge(c, quota, cost(asked) - 1);
      const sender = {
        caller: c.get("caller"),
        request: c.get("request"),
        account: c.get("account"),
        message,
      };
      return c.json(await answer(asked, sender));
    });

  post("/v1/handles", {
    quota: "issue",
    proof: "caller",
    body: IssueRequest,
    cost: secrets,
    answer: (asked, { caller, request, account }) => issue(broker, caller, asked, request, account),
  });
  post("/v1/handles/wrap", {
    quota: "issue",
    proof: "caller",
    body: WrapRequest,
    cost: secrets,
    answer: (asked, { caller, request }) => wrap(broker, caller, asked, request),
  });
  post("/v1/handles/check", {
    quota: "redeem",
    proof: "handles",
    body: CheckRequest,
    cost: handles,
    answer: (asked, { caller, message, request }) => check(broker, caller, asked, message, request),
  });
  post("/v1/redemptions", {
    quota: "redeem",
    proof: "handles",
    body: RedemptionRequest,
    cost: handles,
    answer: (asked, { caller, message, request, account }) =>
      redeem(broker, caller, asked, message, request, account),
  });
  post("/v1/receipts", {
    quota: "redeem",
    proof: "handles",
    body: ReceiptRequest,
    cost: handles,
    answer: (asked, { caller, message, request }) => attest(broker, caller, asked, message, request),
  });
  post("/v1/revocations", {
    quota: "manage",
    proof: "caller",
    body: RevocationRequest,
    answer: (asked, { caller, request }) => revoke(broker, caller, asked, request),
  });

  app.get("/v1/handles/:jti", looking, async (c) =>
    c.json(await inspect(broker, c.get("caller"), c.req.param("jti"), c.get("request"))),
  );

  app.delete("/v1/handles/:jti", looking, async (c) =>
    c.json(await revokeOne(broker, c.get("caller"), c.req.param("jti"), c.get("request"))),
  );

  app.get("/v1/whoami", looking, async (c) => {
    const { whoAmI } = await import("../requests/who-am-i.ts");
    return c.json(whoAmI(broker, c.get("caller")));
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
