/**
 * `claimcheck run --stdio`, for programs. The first line of standard input is a request, { "plan": …, "values"?: { NAME:
 * base64 } }; that standard input ends, cancels the run. Standard output has its events, one JSON object a line, and steps
 * are counted from 0:
 *
 *     { "type": "progress", "text": … }
 *     { "type": "step", "step": 0 }                            is about to start
 *     { "type": "stdout" or "stderr", "step": 0, "data": … }   in base64, masked
 *     { "type": "exit", "step": 0, "code": 0 }
 *     { "type": "end", "code": 0 }                             the run's exit code
 *     { "type": "error", "code": …, "title": …, "detail"?: …, "exitCode": … }   instead of the end
 */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { isReaderGone } from "../../executor/output/delivery.ts";
import { Failure } from "../../shared/failure.ts";
import { decodeText } from "../host/bytes.ts";
import type { Output } from "./output.ts";
import { type RunRequest, toRunRequest } from "./request.ts";

export interface StdioRequest extends RunRequest {
  /** Aborted when standard input ends. */
  readonly cancelled: AbortSignal;
}

/** @throws {Failure} `usage` for a request that is none. */
export async function readRequest(): Promise<StdioRequest> {
  // One character a byte: readline would take U+2028, which JSON may have in a text, for the end of the line.
  const lines = createInterface({ input: process.stdin.setEncoding("latin1") });
  const cancel = new AbortController();
  const line = await new Promise<string>((resolve) => {
    lines.once("line", resolve).once("close", () => {
      resolve("");
      cancel.abort();
    });
  });
  const text = decodeText(Buffer.from(line, "latin1"), "the request");
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // What the parser would say quotes the text, which may hold a value.
    throw new Failure("usage", { detail: "the request is not in JSON" });
  }
  return { ...toRunRequest(content), cancelled: cancel.signal };
}

/** @returns what writes a run's events, and what writes its failure. */
export function eventOutput(): Output & { fail(failure: Failure): void } {
  // A reader that goes away closes standard input too, and that ends the run.
  process.stdout.on("error", (error) => {
    if (!isReaderGone(error)) process.exitCode = 125;
  });
  const emit = (event: object, done?: (error?: Error | null) => void) =>
    void process.stdout.write(`${JSON.stringify(event)}\n`, done);
  let step = -1;
  return {
    sinksOf(index) {
      // Only after a step that succeeded there is another one.
      if (step >= 0) emit({ type: "exit", step, code: 0 });
      step = index;
      emit({ type: "step", step });
      const sinkOf = (type: string) =>
        new Writable({
          write: (chunk: Buffer, _, done) =>
            emit({ type, step: index, data: chunk.toString("base64") }, done),
        });
      return { stdout: sinkOf("stdout"), stderr: sinkOf("stderr") };
    },
    progress: (text) => emit({ type: "progress", text }),
    end(code) {
      if (step >= 0) emit({ type: "exit", step, code });
      emit({ type: "end", code });
      return 0;
    },
    fail: ({ code, message: title, detail, exitCode }) =>
      emit({ type: "error", code, title, ...(detail !== undefined && { detail }), exitCode }),
  };
}
