/**
 * A broker on its address, from listening to the end. On SIGTERM `/readyz` says that it is draining while it goes on
 * serving for as long as load balancers take to notice, then nothing new is accepted, and it ends once all that was
 * accepted is answered. SIGINT, from a person at a terminal, is not waited with. A second signal ends it at once.
 */
import type { EventEmitter } from "node:events";
import { once } from "node:events";
import type { Server } from "node:https";
import type { AddressInfo } from "node:net";
import { constants } from "node:os";
import { setTimeout } from "node:timers/promises";
import type { BrokerApp } from "../../broker/http/app.ts";
import { createServer } from "../../broker/http/server.ts";
import { Failure } from "../../shared/failure.ts";
import type { ServerLimits } from "../../shared/http-hardening.ts";
import type { Address } from "../host/address.ts";
import type { LiveCertificate } from "./certificate.ts";

export interface Shutdown {
  /** For how long it serves after SIGTERM, in seconds. */
  readonly delay: number;
  /** How long the broker then waits for open requests, in seconds. */
  readonly limit: number;
}

export const defaultShutdown: Shutdown = { delay: 5, limit: 30 };

interface Served {
  readonly app: BrokerApp;
  readonly certificate?: LiveCertificate | undefined;
  /** From now on it is not ready. */
  drain?(): void;
  close(): Promise<void>;
}

interface ListenSettings {
  readonly limits?: ServerLimits;
  readonly shutdown: Shutdown;
  /** @param where it listens: this process, whatever its clients call the broker. */
  readonly onListening: (where: string) => void;
}

export function serve(broker: Served, { host, port }: Address, settings: ListenSettings): void {
  const { certificate } = broker;
  const server = createServer(broker.app, settings.limits, certificate?.current());
  certificate?.onRenewed((renewed) => (server as Server).setSecureContext(renewed));
  endOnError(server, { host, port });
  stopOnSignal(server as Server, broker, settings.shutdown);
  server.listen(port, host, () => settings.onListening(addressOf(server as Server)));
}

function addressOf(server: Server): string {
  const { address, port, family } = server.address() as AddressInfo;
  return `${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

/** An address that cannot be had. */
export function endOnError(server: EventEmitter, { host, port }: Address): void {
  server.on("error", (error: NodeJS.ErrnoException) => {
    end(new Failure("state_unusable", { detail: `${host}:${port}: ${error.code}` }));
  });
}

function end(failure: Failure): never {
  process.stderr.write(`claimcheck: ${failure}\n`);
  process.exit(failure.exitCode);
}

function stopOnSignal(server: Server, broker: Served, { delay, limit }: Shutdown): void {
  let stopping = false;
  server.prependListener("request", (_, response) => {
    // A connection that is kept would be closed under the next request.
    if (stopping) response.shouldKeepAlive = false;
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) process.exit(128 + constants.signals[signal]);
      stopping = true;
      void stop(signal === "SIGINT" ? 0 : delay);
    });
  }

  async function stop(wait: number): Promise<void> {
    broker.drain?.();
    await setTimeout(wait * 1000);
    const closed = once(server, "close");
    server.close();
    void setTimeout(limit * 1000, undefined, { ref: false }).then(() => {
      end(new Failure("timed_out", { detail: `requests were still under way after ${limit} s` }));
    });
    await closed;
    await broker.close();
  }
}
