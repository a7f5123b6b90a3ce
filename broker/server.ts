/** The app on a socket, with limits on what a client can make this process hold: time, headers, connections. */
import { createServer as createPlainServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { rawRefusal } from "../shared/raw-refusal.ts";
import type { BrokerApp } from "./app.ts";

export interface ServerLimits {
  /** For all headers of a request to arrive, in seconds; an idle new connection lives no longer. */
  readonly headersTimeout: number;
  /** For a whole request to arrive, in seconds. */
  readonly requestTimeout: number;
  /** Connections beyond this many are closed at once. */
  readonly connections: number;
}

/** The largest headers that are read, in bytes. */
const headerLimit = 16 * 1024;
/** How long a connection is kept open between two requests, in milliseconds. */
const keepAlive = 5_000;

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
    if (!socket.writable) return;
    socket.end(rawRefusal(error.code));
  });
  return server;
}
