/**
 * A proxy that ends TLS, as companies have them: it holds a certificate for the broker's name that the client
 * trusts, reads everything, and may change it both ways.
 */
import { once } from "node:events";
import { createServer, request } from "node:https";
import { text } from "node:stream/consumers";
import { onTestFinished } from "vitest";
import type { Fetch } from "../../executor/broker-client/call.ts";
import { makeCertificate } from "./certificate.ts";

export interface Message {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

interface Meddling {
  /** What the broker gets in place of what was sent. */
  request?(message: Message): Message | Promise<Message>;
  /** What the client gets in place of the broker's answer. */
  answer?(body: string, to: Message): string | Promise<string>;
}

/** @param toBroker the line behind the proxy. */
export async function startTlsProxy(url: string, toBroker: Fetch) {
  const { hostname } = new URL(url);
  const certificate = await makeCertificate(hostname);
  /** All that the proxy saw, in the clear. */
  const seen: string[] = [];
  let meddling: Meddling = {};

  const server = createServer(certificate, async (incoming, outgoing) => {
    const sent: Message = {
      method: incoming.method ?? "",
      path: incoming.url ?? "",
      headers: incoming.headers as Record<string, string>,
      body: await text(incoming),
    };
    const passed = (await meddling.request?.(sent)) ?? sent;
    const { method, headers, body } = passed;
    const { authorization, dpop, "content-type": type } = headers;
    const answer = await toBroker(`${url}${passed.path}`, {
      method,
      headers: {
        ...(authorization && { authorization }),
        ...(dpop && { dpop }),
        ...(type && { "content-type": type }),
      },
      ...(body && { body }),
    });
    const answered = await answer.text();
    seen.push(JSON.stringify(sent), answered);
    outgoing.statusCode = answer.status;
    outgoing.end((await meddling.answer?.(answered, sent)) ?? answered);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };

  const fetch: Fetch = async (address, { method, headers, body }) => {
    const { pathname: path } = new URL(address);
    const options = { port, host: "127.0.0.1", servername: hostname, ca: certificate.cert, method, path };
    const asking = request({ ...options, headers: { host: hostname, ...headers } });
    asking.end(body);
    const [answer] = await once(asking, "response");
    return new Response(await text(answer), { status: answer.statusCode });
  };

  return {
    seen,
    /** The client's way to the broker. */
    fetch,
    meddle(how: Meddling): void {
      meddling = how;
    },
  };
}
