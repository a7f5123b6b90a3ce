/**
 * The executor's HTTP interface: who may ask, how much, how slowly, and what answers. openapi.yaml is its contract.
 * Not Hono's: a run's answer needs the connection itself, to feel how fast it is read and that it was closed.
 */
import { createHash, randomUUID, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { asClaimcheckError, ClaimcheckError } from "../../shared/errors.ts";
import { harden, type ServerLimits, serverOptions } from "../../shared/http-hardening.ts";
import { createBodyRoom } from "./body-room.ts";
import { hasMoreValues } from "./json-size.ts";
import { serveRun, type Workplace } from "./serve-run.ts";
import { RunRequest } from "./wire.ts";

export interface ExecutorLimits extends ServerLimits {
  /** Of a request's body, in bytes. */
  readonly body: number;
}

/** What the operator's log says of a request. */
export interface ServedRequest {
  readonly request: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Of an error, or of a run that failed. */
  readonly code?: string;
  /** A run's. */
  readonly exitCode?: number;
  readonly cause?: unknown;
}

interface ExecutorServerSettings extends Workplace {
  /** What a client has to know, where not the socket's permissions decide who may ask. */
  readonly token?: string | undefined;
  readonly limits: ExecutorLimits;
  readonly log: (entry: ServedRequest) => void;
}

export interface ExecutorServer {
  readonly server: Server;
  /** Takes no more runs. @returns when the last one has ended. */
  drain(): Promise<void>;
  /** Ends those that are left. */
  cancel(): void;
}

export const routes = [
  { method: "POST", path: "/v1/runs" },
  { method: "GET", path: "/healthz" },
] as const;

/** So many bodies of the largest size are held at once. */
const bodiesAtOnce = 8;
/** Of a request's body: names, texts and numbers. A plan of a thousand files has a few thousand. */
const valueLimit = 25_000;
/** For a client to take an answer that is no run's, in milliseconds. */
const lastWords = 2_000;
/** Not listening yet. */
export function createExecutorServer(settings: ExecutorServerSettings): ExecutorServer {
  const { token, limits, log } = settings;
  const stop = new AbortController();
  const active = new Set<Promise<void>>();
  const room = createBodyRoom(bodiesAtOnce * limits.body);
  let draining = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const entry = { request: randomUUID(), method: request.method ?? "", path: pathOf(request) };
    try {
      const outcome = await route(request, response);
      const told = typeof outcome === "number" ? { exitCode: outcome } : outcome && { code: outcome };
      log({ ...entry, status: 200, ...told });
    } catch (thrown) {
      const error = asClaimcheckError(thrown);
      refuse(request, response, error);
      log({ ...entry, status: error.status, code: error.reason, cause: error.cause });
    }
  }

  /** @returns what a run came to. */
  async function route(request: IncomingMessage, response: ServerResponse) {
    const { method, path } = findRoute(request);
    if (path === "/healthz") {
      sendJson(response, 200, "application/json", { status: "ok" }, method === "HEAD");
      return undefined;
    }
    authenticate(request.headers.authorization, token);
    if (draining) throw new ClaimcheckError("executor_stopping");
    // A page in a browser can send any other type to any server without asking it first.
    if (!/^application\/json *(;|$)/i.test(request.headers["content-type"] ?? "")) {
      throw new ClaimcheckError("unsupported_media_type");
    }
    const share = room.enter();
    try {
      const asked = parse(await readBody(request, limits.body, share.take));
      return await serveRun(asked, response, settings, stop.signal);
    } finally {
      share.leave();
    }
  }

  const server = createServer(serverOptions(limits), (request, response) => {
    const answered = answer(request, response).finally(() => active.delete(answered));
    active.add(answered);
  });
  harden(server, limits);

  return {
    server,
    async drain() {
      draining = true;
      server.close();
      server.closeIdleConnections();
      await Promise.all(active);
    },
    cancel: () => stop.abort(),
  };
}

const pathOf = ({ url = "" }: IncomingMessage) => url.split("?", 1)[0] as string;

function findRoute(request: IncomingMessage) {
  const fitting = routes.filter(({ path }) => path === pathOf(request));
  if (fitting.length === 0) throw new ClaimcheckError("not_found");
  const method = request.method ?? "";
  const asked = method === "HEAD" ? "GET" : method;
  const found = fitting.find((each) => each.method === asked);
  if (!found) throw new ClaimcheckError("method_not_allowed");
  return { method, path: found.path };
}

/** @throws {ClaimcheckError} `unauthenticated`. */
function authenticate(authorization: string | undefined, token: string | undefined): void {
  if (token === undefined) return;
  const given = /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
  const hash = (text: string) => createHash("sha256").update(text).digest();
  if (!timingSafeEqual(hash(given), hash(token))) throw new ClaimcheckError("unauthenticated");
}

/** @throws {ClaimcheckError} `body_too_large`, or what `take` throws. */
async function readBody(
  request: IncomingMessage,
  limit: number,
  take: (bytes: number) => void,
): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) > limit) throw new ClaimcheckError("body_too_large");
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > limit) throw new ClaimcheckError("body_too_large");
    take(chunk.length);
  }
  const body = Buffer.concat(chunks, size);
  for (const chunk of chunks) chunk.fill(0);
  return body;
}

/** @param body has values in it; it is wiped. */
function parse(body: Buffer): RunRequest {
  let json: unknown;
  try {
    if (hasMoreValues(body, valueLimit)) {
      throw new ClaimcheckError("body_too_large", { detail: `it has more than ${valueLimit} values` });
    }
    json = JSON.parse(body.toString());
  } catch (thrown) {
    if (thrown instanceof ClaimcheckError) throw thrown;
    throw new ClaimcheckError("invalid_request", { detail: "the body is not JSON" });
  } finally {
    body.fill(0);
  }
  const parsed = RunRequest.safeParse(json);
  if (parsed.success) return parsed.data;
  // Fields of ours; what the client wrote there, such as the name of a value, is not repeated.
  const fields = new Set(parsed.error.issues.map(({ path }) => String(path[0] ?? "the body")));
  throw new ClaimcheckError("invalid_request", { detail: `wrong or missing: ${[...fields].join(", ")}` });
}

function refuse(request: IncomingMessage, response: ServerResponse, error: ClaimcheckError): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  if (error.code === "executor_busy") response.setHeader("retry-after", "5");
  if (error.code === "unauthenticated") response.setHeader("www-authenticate", "Bearer");
  if (error.code === "method_not_allowed") {
    const allowed = routes.filter(({ path }) => path === pathOf(request)).map(({ method }) => method);
    response.setHeader("allow", allowed.join(", "));
  }
  // Whatever is left of the body is not read, so the connection is of no more use.
  if (!request.complete) response.setHeader("connection", "close");
  sendJson(response, error.status, "application/problem+json", error.problem(), request.method === "HEAD");
}

function sendJson(
  response: ServerResponse,
  status: number,
  type: string,
  body: object,
  headOnly: boolean,
): void {
  const text = JSON.stringify(body);
  response.setTimeout(lastWords, () => response.destroy());
  response.writeHead(status, {
    "content-type": type,
    "cache-control": "no-store",
    "content-length": Buffer.byteLength(text),
  });
  response.end(headOnly ? undefined : text);
}
