/**
 * Requests to a manager of secrets, as all of them have to be: to an origin that the source chose and no URI, redirects
 * not followed (they would carry the credentials), answers bounded, and for each tenant connections of its own.
 */
import type { Agent } from "undici";
import { readBounded } from "../../shared/read-bounded.ts";
import { SourceFailure } from "./provider.ts";

/** A value of 1 MiB can take six times that as JSON, and it is not alone in its answer. */
const answerLimit = 8 * 1024 * 1024;
const connectTime = 5_000;

export interface UpstreamRequest {
  readonly method: "GET" | "POST";
  /** Such as https://manager.example:8200. */
  readonly origin: string;
  /** Encoded, from its first slash on. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal: AbortSignal;
  readonly tenant: string;
}

export interface UpstreamAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

export type Upstream = ReturnType<typeof createUpstream>;

/**
 * @param name what errors call it, such as "the Vault server".
 * @param ca certificates to trust instead of the system's, PEM.
 */
export function createUpstream(name: string, ca?: (() => Promise<string>) | undefined) {
  const agents = new Map<string, Promise<Agent>>();
  const agentOf = (tenant: string): Promise<Agent> => {
    const made = agents.get(tenant) ?? open();
    agents.set(tenant, made);
    made.catch(() => agents.delete(tenant));
    return made;
  };

  async function open(): Promise<Agent> {
    const { Agent } = await import("./http-library.ts");
    const trusted = await readCa(ca);
    return new Agent({
      connections: 16,
      connect: { timeout: connectTime, ...(trusted !== undefined && { ca: trusted }) },
    });
  }

  return {
    /** @throws {SourceFailure} where there is no whole answer. */
    async send({ origin, tenant, ...request }: UpstreamRequest): Promise<UpstreamAnswer> {
      const agent = await agentOf(tenant);
      try {
        const { statusCode, headers, body } = await agent.request({
          origin,
          ...request,
          body: request.body ?? null,
        });
        return { status: statusCode, headers, text: await readText(name, body) };
      } catch (thrown) {
        if (thrown instanceof SourceFailure) throw thrown;
        if (request.signal.aborted) throw new SourceFailure("provider_timeout", { detail: name });
        const { code = "no connection" } = thrown as NodeJS.ErrnoException;
        throw new SourceFailure("provider_unreachable", { detail: `${name} (${code})` });
      }
    },

    async close(): Promise<void> {
      const opened = await Promise.allSettled(agents.values());
      await Promise.all(opened.map((each) => each.status === "fulfilled" && each.value.destroy()));
    },
  };
}

/** @throws {SourceFailure} */
export async function readCa(ca: (() => Promise<string>) | undefined): Promise<string | undefined> {
  return ca?.().catch((cause: NodeJS.ErrnoException) => {
    throw new SourceFailure("provider_failed", {
      detail: `the file of certificates to trust cannot be read (${cause.code})`,
    });
  });
}

/**
 * The whole text of an answer.
 *
 * @throws {SourceFailure} where it is too large.
 */
export async function readText(name: string, body: AsyncIterable<Buffer>): Promise<string> {
  const tooMuch = () => new SourceFailure("provider_failed", { detail: `${name}'s answer is too large` });
  return (await readBounded(body, answerLimit, tooMuch)).toString();
}

/** RFC 9110, 10.2.3: seconds or a date. In milliseconds from now. */
export function readRetryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== "string") return undefined;
  const time = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(time) ? Math.max(0, time) : undefined;
}

/** The failure that a status stands for, where nothing about the one request explains it. */
export function statusFailure(
  name: string,
  status: number,
  headers: UpstreamAnswer["headers"],
): SourceFailure {
  const after = readRetryAfter(headers["retry-after"]);
  const asked = { after, detail: `${name} answers with status ${status}` };
  if (status === 429) return new SourceFailure("provider_busy", { ...asked, again: true });
  // What a proxy or an overloaded server says passes; a failure of its own only if it says so.
  const again = [502, 503, 504].includes(status) || (status >= 500 && after !== undefined);
  return new SourceFailure("provider_failed", { ...asked, again });
}
