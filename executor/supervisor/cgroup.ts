/**
 * A runtime moves a container's first process to a cgroup of its own. Before the first such move in a while Linux waits
 * for all CPUs (an RCU grace period, about ten milliseconds), and then for some time no more.
 */
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";

let root: string | undefined;

/** Where version 2 is mounted; it stays there. Empty where it is not. */
export function findCgroupRoot(): string {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8");
  return /^(?:\S+ ){4}(\S+) .* - cgroup2 /m.exec(mounts)?.[1] ?? "";
}

/**
 * Has that wait begin now: this process moves to where it is. For whoever is about to have a container made, and is not
 * there yet. Where it cannot be done, the runtime waits.
 */
export function hastenMove(): void {
  try {
    root ??= findCgroupRoot();
    // Asked each time: whoever moved this process meanwhile would find it moved back.
    const [, path = ""] = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8")) ?? [];
    void writeFile(`${root}${path}/cgroup.procs`, "0", { flag: "r+" }).catch(() => {});
  } catch {
    // There are none.
  }
}
