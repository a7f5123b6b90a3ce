/** The other end of the executor's HTTP interface: sends a plan, and hands on what it prints as it comes. */
import { type IncomingMessage, request } from "node:http";
import { Failure } from "../../shared/failure.ts";
import { Problem } from "../../shared/wire.ts";
import type { Sinks } from "../container/container.ts";
import { type Delivery, openDelivery } from "../output/delivery.ts";
import { RunEvent, type RunRequest } from "./wire.ts";

/** Where an executor listens: a unix socket, or a port of loopback with the token that it wants. */
export type ExecutorAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number; readonly token: string };

interface Receiver {
  /** Asked when a step, counted from 0 on, is about to start. */
  readonly sinksOf: (index: number) => Sinks;
  readonly onProgress: (line: string) => void;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

/** Of one event, in characters: what the executor puts into one is a third of it. */
const lineLimit = 1024 * 1024;

/**
 * @returns the run's exit code.
 * @throws {Failure} what the executor says went wrong, or `executor_unreachable`.
 */
export async function sendRun(
  address: ExecutorAddress,
  asked: RunRequest,
  receiver: Receiver,
): Promise<number> {
  const { signal } = receiver;
  const hand = createHand(receiver);
  try {
    const response = await post(address, JSON.stringify(asked), signal);
    if (response.statusCode !== 200) throw answerFailure(response.statusCode, await readText(response));
    for await (const line of linesOf(response)) {
      const event = RunEvent.safeParse(parseJson(line)).data;
      if (!event)
        throw new Failure("executor_unreachable", { detail: "its answer does not follow the protocol" });
      const code = await hand(event);
      if (code !== undefined) return code;
    }
  } catch (cause) {
    if (cause instanceof Failure) throw cause;
    const { code } = cause as NodeJS.ErrnoException;
    throw new Failure("executor_unreachable", { detail: code ?? "the connection was cut", cause });
  }
  throw new Failure("executor_unreachable", { detail: "its answer was cut off" });
}

function post(address: ExecutorAddress, body: string, signal: AbortSignal): Promise<IncomingMessage> {
  const { token, ...where } = { token: undefined, ...address };
  return new Promise((resolve, reject) => {
    const sent = request({ ...where, method: "POST", path: "/v1/runs", signal, agent: false }, resolve);
    sent.on("error", reject);
    sent.setHeader("content-type", "application/json");
    if (token !== undefined) sent.setHeader("authorization", `Bearer ${token}`);
    sent.end(body);
  });
}

/** @returns what hands on an event, and tells the exit code once the run has ended. */
function createHand({ sinksOf, onProgress, signal }: Receiver) {
  let deliveries: Record<keyof Sinks, Delivery> | undefined;
  let giveUp = (): void => {};
  signal.addEventListener("abort", () => giveUp(), { once: true });

  function closeAll(): void {
    for (const each of Object.values(deliveries ?? {})) each.close();
    deliveries = undefined;
  }

  /** No more is read from the executor before this is written. What a reader that left does not get is dropped. */
  function write(stream: keyof Sinks, data: string): Promise<undefined> {
    return new Promise((resolve, reject) => {
      giveUp = () => reject(signal.reason);
      if (signal.aborted) giveUp();
      deliveries?.[stream].write(Buffer.from(data, "base64"), () => resolve(undefined));
    });
  }

  return async (event: RunEvent): Promise<number | undefined> => {
    switch (event.type) {
      case "progress":
        onProgress(event.text);
        return undefined;
      case "step":
        closeAll();
        deliveries = deliveriesTo(sinksOf(event.step));
        return undefined;
      case "stdout":
      case "stderr":
        return deliveries && write(event.type, event.data);
      case "end":
        closeAll();
        return event.code;
      case "error": {
        const { code, title, detail, exitCode } = event;
        throw new Failure("executor_refused", {
          problem: { code, title },
          exitCode,
          ...(detail && { detail }),
        });
      }
      default:
        return undefined;
    }
  };
}

const deliveriesTo = ({ stdout, stderr }: Sinks) => ({
  stdout: openDelivery(stdout, "standard output"),
  stderr: openDelivery(stderr, "standard error"),
});

async function* linesOf(response: IncomingMessage): AsyncGenerator<string> {
  let rest = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    rest += chunk;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n")) {
      yield rest.slice(0, end);
      rest = rest.slice(end + 1);
    }
    if (rest.length > lineLimit) break;
  }
}

async function readText(response: IncomingMessage): Promise<string> {
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) {
    text += chunk;
    if (text.length > lineLimit) break;
  }
  return text;
}

function answerFailure(status: number | undefined, text: string): Failure {
  const problem = Problem.safeParse(parseJson(text)).data;
  if (!problem) return new Failure("executor_unreachable", { detail: `HTTP status ${status}` });
  const { code, title, detail } = problem;
  return new Failure("executor_refused", { problem: { code, title }, ...(detail && { detail }) });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
