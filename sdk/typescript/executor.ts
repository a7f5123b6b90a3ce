/**
 * Where chains run: in a `claimcheck run --stdio`, which is sent a request and answers with events, one JSON object a
 * line. It runs the plan itself, or has the executor do it that CLAIMCHECK_EXECUTOR names.
 */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Plan, Want } from "./plan.ts";

export interface Result {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** A command that failed, with what it printed; or a run that could not be. */
export class RunError extends Error {
  override readonly name = "RunError";
  /**
   * `command_failed` for a command of the chain, `not_installed` where the `claimcheck` command could not be started,
   * `no_answer` where it ended without an answer, or a code of docs/reference/errors.md.
   */
  readonly code: string;
  readonly exitCode: number;
  /** What the command that failed printed, with known secrets masked; with `no_answer`, what `claimcheck` printed. */
  readonly stdout: string;
  readonly stderr: string;

  constructor(message: string, code: string, { exitCode, stdout, stderr }: Result) {
    super(message);
    this.code = code;
    this.exitCode = exitCode;
    this.stdout = stdout;
    this.stderr = stderr;
  }
}

/** Steps are counted from 0. */
type Event =
  | { readonly type: "progress" | "exit" }
  | { readonly type: "step"; readonly step: number }
  | { readonly type: "stdout" | "stderr"; readonly data: string }
  | { readonly type: "end"; readonly code: number }
  | RunFailure;

interface RunFailure {
  readonly type: "error";
  readonly code: string;
  readonly title: string;
  readonly detail?: string;
  readonly exitCode: number;
}

interface Request {
  readonly plan: Plan;
}

/** The command of this package, or the one that CLAIMCHECK_COMMAND names. */
function commandLine(): [command: string, ...args: string[]] {
  const command = process.env.CLAIMCHECK_COMMAND;
  if (command) return [command];
  const beside = import.meta.url.endsWith(".ts") ? "../../bin/claimcheck.cjs" : "./claimcheck.cjs";
  return [process.execPath, fileURLToPath(new URL(beside, import.meta.url))];
}

/** Node.js starts programs with text alone, so the command is told where the bytes are of what is none. */
function environment(): NodeJS.ProcessEnv {
  const isText = !Object.values(process.env).some((value) => value?.includes("\ufffd"));
  return isText ? process.env : { ...process.env, CLAIMCHECK_ENVIRON: `/proc/${process.pid}/environ` };
}

/** @throws {RunError} when a command fails, the last one too unless its exit code is what is wanted. */
export async function run(request: Request, want: Want): Promise<Result> {
  const [command, ...args] = commandLine();
  const child = spawn(command, [...args, "run", "--stdio"], {
    env: environment(),
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = new Promise<number | null>((resolve, reject) =>
    child.on("error", (cause) => reject(notStarted(command, cause))).on("close", resolve),
  );
  ended.catch(() => {});
  // It may end without having read everything; then its last event, or its exit code, says why. The end of its input
  // would cancel the run, and comes with the end of this process.
  child.stdin.on("error", () => {}).write(`${JSON.stringify(request)}\n`);
  const complaints: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk));

  const outcome = createOutcome(request.plan.steps.length, want);
  // One character a byte: readline would take U+2028, which JSON may have in a text, for the end of the line.
  for await (const line of createInterface({ input: child.stdout.setEncoding("latin1") })) {
    const event = readEvent(Buffer.from(line, "latin1").toString());
    if (event) outcome.take(event);
  }
  const exitCode = (await ended) ?? 1;
  return outcome.finish(Buffer.concat(complaints).toString().trim(), exitCode);
}

/** A line that is no event comes from another program: its end without an answer is then the error. */
function readEvent(line: string): Event | undefined {
  try {
    const event: unknown = JSON.parse(line);
    return typeof event === "object" && event !== null && "type" in event ? (event as Event) : undefined;
  } catch {
    return undefined;
  }
}

function notStarted(command: string, { code }: NodeJS.ErrnoException): RunError {
  const message = `The command ${command} could not be started (${code}): install it with "npm install --global claimcheck", or set CLAIMCHECK_COMMAND to its path`;
  return new RunError(message, "not_installed", { exitCode: 127, stdout: "", stderr: "" });
}

/** What the events of a run come to. */
function createOutcome(steps: number, want: Want) {
  let last = 0;
  let printed = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  let exitCode: number | undefined;
  let failure: RunFailure | undefined;
  return {
    take(event: Event): void {
      if (event.type === "step") {
        last = event.step + 1;
        printed = { stdout: [], stderr: [] };
      } else if (event.type === "stdout" || event.type === "stderr") {
        printed[event.type].push(Buffer.from(event.data, "base64"));
      } else if (event.type === "end") exitCode = event.code;
      else if (event.type === "error") failure = event;
    },

    finish(complaint: string, status: number): Result {
      const result = {
        stdout: Buffer.concat(printed.stdout).toString(),
        stderr: Buffer.concat(printed.stderr).toString(),
        exitCode: failure?.exitCode ?? exitCode ?? status,
      };
      if (failure) throw new RunError(messageOf(failure), failure.code, result);
      if (exitCode === undefined) {
        throw new RunError(
          complaint || `claimcheck ended with exit code ${status} and without an answer`,
          "no_answer",
          { ...result, stderr: complaint },
        );
      }
      if (exitCode !== 0 && (want !== "exitCode" || last < steps)) {
        throw new RunError(
          `step ${last} of ${steps} ended with exit code ${exitCode}`,
          "command_failed",
          result,
        );
      }
      return result;
    },
  };
}

const messageOf = ({ title, detail }: RunFailure) =>
  detail === undefined ? title : `${title.replace(/\.$/, "")}: ${detail}`;
