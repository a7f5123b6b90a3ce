/**
 * The containers of one run, run by an OCI runtime under supervisor.pl, which says what it promises and how it is
 * spoken to. This side starts it, gives the orders and waits for the answers.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { constants, existsSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { relative } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { limitCores, withoutCores } from "../../shared/core-files.ts";
import { Failure, type FailureCode } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { userNamespace } from "../host/rootless.ts";
import { type OutputSource, pipeSource } from "../output/pipe.ts";

export interface SupervisorSettings {
  /** The runtime's name on the PATH, or its path: runc, or whatever takes runc's command line. */
  readonly runtime: string;
  /** The folder of all runs' folders. */
  readonly runs: string;
  /** Folders with the image's files, the upper ones first. They stay as they are. */
  readonly layers: readonly string[];
  /** Whose the container's users are: in a user namespace of the run's own, or the host's. */
  readonly userns: ContainerUsers;
  /** What all containers together may write; without it, what the disk has. */
  readonly storage?: Bound;
  readonly environment: Readonly<Record<string, string>>;
}

/** How many bytes and inodes. */
interface Bound {
  readonly size: number;
  readonly inodes: number;
}

/** A user namespace of its own, or the numbers of whoever starts containers. */
export type ContainerUsers = "own" | "host";

/** A user and a group, by number. */
export interface Numbers {
  readonly uid: number;
  readonly gid: number;
}

/** A folder or file of the host's, mounted into a container. */
export interface Volume {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
  /** No link below this folder is followed on the way to the source. */
  readonly within?: string;
  /**
   * As which user and group of the host's the container's user writes there; "nobody" as none: then it reads what everybody
   * can. Without it as whose the source is.
   */
  readonly owner?: Numbers | "nobody" | undefined;
  /** The container's user. */
  readonly user: Numbers;
}

