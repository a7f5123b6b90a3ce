/** The answer to a run: events, each a line of JSON, sent as they come and no faster than the client reads them. */
import type { ServerResponse } from "node:http";
import { Writable } from "node:stream";
import type { RunEvent } from "./wire.ts";

export type EventStream = ReturnType<typeof openEvents>;

/** @param stallLimit a client that takes nothing for this long, in milliseconds, is gone. */
export function openEvents(response: ServerResponse, stallLimit: number) {
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  response.flushHeaders();
  // What cannot be written any more is told by `close`.
  response.on("error", () => {});
  const closed = new Promise<void>((resolve) => response.once("close", resolve));

  /** @returns when it is on its way, or nobody is there any more. */
  function send(event: RunEvent): Promise<void> {
    if (response.destroyed) return Promise.resolve();
    const stalled = setTimeout(() => response.destroy(), stallLimit);
    const sent = new Promise<void>((resolve) => {
      response.write(`${JSON.stringify(event)}\n`, () => resolve());
    });
    return Promise.race([sent, closed]).finally(() => clearTimeout(stalled));
  }

  return {
    send,

    /** When the client has gone, or the answer has been sent to its end. */
    closed,

    /** A container's output stream; it takes the next bytes when the client has taken these. */
    output(type: "stdout" | "stderr", step: () => number): Writable {
      return new Writable({
        write(bytes: Buffer, _, done) {
          send({ type, step: step(), data: bytes.toString("base64") }).then(() => done(), done);
        },
      });
    },

    end(): void {
      response.end();
    },
  };
}
