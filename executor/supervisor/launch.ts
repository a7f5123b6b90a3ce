/** Starts the supervisor's program, in namespaces of its own and without core files. */
import { spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { limitCores, withoutCores } from "../../shared/core-files.ts";
import { Failure } from "../../shared/failure.ts";
import { userNamespace } from "../host/rootless.ts";

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
  const namespaces = [...userNamespace(), ...own, "--propagation", "slave"];
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