/** A file of the bundle. It is unlinked when the container has been created. */
export interface BundleFile {
  readonly name: string;
  /** The path in the container. */
  readonly target?: string;
  readonly readOnly?: boolean;
  readonly bytes: Uint8Array;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** As the terminal's programs see it; 0 is "not known". */
export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export interface Bundle {
  /** An OCI configuration in JSON, with the plaintext in it; it is wiped. */
  readonly configuration: Buffer;
  readonly files: readonly BundleFile[];
  /** As whom the command runs. */
  readonly user: Numbers;
  /** Whether something will be written to the container's standard input. */
  readonly hasInput: boolean;
  /** The size of its terminal, if the configuration asks for one. All of its output is then `stdout`. */
  readonly screen?: (() => TerminalSize) | undefined;
  /** Whether to make the network namespace that the configuration names. */
  readonly isBridged: boolean;
}

/** What is put among the next container's files: a file, a link, or a folder, which has neither content nor target. */
export interface Placed {
  readonly path: string;
  readonly content?: Uint8Array;
  readonly link?: string;
  readonly mode: number;
  readonly owner: { readonly uid: number; readonly gid: number };
}

export type Supervisor = ReturnType<typeof startSupervisor>;

/** For an answer of a supervisor, in milliseconds: then something hangs that it waits for. */
const answerLimit = 120_000;

/** A supervisor that has not ended a run by then waits for something that hangs, and is killed; in milliseconds. */
const endLimit = 30_000;

/** As the runtime sees them (view.pl). */
export const places = {
  bundle: "/bundle",
  rootfs: "/rootfs",
  disk: "/own/disk",
  network: "/bundle/network",
  users: "/bundle/users",
  processes: "/bundle/processes",
} as const;

let forbidden: Promise<void> | undefined;

/**
 * From here on neither this process, which will hold the plaintext, nor anything it starts, its containers among it, leaves
 * a core file or wakes a core handler. One byte is too small for a core file, and the one limit at which Linux
 * (fs/coredump.c) also leaves a handler alone. Zero would not do: handlers are called all the same.
 */
export function forbidCores(environment: Readonly<Record<string, string>>): Promise<void> {
  forbidden ??= limitCores(environment).catch((cause) => {
    throw new Failure("unsupported_host", { detail: "prlimit, of util-linux, cannot be run", cause });
  });
  return forbidden;
}

/** Tells its state (runtime-spec, runtime.md) and waits. Without an order there is an error, and no command. */
const hook = 'read -r state; printf "%s\\n" "$state" >"$1/state" && read -r go <"$1/start"';

/** A supervisor's process that has not been told yet what to do. */
export type SupervisorProcess = ReturnType<typeof launchSupervisor>;

/**
 * Starts the program. It takes some time to load, so a caller that will want a container can start it before everything else.
 * The program makes nothing before its first order, and does not keep this process from ending.
 */
export function launchSupervisor(environment: Readonly<Record<string, string>>) {
  const script = fileURLToPath(new URL("./supervisor.pl", import.meta.url));
  const own = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  // What the host unmounts is unmounted here as well, or it would stay in use; nothing goes the other way.
  const namespaces = [...userNamespace, ...own, "--propagation", "slave"];
  const child = spawn("prlimit", [...withoutCores, "unshare", ...namespaces, "--", "perl", script], {
    // Our output as 5: libuv has what a child gets as 1 block, for this process too.
    stdio: ["ignore", "ignore", "pipe", "pipe", "pipe", 1],
    env: environment,
    // A process group of its own: Ctrl-C on a terminal reaches the container through us, not past us.
    detached: true,
  });
  const [, , reasons, orders, answers] = child.stdio as [null, null, Socket, Socket, Socket];
  const handles = [child, reasons, orders, answers];
  for (const handle of handles) handle.unref();
  // A supervisor that is gone takes no orders; that it is gone is told by `ended`.
  orders.on("error", () => {});
  const ended = new Promise<{ how: string; cause?: unknown }>((resolve) => {
    child.on("error", (cause) => resolve({ how: "", cause }));
    child.on("exit", (code, signal) => resolve({ how: signal ?? String(code) }));
  });
  let isWanted = false;
  return {
    pid: child.pid,
    reasons,
    orders,
    answers,
    ended,

    /** From here on this process does not end before it. */
    attend(): void {
      isWanted = true;
      for (const handle of handles) handle.ref();
    },

    /** If nobody wanted it: ends it, and waits for its end. */
    async dismiss(): Promise<void> {
      if (isWanted) return;
      child.ref();
      orders.end();
      await ended;
    },
  };
}

/** Containers come one after the other. */
export function startSupervisor(
  { runtime, runs, layers, userns, storage, environment }: SupervisorSettings,
  launched = launchSupervisor(environment),
) {
  const { pid, reasons, orders, answers, ended } = launched;
  const id = randomBytes(6).toString("hex");
  try {
    makeFolder(runs);
  } catch (cause) {
    void launched.dismiss();
    throw new Failure("state_unusable", { detail: `${runs} cannot be made`, cause });
  }
  const reason = lastWords(reasons);

  launched.attend();
  const bound = storage ? `${storage.size} ${storage.inodes}` : "-";
  const settings = Buffer.from([runtime, runs, id, userns, bound, ...layers].join("\0"));
  orders.write(`begin ${settings.length}\n`);
  orders.write(settings);

  const waiting = new Map<string, { resolve: (rest: string) => void; reject: (failure: Failure) => void }>();
  let failed: Failure | undefined;
  let explained: Promise<void> | undefined;
  let count = 1;

  function fail(failure: Failure): void {
    failed ??= failure;
    for (const { reject } of waiting.values()) reject(failed);
    waiting.clear();
  }

  /** What follows the word in the supervisor's answer. Whoever waits for another answer learns of a failure too. */
  function answer(word: string): Promise<string> {
    if (failed) return Promise.reject(failed);
    const answered = new Promise<string>((resolve, reject) => waiting.set(word, { resolve, reject }));
    // A command may take as long as it likes; nothing else does.
    const late = () => {
      fail(new Failure("runtime_failed", { detail: `it was not "${word}" after ${answerLimit / 1000} s` }));
      kill();
    };
    const timer = word === "exited" ? undefined : setTimeout(late, answerLimit);
    answered.finally(() => clearTimeout(timer)).catch(() => {});
    return answered;
  }

  function take(line: string): void {
    const [word = "", ...rest] = line.split(" ");
    if (word === "failed") {
      explained = explain(rest.join(" "), reason, storage).then(fail);
      return;
    }
    waiting.get(word)?.resolve(rest.join(" "));
    waiting.delete(word);
  }

  let begun = "";
  answers.setEncoding("utf8").on("data", (text: string) => {
    const lines = (begun + text).split("\n");
    begun = lines.pop() ?? "";
    lines.forEach(take);
  });

  /** When the supervisor has ended, and with it the container and everything it left. */
  const gone = ended.then(async ({ how, cause }) => {
    if (cause !== undefined) {
      fail(new Failure("runtime_failed", { detail: "its supervisor cannot be started", cause }));
      return;
    }
    // What it said last may still be on its way; only then is silence a failure.
    if (!answers.closed) await once(answers, "close");
    explained ??= reason.then((words) => {
      fail(new Failure("runtime_failed", { detail: `its supervisor ended early (${words || how})` }));
    });
    await explained;
  });

  /** The descriptors of the next container's pipes. */
  let ready = answer("ready");

  /** The supervisor's process as this process sees it, and in it what it sees itself (view.pl). */
  const inside = `/proc/${pid}/root/proc/1`;

  /** A pipe has no name but that of the supervisor's descriptor. */
  const open = (descriptor: string | undefined, flags: number) =>
    openSync(`${inside}/fd/${descriptor}`, flags | constants.O_NONBLOCK);

  function send(file: BundleFile, written?: () => void): void {
    const { name, bytes, mode, uid, gid, target, readOnly } = file;
    const where = target === undefined ? "-" : `${encodeURIComponent(target)} ${readOnly ? "ro" : "rw"}`;
    orders.write(`file ${bytes.length} ${mode.toString(8)} ${uid} ${gid} ${name} ${where}\n`);
    orders.write(bytes, written);
  }

  /** Its process group has unshare(1) and the supervisor, whose end is the end of all in its namespace. */
  function kill(): void {
    try {
      if (pid !== undefined) process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }

  function orderTerminal(verb: string, { columns, rows }: TerminalSize): void {
    orders.write(`${verb} ${columns} ${rows}\n`);
  }

  async function stack(order: string): Promise<void> {
    ready = answer("ready");
    orders.write(`${order}\n`);
    await ready;
    count += 1;
  }

  return {
    id,
    /** For drafts: a folder that goes with the run. */
    folder: `${runs}/${id}`,

    gone,

    /** False as soon as it has ended; `gone` comes a little later. */
    isAlive: (): boolean => existsSync(`${inside}/exe`),

    /** When everything is there for a container but its bundle. */
    ready: (): Promise<unknown> => ready,

    /** What the runtime is to do before it starts a command: wait for the order. */
    hook: { path: "/bin/sh", args: ["sh", "-c", hook, "hook", places.bundle] },

    /** Where its containers' users begin among the host's; undefined where they are the host's own. */
    async firstUser(): Promise<number | undefined> {
      const base = (await ready).split(" ").at(-1);
      return base === "-" ? undefined : Number(base);
    },

    /** The files that the next container will find. Only to be read, and hostile from the second container on. */
    rootfs: () => `${inside}/root${places.rootfs}`,

    /** Before a container's start: puts these among the files that it will find, one after the other. */
    async place(files: readonly Placed[]): Promise<void> {
      await ready;
      const answered = answer("placed");
      orders.write("place\n");
      for (const { path, content, link, mode, owner } of files) {
        const kind = content ? "file" : link === undefined ? "folder" : "link";
        const bytes = content ?? Buffer.from(link ?? "");
        const words = [kind, encodeURIComponent(path), bytes.length, mode.toString(8), owner.uid, owner.gid];
        orders.write(`${words.join(" ")}\n`);
        orders.write(bytes);
      }
      orders.write("placed\n");
      await answered;
    },

    /** Mounts it into the next container. Where that cannot be, the container does not start. */
    mount({ source, target, readOnly, within, owner, user }: Volume): void {
      const around = within ?? source;
      const words = [
        encodeURIComponent(target),
        readOnly ? "ro" : "rw",
        encodeURIComponent(around),
        encodeURIComponent(relative(around, source) || "."),
        owner === undefined ? "-" : owner === "nobody" ? owner : `${owner.uid}:${owner.gid}`,
        user.uid,
        user.gid,
      ];
      orders.write(`volume ${words.join(" ")}\n`);
    },

    /**
     * Orders a container: the runtime creates it and the bundle is unlinked, while the caller does what else there is
     * to do before the command may start.
     *
     * @returns what starts the command; the streams are then the container's own, and `exited` tells the exit code of its
     * first process, which is 128 + n after signal n.
     */
    async create({ configuration, files, user, hasInput, screen, isBridged }: Bundle) {
      const [input, ...outputs] = (await ready).split(" ").slice(0, 3);
      if (isBridged) orders.write("network\n");
      const [stdout, stderr] = outputs.map((each) => pipeSource(open(each, constants.O_RDONLY))) as [
        OutputSource,
        OutputSource,
      ];
      const stdin = hasInput
        ? new Socket({ fd: open(input, constants.O_WRONLY), readable: false, writable: true })
        : undefined;
      let isStarted = false;
      void gone.then(() => {
        // Nobody else has them.
        if (!isStarted) for (const end of [stdout, stderr]) end.stop();
        stdin?.destroy();
      });
      const started = answer("started");
      const exited = answer("exited").then(Number);
      exited.catch(() => {});
      if (screen) orderTerminal("terminal", screen());
      for (const file of files) send(file);
      const config = { name: "config.json", bytes: configuration, mode: 0o600, uid: 0, gid: 0 };
      send(config, () => configuration.fill(0));
      orders.write(`create ${hasInput ? 1 : 0} ${user.uid} ${user.gid}\n`);
      return {
        async start() {
          orders.write("start\n");
          // What is in the pipes before is the runtime's.
          await started;
          isStarted = true;
          return { stdin, stdout, stderr, exited };
        },
      };
    },

    /**
     * After a container's end.
     *
     * @returns the folder with what it wrote, which nothing changes any more (overlayfs' upper layer).
     */
    async keep(): Promise<string> {
      const kept = answer("kept");
      orders.write("keep\n");
      await kept;
      return `${storage ? `${inside}/root${places.disk}` : `${runs}/${id}`}/${count}/upper`;
    },

    /** After `keep`: the next container finds what the ones before it wrote. */
    proceed: () => stack("next"),

    /** Instead of a container: the next one finds the files of this folder, which has to stay as it is. */
    put: (layer: string) => stack(`layer ${layer}`),

    signal(number: number): void {
      orders.write(`signal ${number}\n`);
    },

    /** Of the running container's terminal, if it has one. */
    resize: (size: TerminalSize) => orderTerminal("resize", size),

    /** Ends the run, whatever it is doing. `gone` tells when nothing is left of it. */
    abandon(): void {
      orders.end();
      const timer = setTimeout(kill, endLimit);
      void gone.then(() => clearTimeout(timer));
    },

    /** The same for a supervisor that does not listen, because the runtime it waits for hangs. The next run sweeps up. */
    destroy: kill,
  };
}

/** Whose failure a step of the supervisor's is; of the others, the state folder's. */
const causes: Record<string, FailureCode> = {
  create: "runtime_failed",
  place: "invalid_plan",
  volume: "invalid_plan",
  target: "invalid_plan",
  keep: "invalid_layer",
  users: "unsupported_host",
  storage: "unsupported_host",
  view: "unsupported_host",
  mounts: "runtime_failed",
  terminal: "runtime_failed",
  network: "network_unavailable",
};

const isFull = (reason: string) => /no space left on device/i.test(reason);

/** What the supervisor or the runtime wrote, as a failure of ours. */
async function explain(step: string, words: Promise<string>, storage: Bound | undefined): Promise<Failure> {
  const reason = await words;
  if (step === "storage") {
    const detail = `storage for the run cannot be made: ${reason}; it needs loop devices and mke2fs`;
    return new Failure(isFull(reason) ? "state_unusable" : "unsupported_host", { detail });
  }
  if (storage && step !== "disk" && isFull(reason)) {
    return new Failure("storage_full", {
      detail: `${storage.size} bytes for all steps together (${reason})`,
    });
  }
  if (/executable file not found|exec: "[^"]*": stat .*: no such file/.test(reason)) {
    return new Failure("command_not_found", { detail: quotedCommand(reason) });
  }
  if (/exec: "[^"]*": (permission denied|is a directory)/.test(reason)) {
    return new Failure("command_not_executable", { detail: quotedCommand(reason) });
  }
  const hidden = /mounting "(proc|sysfs)".*operation not permitted/.exec(reason)?.[1];
  if (hidden) {
    const folder = { proc: "/proc", sysfs: "/sys" }[hidden];
    const detail = `something is mounted over a part of this host's ${folder}, as in a container; Linux lets no user namespace mount one then; --userns host runs without one, with weaker isolation`;
    return new Failure("unsupported_host", { detail });
  }
  const detail = reason || `${step}: no reason was given`;
  const hint = step === "users" ? "; --userns host runs without a user namespace, with weaker isolation" : "";
  return new Failure(causes[step] ?? "state_unusable", { detail: `${detail}${hint}` });
}

/** Of what is written there, in bytes; a line of a runtime's log may quote all arguments of a command. */
const reasonLimit = 1024 * 1024;

/**
 * Reads from the start, because whoever writes into a full pipe waits, and the end of it is kept.
 *
 * @returns the `msg` of the last line of a runtime's JSON log; a line that is none, as it is.
 */
async function lastWords(reasons: Readable): Promise<string> {
  let kept: Buffer = Buffer.alloc(0);
  for await (const chunk of reasons) kept = Buffer.concat([kept, chunk]).subarray(-reasonLimit);
  const line = kept.toString().trim().split("\n").at(-1) ?? "";
  try {
    const { msg } = JSON.parse(line);
    if (typeof msg === "string") return msg.slice(0, 1000);
  } catch {
    // It is no log of a runtime's.
  }
  return line.slice(0, 1000);
}

const quotedCommand = (reason: string) => /exec: "([^"]*)"/.exec(reason)?.[1] ?? "";
