/** One request to the broker: what goes wrong with it is a coded failure, whoever asks and whatever for. */
import { randomBytes } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import { Failure } from "../../shared/failure.ts";
import { readBounded } from "../../shared/read-bounded.ts";
import { Problem } from "../../shared/wire.ts";

/** The part of the Fetch standard that is needed here. */
export type Fetch = (
  url: string,
  init: { method: string; headers?: Record<string, string>; body?: string; signal?: AbortSignal },
) => Response | Promise<Response>;

interface Way {
  /** Where the broker is, as it says itself; no slash at the end. */
  readonly url: string;
  readonly fetch: Fetch;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

export interface Patience extends Pick<Way, "signal"> {
  /** Told for how many seconds nothing will happen. */
  readonly onWait?: ((seconds: number) => void) | undefined;
}

interface Contents {
  readonly body?: string;
  readonly accessToken?: string;
  readonly proof?: string;
}

/** For one answer of the broker, in milliseconds. */
const timeLimit = 30_000;

/** Of one answer, in bytes: 16 MiB of values, encrypted and encoded, take half of it. */
const answerLimit = 64 * 1024 * 1024;

/** @throws {Failure} `broker_untrusted` for more: who ends TLS on the way could otherwise fill this process's memory. */
async function readText(response: Response): Promise<string> {
  const { body } = response as { readonly body: AsyncIterable<Uint8Array> | string | null };
  // An embedded broker's answer is a text already.
  if (body === null || typeof body === "string") return response.text();
  const tooMuch = () =>
    new Failure("broker_untrusted", { detail: `its answer is longer than ${answerLimit} bytes` });
  return (await readBounded(body, answerLimit, tooMuch)).toString();
}

export type BrokerCall = ReturnType<typeof createBrokerCall>;

/** Its requests are one trace (W3C Trace Context), so that the broker's log shows which belong together. */
export function createBrokerCall({ url, fetch, signal }: Way) {
  const trace = randomBytes(16).toString("hex");
  /**
   * @returns the JSON of the answer.
   * @throws {Failure} `broker_unreachable`, or the broker's refusal.
   */
  return async (
    method: string,
    path: string,
    { body, accessToken, proof }: Contents = {},
  ): Promise<unknown> => {
    let response: Response;
    let text: string;
    try {
      response = await fetch(`${url}${path}`, {
        method,
        headers: {
          traceparent: `00-${trace}-${randomBytes(8).toString("hex")}-01`,
          ...(body !== undefined && { "content-type": "application/json" }),
          ...(accessToken !== undefined && { authorization: `DPoP ${accessToken}` }),
          ...(proof && { dpop: proof }),
        },
        ...(body !== undefined && { body }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(timeLimit)]),
      });
      text = await readText(response);
    } catch (cause) {
      if (cause instanceof Failure) throw cause;
      throw new Failure("broker_unreachable", { detail: `${url} (${reasonOf(cause)})`, cause });
    }
    const json = parseJson(text);
    if (response.ok) return json;
    throw brokerFailure(json, response.status, Number(response.headers.get("retry-after") ?? Number.NaN));
  };
}

/** The broker's quotas are full again after a minute; whoever wants more patience is not believed. In seconds. */
const patience = 60;

/**
 * Asks, and where a quota is used up once more when the broker says that there is room again.
 *
 * @param ask makes its request anew each time: a proof does not keep for a minute.
 */
export async function askPatiently<T>(ask: () => Promise<T>, { signal, onWait }: Patience): Promise<T> {
  try {
    return await ask();
  } catch (failure) {
    const { code, retryAfter } = failure as Failure;
    if (code !== "quota_exceeded" || retryAfter === undefined || retryAfter > patience) throw failure;
    onWait?.(retryAfter);
    // Those who were refused together should not all come back in the same moment.
    await setTimeout((retryAfter + Math.random()) * 1000, undefined, { signal }).catch(() => {
      throw failure;
    });
    return ask();
  }
}

/** @throws {Failure} `broker_untrusted` when an answer is not what the contract says. */
export function understand<T>(
  schema: { safeParse(json: unknown): { success: boolean; data?: T } },
  json: unknown,
): T {
  const parsed = schema.safeParse(json);
  if (!parsed.success)
    throw new Failure("broker_untrusted", { detail: "its form is not the documented one" });
  return parsed.data as T;
}

function brokerFailure(json: unknown, status: number, retryAfter: number): Failure {
  const parsed = Problem.safeParse(json);
  if (!parsed.success)
    return new Failure("broker_untrusted", { detail: `HTTP status ${status}, no problem details` });
  const { code, title, detail, failures = [] } = parsed.data;
  const particulars = failures.map((failure) => failure.detail ?? failure.message);
  const told = detail ?? [...new Set(particulars)].join("; ");
  // A batch whose items all failed for one reason is told as that reason.
  const [only, ...others] = new Set(failures.map((failure) => failure.code));
  const problem =
    only && others.length === 0 ? { code: only, title: failures[0]?.message ?? title } : { code, title };
  const items = failures.map(({ index, code: own, message, detail: particular }) => ({
    index,
    code: own,
    title: message,
    detail: particular,
  }));
  return new Failure("broker_refused", {
    problem,
    items,
    ...(told && { detail: told }),
    ...(retryAfter >= 0 && { retryAfter }),
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The system's word for why a connection failed, such as ECONNREFUSED: never a message, which may quote more. */
function reasonOf(error: unknown): string {
  const code = (error as { cause?: { code?: unknown } }).cause?.code ?? (error as { code?: unknown }).code;
  if (typeof code === "string") return code;
  return error instanceof Error && error.name === "TimeoutError" ? "no answer in time" : "no connection";
}
