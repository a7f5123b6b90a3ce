/**
 * The containers of one run, run by an OCI runtime under supervisor.pl, which says what it promises and how it is
 * spoken to. This side starts it, gives the orders and waits for the answers.
 */
import { randomBytes } from "node:crypto";
import { constants, existsSync, openSync } from "node:fs";
import { Socket } from "node:net";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { type OutputSource, pipeSource } from "../output/pipe.ts";
import { createAnswers } from "./answers.ts";
import { launchSupervisor } from "./launch.ts";
import {
  type Bundle,
  type BundleFile,
  fileOrder,
  type Placed,
  placedLine,
  type TerminalSize,
  type Volume,
  volumeOrder,
} from "./orders.ts";
import { explain, lastWords } from "./reasons.ts";

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
export interface Bound {
  readonly size: number;
  readonly inodes: number;
}

/** A user namespace of its own, or the numbers of whoever starts containers. */
export type ContainerUsers = "own" | "host";

export type Supervisor = ReturnType<typeof startSupervisor>;

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

/** Tells its state (runtime-spec, runtime.md) and waits. Without an order there is an error, and no command. */
const hook = 'read -r state; printf "%s\\n" "$state" >"$1/state" && read -r go <"$1/start"';

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

  const { answer, fail, settle } = createAnswers(answers, {
    explain: (step) => explain(step, reason, storage),
    kill,
  });
  let count = 1;

  /** When the supervisor has ended, and with it the container and everything it left. */
  const gone = ended.then(async ({ how, cause }) => {
    if (cause !== undefined) {
      fail(new Failure("runtime_failed", { detail: "its supervisor cannot be started", cause }));
      return;
    }
    await settle(async () => {
      const words = await reason;
      return new Failure("runtime_failed", { detail: `its supervisor ended early (${words || how})` });
    });
  });

  /** The descriptors of the next container's pipes. */
  let ready = answer("ready");

  /** The supervisor's process as this process sees it, and in it what it sees itself (view.pl). */
  const inside = `/proc/${pid}/root/proc/1`;

  /** A pipe has no name but that of the supervisor's descriptor. */
  const open = (descriptor: string | undefined, flags: number) =>
    openSync(`${inside}/fd/${descriptor}`, flags | constants.O_NONBLOCK);

  function send(file: BundleFile, written?: () => void): void {
    orders.write(fileOrder(file));
    orders.write(file.bytes, written);
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
      for (const [line, bytes] of files.map(placedLine)) {
        orders.write(line);
        orders.write(bytes);
      }
      orders.write("placed\n");
      await answered;
    },

    /** Mounts it into the next container. Where that cannot be, the container does not start. */
    mount(volume: Volume): void {
      orders.write(volumeOrder(volume));
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
