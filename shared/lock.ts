/**
 * A lock on a file is flock(2) and belongs to this process's open file: the kernel lets go of it when the process
 * ends, in whatever way, and no number that could come to mean another process is written anywhere. Node.js has no
 * call for it, but the program of that name locks the open file that it inherits, and the lock stays when the program
 * has ended.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";

/**
 * @param until waits until this ends the wait; otherwise there is none.
 * @returns false when somebody else holds it.
 * @throws when it cannot be had at all.
 */
export async function lock(file: FileHandle, { until }: { until?: AbortSignal } = {}): Promise<boolean> {
  const inherited = 3;
  const program = spawn("flock", ["-x", ...(until ? [] : ["-n"]), String(inherited)], {
    stdio: ["ignore", "ignore", "ignore", file.fd],
    env: { PATH: "/usr/local/bin:/usr/bin:/bin" },
    ...(until && { signal: until }),
  });
  const [code] = await once(program, "close");
  if (code === 0) return true;
  if (code === 1) return false;
  throw new Error(`flock ended with ${code}`);
}
