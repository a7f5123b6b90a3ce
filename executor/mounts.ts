/** What is mounted into a container beside its own files: the kernel's file systems, and what the user shares. */
import type { BindMount, Network } from "./plan.ts";
import { isRootless } from "./rootless.ts";

export interface Mount {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
}

const restricted = ["nosuid", "noexec", "nodev"];

/** Docker's and podman's, or stricter. */
const kernelFolders: readonly Mount[] = [
  { destination: "/proc", type: "proc", source: "proc", options: restricted },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "noexec", "strictatime", "mode=755", "size=65536k"],
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
    options: [...restricted, "mode=1777", "size=65536k"],
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

/** Who is not root can mount a /sys only for a network of their own. */
export function kernelMounts(network: Network): Mount[] {
  if (!isRootless) return [...kernelFolders, sysfs, cgroups];
  if (network !== "host") return [...kernelFolders, sysfs];
  return [...kernelFolders, { ...sysfs, type: "bind", source: "/sys", options: ["rbind", ...sysfs.options] }];
}

/** The host's folders and files, those around others first. `rro` makes what is mounted inside them read-only too. */
export function bindMounts(binds: readonly BindMount[]): Mount[] {
  const depth = ({ target }: BindMount) => target.split("/").length;
  return binds
    .toSorted((a, b) => depth(a) - depth(b))
    .map(({ source, target, readOnly }) => ({
      destination: target,
      type: "bind",
      source,
      options: ["rbind", "rprivate", "nosuid", "nodev", ...(readOnly ? ["ro", "rro"] : ["rw"])],
    }));
}
