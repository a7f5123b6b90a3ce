/**
 * HTTP to a broker in the same process. Node.js loads its own Headers, Request and Response at their first use, which
 * was the largest single cost of a cold command; what Hono and our client use of them fits on this page. A process that
 * installs these can speak HTTP to nothing else.
 */
import type { BrokerApp } from "../../broker/http/app.ts";
import type { Fetch } from "../../executor/broker-client/call.ts";

type HeadersInit = Record<string, string> | Iterable<[string, string]>;

class LightHeaders {
  readonly #values = new Map<string, string>();

  constructor(init: HeadersInit = {}) {
    const entries = Symbol.iterator in init ? (init as Iterable<[string, string]>) : Object.entries(init);
    for (const [name, value] of entries) this.append(name, value);
  }

  get(name: string): string | null {
    return this.#values.get(name.toLowerCase()) ?? null;
  }

  has(name: string): boolean {
    return this.#values.has(name.toLowerCase());
  }

  set(name: string, value: string): void {
    this.#values.set(name.toLowerCase(), value);
  }

  append(name: string, value: string): void {
    const before = this.get(name);
    this.set(name, before === null ? value : `${before}, ${value}`);
  }

  delete(name: string): void {
    this.#values.delete(name.toLowerCase());
  }

  [Symbol.iterator](): IterableIterator<[string, string]> {
    return this.#values.entries();
  }
}

class LightResponse {
  readonly status: number;
  readonly headers: LightHeaders;
  readonly body: string | null;

  constructor(
    body: string | null = null,
    { status = 200, headers = {} }: { status?: number; headers?: HeadersInit } = {},
  ) {
    this.body = body;
    this.status = status;
    this.headers = new LightHeaders(headers);
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  async text(): Promise<string> {
    return this.body ?? "";
  }
}

/** Puts the classes of this page in the place of Node.js's own, for all of this process. */
export function installLightHttp(): void {
  Object.assign(globalThis, { Headers: LightHeaders, Response: LightResponse });
}

/** A `fetch` that reaches this app and nothing else, in a process that has the classes of this page. */
export function createLightFetch(app: BrokerApp): Fetch {
  return (url, { method, headers = {}, body = null }) => {
    const sent = new LightHeaders(headers);
    if (body !== null) sent.set("content-length", String(Buffer.byteLength(body)));
    const request = { url, method, headers: sent, body, text: async () => body ?? "" };
    return app.fetch(request as unknown as Request);
  };
}
