/** The app on a socket, with limits on what a client can make this process hold: time, headers, connections. */
import { createServer as createPlainServer, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { endIn, harden, type ServerLimits, serverOptions } from "../../shared/http-hardening.ts";
import type { BrokerApp } from "./app.ts";

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
      ...serverOptions(limits),
    },
  }) as Server;
  harden(server, limits);
  server.prependListener("request", (_, response: ServerResponse) => {
    // From here on the whole answer waits for its reader, in memory of ours.
    response.once("prefinish", () => {
      if (response.socket) endIn(limits.requestTimeout * 1000, response.socket, response);
    });
  });
  limitPeers(server, Math.ceil(limits.connections / 2));
  return server;
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
