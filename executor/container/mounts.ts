/** What the runtime mounts into a container: the kernel's file systems, and nothing else (attach.pl has the rest). */
import type { Network } from "../plan/plan.ts";

export interface Mount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const restricted = ["nosuid", "noexec", "nodev"];

/** Each costs the kernel about a kilobyte, whatever it holds; one for each page of the size. */
const inodes = "nr_inodes=16384";

/** Docker's and podman's, or stricter. */
const kernelFolders: readonly Mount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: restricted },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k", inodes],
  },
  {
    destination: "/dev/pts",
    type: "devpts",
    source: "devpts",
    options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
  },
  {
    destination: "/dev/shm",
    type: "tmpfs",
    source: "shm",
    options: [...restricted, "mode=1777", "size=65536k", inodes],
  },
  { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: restricted },
];

const sysfs: Mount = {
  destination: "/sys",
  type: "sysfs",
  source: "sysfs",
  options: [...restricted, "ro"],
};

const cgroups: Mount = {
  destination: "/sys/fs/cgroup",
  type: "cgroup",
  source: "cgroup",
  options: [...restricted, "relatime", "ro"],
};

interface Users {
  /** Whether they are in a user namespace: such a root can mount a /sys only for a network of its own. */
  readonly isNested: boolean;
  readonly hasCgroups: boolean;
}

export function kernelMounts(network: Network, { isNested, hasCgroups }: Users): Mount[] {
  if (network !== "host" || !isNested) return [...kernelFolders, sysfs, ...(hasCgroups ? [cgroups] : [])];
  return [...kernelFolders, { ...sysfs, type: "bind", source: "/sys", options: ["rbind", ...sysfs.options] }];
}
