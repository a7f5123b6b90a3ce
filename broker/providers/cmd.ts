/**
 * cmd://COMMAND, what a command prints.
 *
 *     command = 1*( any character but NUL )
 *
 * Everything after "://" is the command, byte for byte, also what looks like a parameter. `sh -c` runs it in a
 * process group of its own, and when the command is over, so is everything that it started. What has left the group
 * (`setsid`) is known by a variable that all descendants inherit; on Linux, where /proc shows it. Only a program that
 * empties its environment too gets away.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import type { Readable } from "node:stream";
import { ClaimcheckError } from "../../shared/errors.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { Secret } from "../../shared/secret.ts";
import { head } from "../../shared/uri.ts";
import { callShell, type Environment } from "./environment.ts";
import { kill, killMarked, markName } from "./marked-processes.ts";
import { type Provider, type ReadResult, type Scheme, type SecretReference, sizeLimit } from "./provider.ts";

/** A command is a program: who allows one names it byte for byte, because a wildcard would allow any other. */
const patterns: PatternDemands = {
  scheme: "cmd",
  verbatim: true,
  faultOf: ({ exact }, effect) =>
    effect === "allow" && !exact
      ? "would allow commands that it does not spell out: a cmd:// rule is exact, written { exact: cmd://… }; for other schemes begin with theirs, such as vault://**"
      : undefined,
};

export const cmdScheme: Scheme = { name: "cmd", form: "cmd://COMMAND", confidential: true, patterns };

interface CommandReference extends SecretReference {
  readonly command: string;
}

interface CmdSettings {
  /** The commands that exist, to the byte; none of them, none. `"any"` is for a user's own broker. */
  readonly commands: readonly string[] | "any";
  /** All that a command gets of ours. */
  readonly environment: Environment;
  readonly workingDirectory: string;
  /** For one command, in milliseconds. */
  readonly timeLimit?: number;
  /**
   * Makes the last line of a failed command's standard error safe to show, where it is the user's own: a broker of others
   * says neither this line nor the exit status.
   *
   * @param printed by the command on its standard output, so the line may repeat a part of it.
   */
  readonly showLine?: (line: string, printed: Uint8Array) => string;
}

/** They do not outlive this process, however early it has to end. */
const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach(killGroup));

export function cmdProvider(settings: CmdSettings): Provider<CommandReference> {
  const { commands, timeLimit = 30_000 } = settings;
  return {
    scheme: "cmd",
    batchSize: 1,
    concurrency: 16,
    timeLimit,

    parse(command) {
      const shown = `cmd://${head(command)}`;
      if (command.trim() === "" || command.includes("\0") || !command.isWellFormed()) {
        throw new ClaimcheckError("invalid_uri", { detail: `${shown}: a command is text for sh -c` });
      }
      return { scheme: "cmd", canonical: `cmd://${command}`, shown, command };
    },

    read: (references, signal) =>
      Promise.all(
        references.map(({ command, shown }) =>
          commands === "any" || commands.includes(command)
            ? run(command, shown, settings, signal)
            : new ClaimcheckError("provider_denied", { detail: `${shown}: this broker does not run it` }),
        ),
      ),
  };
}

async function run(
  command: string,
  shown: string,
  { environment, workingDirectory, showLine }: CmdSettings,
  signal: AbortSignal,
): Promise<ReadResult> {
  const mark = `${markName}=${randomUUID()}`;
  const shell = callShell(command, environment);
  if ("unclear" in shell) {
    return new ClaimcheckError("provider_failed", {
      detail: `${shown} would get the variable ${shell.unclear} changed: it is not UTF-8, and this system does not show its bytes`,
    });
  }
  const child = spawn("/bin/sh", shell.args, {
    cwd: workingDirectory,
    env: { ...shell.environment, [markName]: mark.slice(markName.length + 1) },
    // Of a group of its own, so that all of it can be killed.
    detached: true,
    // What it says on its standard error may hold anything.
    stdio: ["ignore", "pipe", showLine ? "pipe" : "ignore"],
  });
  running.add(child);
  const lastLine = keepLastLine(child.stderr);
  const chunks: Buffer[] = [];
  let length = 0;
  const end = () => {
    killGroup(child);
    void killMarked(mark);
  };
  child.stdout?.on("data", (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > sizeLimit) end();
  });
  signal.addEventListener("abort", end);
  try {
    if (signal.aborted) end();
    const ended = await ending(child, end);
    await killMarked(mark);
    if (length > sizeLimit) {
      return new ClaimcheckError("secret_too_large", { detail: `the limit is ${sizeLimit} bytes` });
    }
    if (ended === "well" && !signal.aborted) return new Secret(join(chunks, length));
    const how = signal.aborted ? "was killed at its time limit" : ended;
    return new ClaimcheckError(signal.aborted ? "provider_timeout" : "provider_failed", {
      detail: showLine
        ? `${shown} ${how}${said(showLine)}`
        : `${shown} ${signal.aborted ? how : unexplained}`,
    });
  } finally {
    running.delete(child);
    signal.removeEventListener("abort", end);
    lastLine.wipe();
    for (const chunk of chunks) chunk.fill(0);
  }

  /** Behind how it ended. */
  function said(show: NonNullable<CmdSettings["showLine"]>): string {
    const line = lastLine.read();
    if (line === undefined) return "";
    const printed = join(chunks, length);
    const shownLine = show(line, printed);
    printed.fill(0);
    return `; the last line of its standard error: ${shownLine}`;
  }
}

const unexplained = "failed; the broker's operator can run it on the broker's host to see why";

/** Of a command's standard error, in bytes. A line that is longer is not shown: its cut could lie in a value. */
const lineLimit = 4096;

/** The last line of a stream that has more on it than white space. */
function keepLastLine(stream: Readable | null) {
  let kept = Buffer.alloc(0);
  let isCut = false;
  stream?.on("data", (chunk: Buffer) => {
    const all = Buffer.concat([kept, chunk]);
    isCut ||= all.length > lineLimit;
    kept.fill(0);
    kept = Buffer.from(all.subarray(-lineLimit));
    all.fill(0);
    chunk.fill(0);
  });
  return {
    read(): string | undefined {
      const lines = kept.toString().split(/[\r\n]+/);
      // The first of them may have begun before what is kept.
      return lines
        .slice(isCut ? 1 : 0)
        .findLast((line) => line.trim() !== "")
        ?.trim();
    },
    wipe: () => void kept.fill(0),
  };
}

/** Into memory of its own: what Buffer lends from its pool would outlive a wipe in its neighbours. */
function join(chunks: readonly Buffer[], length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

/** @returns "well", or how else it ended; once all that it printed has been read. */
function ending(child: ChildProcess, end: () => void): Promise<string> {
  return new Promise((resolve) => {
    // What it left running would hold its output open, and go on unseen.
    child.once("exit", end);
    child.once("error", (error: NodeJS.ErrnoException) => resolve(`did not start (${error.code})`));
    child.once("close", (code, signal) => {
      if (signal) resolve(`was ended by ${signal}`);
      else resolve(code === 0 ? "well" : `ended with exit status ${code}`);
    });
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid !== undefined) kill(-pid);
}
