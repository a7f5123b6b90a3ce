/**
 * One container, run by an OCI runtime under supervisor.pl, which says what it promises and how it is spoken
 * to. This side starts it, gives the orders and waits for the answers.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants, mkdirSync, openSync } from "node:fs";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Failure } from "../failure.ts";
import { pipeSource } from "../source.ts";

interface Surroundings {
  /** The runtime's name on the PATH, or its path: runc, or whatever takes runc's command line. */
  readonly runtime: string;
  /** The folder of all runs' folders. */
  readonly runs: string;
  /** The folder with the image's files. They stay as they are. */
  readonly image: string;
  readonly environment: Readonly<Record<string, string>>;
}

export type Container = ReturnType<typeof startContainer>;

/**
 * From here on neither this process, which will hold the plaintext, nor anything it starts leaves a core file or
 * wakes a core handler (spec.ts says why one byte).
 */
export function forbidCores(environment: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve, reject) => {
    const prlimit = spawn("prlimit", ["--core=1:1", "--pid", String(process.pid)], {
      stdio: "ignore",
      env: environment,
    });
    const fail = (cause?: unknown) =>
      reject(new Failure("unsupported_host", { detail: "prlimit, of util-linux, cannot be run", cause }));
    prlimit.on("error", fail);
    prlimit.on("exit", (code) => (code === 0 ? resolve() : fail()));
  });
}

/** Starts the supervisor. The container itself starts with `run`. */
export function startContainer({ runtime, runs, image, environment }: Surroundings) {
  const id = randomBytes(6).toString("hex");
  try {
    mkdirSync(runs, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new Failure("state_unusable", { detail: `${runs} cannot be made`, cause });
  }
  const supervisor = fileURLToPath(new URL("./supervisor.pl", import.meta.url));
  const namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const child: ChildProcess = spawn(
    "unshare",
    [...namespaces, "--", "perl", supervisor, runtime, runs, id, image],
    {
      stdio: ["ignore", "inherit", "pipe", "pipe", "pipe"],
      env: environment,
      // A process group of its own: Ctrl-C on a terminal reaches the container through us, not past us.
      detached: true,
    },
  );
  const [, , reasons, orders, answers] = child.stdio as [null, null, Readable, Writable, Readable];

  // A supervisor that is gone takes no orders; that it is gone is told by `gone`.
  orders.on("error", () => {});

  const waiting = new Map<string, { resolve: (rest: string) => void; reject: (failure: Failure) => void }>();
  let failed: Failure | undefined;
  let explained: Promise<void> | undefined;

  function fail(failure: Failure): void {
    failed ??= failure;
    for (const { reject } of waiting.values()) reject(failed);
    waiting.clear();
  }

  function answer(word: string): Promise<string> {
    if (failed) return Promise.reject(failed);
    return new Promise((resolve, reject) => waiting.set(word, { resolve, reject }));
  }

  createInterface({ input: answers }).on("line", (line) => {
    const [word = "", rest = ""] = line.split(" ");
    if (word === "failed") {
      explained = explain(rest, reasons).then(fail);
      return;
    }
    waiting.get(word)?.resolve(rest);
    waiting.delete(word);
  });

  /** When the supervisor has ended, and with it the container and everything it left. */
  const gone = new Promise<void>((resolve) => {
    child.on("error", (cause) => {
      fail(new Failure("runtime_failed", { detail: "its supervisor cannot be started", cause }));
      resolve();
    });
    child.on("exit", (code, signal) => {
      // What it said last may still be on its way; only then is silence a failure.
      const end = async () => {
        await explained;
        fail(new Failure("runtime_failed", { detail: `its supervisor ended early (${signal ?? code})` }));
        resolve();
      };
      if (answers.closed) void end();
      else answers.once("close", () => void end());
    });
  });

  // Read from the pipe's end that has no writer yet, it would be at its end: only opened here, so that the container
  // finds a reader.
  const open = (name: string) => openSync(`${runs}/${id}/${name}`, constants.O_RDONLY | constants.O_NONBLOCK);
  const ready = answer("ready").then(() => ({
    stdout: pipeSource(open("stdout")),
    stderr: pipeSource(open("stderr")),
  }));
  const exited = answer("exited").then(Number);
  // Whoever waits for one of them learns of a failure; nobody has to wait for both.
  ready.catch(() => {});
  exited.catch(() => {});

  return {
    id,
    gone,
    /** When everything is there but the configuration: the container's output, to be read once it is created. */
    ready,
    /** The exit code of the container's first process; 128 + n after signal n. */
    exited,

    /**
     * Creates the container, unlinks the configuration, and starts it.
     *
     * @param configuration an OCI configuration in JSON with the plaintext in it; it is wiped.
     * @returns once the container's output is its own.
     */
    async run(configuration: Buffer): Promise<void> {
      const created = answer("created");
      orders.write(`file ${configuration.length} 600 config.json\n`);
      orders.write(configuration, () => configuration.fill(0));
      orders.write("run\n");
      await created;
    },

    signal(number: number): void {
      orders.write(`signal ${number}\n`);
    },

    /** Ends the container, whatever it is doing. `gone` tells when nothing is left of it. */
    abandon(): void {
      orders.end();
    },

    /** The same for a supervisor that does not listen, because the runtime it waits for hangs. The next run sweeps up. */
    destroy(): void {
      child.kill("SIGKILL");
    },
  };
}

/** What the supervisor or the runtime wrote, as a failure of ours. */
async function explain(step: string, reasons: Readable): Promise<Failure> {
  const chunks: Buffer[] = [];
  for await (const chunk of reasons) chunks.push(chunk);
  const reason = lastMessage(Buffer.concat(chunks).toString());
  if (/executable file not found|exec: "[^"]*": stat .*: no such file/.test(reason)) {
    return new Failure("command_not_found", { detail: quotedCommand(reason) });
  }
  if (/exec: "[^"]*": (permission denied|is a directory)/.test(reason)) {
    return new Failure("command_not_executable", { detail: quotedCommand(reason) });
  }
  const detail = `${step}: ${reason || "no reason was given"}`;
  return new Failure(step === "create" || step === "start" ? "runtime_failed" : "state_unusable", { detail });
}

/** The `msg` of the last line of a runtime's JSON log; a line that is none, as it is. */
function lastMessage(log: string): string {
  const line = log.trim().split("\n").at(-1) ?? "";
  try {
    return String(JSON.parse(line).msg).slice(0, 1000);
  } catch {
    return line.slice(0, 1000);
  }
}

const quotedCommand = (reason: string) => /exec: "([^"]*)"/.exec(reason)?.[1] ?? "";
