/** What the broker's and the executor's server have against clients that hold on to them: bounds on headers, time, connections. */
import type { Server } from "node:http";
import type { Socket } from "node:net";
import { rawErrorResponse } from "./raw-error-response.ts";

export interface ServerLimits {
  /** For all headers of a request to arrive, in seconds; an idle new connection lives no longer. */
  readonly headersTimeout: number;
  /** The time limit for a whole request, in seconds. */
  readonly requestTimeout: number;
  /** The maximum number of connections; the server closes further ones at once. */
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

/** For Node's createServer. */
export const serverOptions = ({ headersTimeout, requestTimeout }: ServerLimits) => ({
  headersTimeout: headersTimeout * 1000,
  requestTimeout: requestTimeout * 1000,
  connectionsCheckingInterval: 500,
  keepAliveTimeout: keepAlive,
  maxHeaderSize: headerLimit,
});

/** For a server that was made with these options. */
export function harden(server: Server, { connections }: ServerLimits): void {
  server.maxConnections = connections;
  server.maxRequestsPerSocket = requestsPerConnection;
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (socket.writable) socket.end(rawErrorResponse(error.code));
    // With our half closed, the connection would be the client's to keep for as long as it likes.
    endIn(lingering, socket);
  });
}

/** @param whole what in time keeps the connection: it is over by then. */
export function endIn(time: number, socket: Socket, whole: NodeJS.EventEmitter = socket): void {
  const timer = setTimeout(() => socket.destroy(), time);
  whole.once("close", () => clearTimeout(timer));
}
