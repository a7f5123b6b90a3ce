/**
 * `claimcheck run --stdio`, for programs. The first line of standard input is a request, { "plan": …, "values"?: { NAME:
 * base64 } }; that standard input ends, cancels the run. Standard output has its events, one JSON object a line:
 *
 *     { "event": "progress", "text": … }
 *     { "event": "step", "step": 1 }                            is about to start
 *     { "event": "stdout" or "stderr", "step": 1, "data": … }   in base64, masked
 *     { "event": "exit", "step": 1, "code": 0 }                 of the last step that ran
 *     { "event": "end" }
 *     { "event": "error", "code": …, "text": …, "exitCode": … } instead of the last two
 */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { Failure } from "../executor/failure.ts";
import type { Output } from "./output.ts";
import { type RunRequest, toRunRequest } from "./run-request.ts";

export interface StdioRequest extends RunRequest {
  /** Aborted when standard input ends. */
  readonly cancelled: AbortSignal;
}

/** @throws {Failure} `usage` for a request that is none. */
export async function readRequest(): Promise<StdioRequest> {
  const lines = createInterface({ input: process.stdin });
  const cancel = new AbortController();
  const line = await new Promise<string>((resolve) => {
    lines.once("line", resolve).once("close", () => {
      resolve("");
      cancel.abort();
    });
  });
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    // What the parser would say quotes the text, which may hold a value.
    throw new Failure("usage", { detail: "the request is not in JSON" });
  }
  return { ...toRunRequest(content), cancelled: cancel.signal };
}

/** @returns what writes a run's events, and what writes its failure. */
export function eventOutput(): Output & { fail(failure: Failure): void } {
  // A reader that goes away closes standard input too, and that ends the run.
  process.stdout.on("error", () => {});
  const emit = (event: object, done?: (error?: Error | null) => void) =>
    void process.stdout.write(`${JSON.stringify(event)}\n`, done);
  let step = 0;
  return {
    sinksOf(order) {
      step = order;
      emit({ event: "step", step });
      const sinkOf = (event: string) =>
        new Writable({
          write: (chunk: Buffer, _, done) =>
            emit({ event, step: order, data: chunk.toString("base64") }, done),
        });
      return { stdout: sinkOf("stdout"), stderr: sinkOf("stderr") };
    },
    progress: (text) => emit({ event: "progress", text }),
    end(exitCode) {
      emit({ event: "exit", step, code: exitCode });
      emit({ event: "end" });
      return 0;
    },
    fail: (failure) =>
      emit({ event: "error", code: failure.code, text: `${failure}`, exitCode: failure.exitCode }),
  };
}
