/** The app on a socket, with limits on what a client can make this process hold: time, headers, connections. */
import { createServer as createPlainServer, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { rawErrorResponse } from "../../shared/raw-error-response.ts";
import type { BrokerApp } from "./app.ts";

export interface ServerLimits {
  /** For all headers of a request to arrive, in seconds; an idle new connection lives no longer. */
  readonly headersTimeout: number;
  /** The time limit for a whole request, and then for the client to read the answer, in seconds. */
  readonly requestTimeout: number;
  /** The maximum number of connections; the broker closes further ones at once. */
  readonly connections: number;
}

/** The largest headers that are read, in bytes. */
const headerLimit = 16 * 1024;
/** How long a connection is kept open between two requests, in milliseconds. */
const keepAlive = 5_000;

/** How long a refused connection may take to hear so, in milliseconds. */
const lingering = 1_000;

/**
 * What a connection is good for. Node.js begins all the requests that somebody sends on it without waiting for answers,
 * and a few hundred clients that do so would keep it busy for minutes.
 */
const requestsPerConnection = 100;

export const defaultLimits: ServerLimits = { headersTimeout: 10, requestTimeout: 30, connections: 8192 };

/**
 * Not listening yet.
 *
 * @param tls certificate and key in PEM; plaintext HTTP without them.
 */
export function createServer(
  app: BrokerApp,
  limits: ServerLimits = defaultLimits,
  tls?: { readonly cert: Buffer; readonly key: Buffer },
): Server {
  const server = createAdaptorServer({
    fetch: app.fetch,
    createServer: tls ? createTlsServer : createPlainServer,
    serverOptions: {
      ...(tls && { ...tls, minVersion: "TLSv1.2", handshakeTimeout: limits.headersTimeout * 1000 }),
      headersTimeout: limits.headersTimeout * 1000,
      requestTimeout: limits.requestTimeout * 1000,
      connectionsCheckingInterval: 500,
      keepAliveTimeout: keepAlive,
      maxHeaderSize: headerLimit,
    },
  }) as Server;
  server.maxConnections = limits.connections;
  server.maxRequestsPerSocket = requestsPerConnection;
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (socket.writable) socket.end(rawErrorResponse(error.code));
    // With our half closed, the connection would be the client's to keep for as long as it likes.
    endIn(lingering, socket);
  });
  server.prependListener("request", (_, response: ServerResponse) => {
    // From here on the whole answer waits for its reader, in memory of ours.
    response.once("prefinish", () => {
      if (response.socket) endIn(limits.requestTimeout * 1000, response.socket, response);
    });
  });
  limitPeers(server, Math.ceil(limits.connections / 2));
  return server;
}

/** @param whole what in time keeps the connection: it is over by then. */
function endIn(time: number, socket: Socket, whole: NodeJS.EventEmitter = socket): void {
  const timer = setTimeout(() => socket.destroy(), time);
  whole.once("close", () => clearTimeout(timer));
}

/** No peer has more than half of the connections, or it could keep out all others without a token. */
function limitPeers(server: Server, limit: number): void {
  const open = new Map<string, number>();
  server.on("connection", (socket: Socket) => {
    const peer = peerOf(socket.remoteAddress ?? "");
    const count = (open.get(peer) ?? 0) + 1;
    if (count > limit) {
      socket.destroy();
      return;
    }
    open.set(peer, count);
    socket.once("close", () => {
      const left = (open.get(peer) ?? 1) - 1;
      if (left > 0) open.set(peer, left);
      else open.delete(peer);
    });
  });
}

/** An IPv6 network of 64 bits is one peer: a single host has as many addresses as it likes. */
function peerOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address)?.[1];
  if (mapped || !address.includes(":")) return mapped ?? address;
  const [before = "", after = ""] = address.split("::");
  const head = before.split(":").filter(Boolean);
  const tail = after.split(":").filter(Boolean);
  const zeros = address.includes("::") ? Array(Math.max(0, 8 - head.length - tail.length)).fill("0") : [];
  return [...head, ...zeros, ...tail].slice(0, 4).join(":");
}
