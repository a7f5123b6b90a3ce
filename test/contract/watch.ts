/**
 * Stands between Schemathesis and a broker. On the way there, every second request that fits its schema is given what
 * a schema cannot describe: URIs that can be read, handles of this broker, a key on its curve, a proof. On the way
 * back every answer is held to openapi.yaml, with its error code, and searched for plaintext in all forms that the
 * scrubber knows.
 */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, request } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { createIdentity, type Identity } from "../../executor/broker-client/identity.ts";
import { createScrubber } from "../../executor/scrub/scrubber.ts";
import { makeProof } from "../../shared/proof.ts";
import { CheckRequest, IssueRequest, IssueResponse, RedemptionRequest } from "../../shared/wire.ts";
import { findUndocumented } from "../support/openapi.ts";

interface Watched {
  /** Where the broker is, as it knows itself. */
  readonly broker: string;
  readonly accessToken: string;
  readonly uris: readonly string[];
  /** What must never be in an answer. */
  readonly values: readonly Uint8Array[];
}

interface Sent {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export async function startWatch({ broker, accessToken, uris, values }: Watched) {
  const scrubber = createScrubber(values);
  const identity = await createIdentity();
  const statuses = new Map<string, number>();
  const faults = new Set<string>();
  let requests = 0;

  const holdsPlaintext = (answer: string) => scrubber.find(Buffer.from(answer)).length > 0;

  async function issueHandles(count: number): Promise<string[]> {
    const secrets = Array.from({ length: count }, () => ({ uri: uris[0] }));
    const answer = await fetch(`${broker}/v1/handles`, {
      method: "POST",
      headers: { authorization: `Bearer ${accessToken}`, "content-type": "application/json" },
      body: JSON.stringify({ secrets }),
    });
    return IssueResponse.parse(await answer.json()).handles.map(({ handle }) => handle);
  }

  /** The request with what the schema could not say. */
  async function complete(sent: Sent): Promise<Sent> {
    const json = parseJson(sent.body);
    const issued = IssueRequest.safeParse(json);
    if (sent.path === "/v1/handles" && issued.success) {
      const secrets = issued.data.secrets.map((secret, index) => ({
        ...secret,
        uri: uris[(requests + index) % uris.length],
      }));
      return { ...sent, body: JSON.stringify({ ...issued.data, secrets }) };
    }
    // One without is sent to be refused.
    if (sent.headers.dpop === undefined) return sent;
    const redeemed = RedemptionRequest.safeParse(json);
    if (sent.path === "/v1/redemptions" && redeemed.success) {
      const handles = await issueHandles(redeemed.data.handles.length);
      return prove(sent, { ...redeemed.data, handles, key: identity.encryptionKey }, identity);
    }
    const checked = CheckRequest.safeParse(json);
    if (sent.path === "/v1/handles/check" && checked.success && checked.data.handles.length > 0) {
      const handles = await issueHandles(checked.data.handles.length);
      return prove(sent, { ...checked.data, handles, key: identity.encryptionKey }, identity);
    }
    return sent;
  }

  async function prove(sent: Sent, asked: object, { proofKey, encryptionKey }: Identity): Promise<Sent> {
    const body = JSON.stringify(asked);
    const covered = { method: sent.method, url: `${broker}${sent.path}`, accessToken, body };
    const { jwt: dpop } = await makeProof({ ...covered, ...("key" in asked && { encryptionKey }) }, proofKey);
    return { ...sent, body, headers: { ...sent.headers, dpop } };
  }

  async function forward({ method, path, headers, body }: Sent) {
    const { "transfer-encoding": _, ...kept } = headers;
    const length =
      body === "" && headers["content-length"] === undefined
        ? {}
        : { "content-length": Buffer.byteLength(body) };
    const outgoing = request(`${broker}${path}`, { agent: false, method, headers: { ...kept, ...length } });
    outgoing.end(body);
    const [answer] = await once(outgoing, "response");
    return {
      status: answer.statusCode as number,
      headers: answer.rawHeaders as string[],
      body: await text(answer),
    };
  }

  const server = createServer({ maxHeaderSize: 128 * 1024 }, async (incoming, outgoing) => {
    const { method = "", url: path = "", headers } = incoming;
    requests += 1;
    const turn = requests % 2 === 0;
    const sent: Sent = { method, path, headers, body: await text(incoming) };
    try {
      const answer = await forward(turn ? await complete(sent) : sent);
      const what = `${method} ${path.slice(0, 60)}`;
      const { pathname } = new URL(path, broker);
      const undocumented = findUndocumented(method, pathname, answer);
      if (undocumented) faults.add(`${what}: ${undocumented}`);
      if (answer.status >= 500) faults.add(`${what}: status ${answer.status}`);
      if (holdsPlaintext(`${answer.headers.join("\n")}\n${answer.body}`)) faults.add(`${what}: plaintext`);
      const status = String(answer.status);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      outgoing.writeHead(answer.status, answer.headers).end(answer.body);
    } catch (error) {
      faults.add(`${method} ${path.slice(0, 60)}: ${(error as Error).message}`);
      outgoing.destroy();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    holdsPlaintext,
    close() {
      server.closeAllConnections();
      server.close();
      return { requests, statuses, faults };
    },
  };
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
