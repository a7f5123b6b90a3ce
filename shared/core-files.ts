/**
 * A process that holds secrets leaves no core file and wakes no core handler, nor does anything that it starts. The limit
 * is one byte: too small for a core file, and the one limit at which Linux (fs/coredump.c) also leaves a handler alone;
 * at zero handlers are called all the same. Node.js has no call for it, but util-linux has a program.
 */
import { spawn } from "node:child_process";

/** For prlimit(1), which sets the limit of a process or of the program that it starts. */
export const withoutCores = ["--core=1:1"];

/** @throws when the program is not there or cannot do it. */
export function limitCores(environment: Readonly<Record<string, string>>): Promise<void> {
  return new Promise((resolve, reject) => {
    const prlimit = spawn("prlimit", [...withoutCores, "--pid", String(process.pid)], {
      stdio: "ignore",
      env: environment,
    });
    prlimit.on("error", reject);
    prlimit.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`prlimit ended with ${code}`))));
  });
}
