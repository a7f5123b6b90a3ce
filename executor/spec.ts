/**
 * The OCI runtime configuration of a container, without its secrets. The defaults are Docker's or stricter:
 * few capabilities, no new privileges, namespaces of its own, no network, nothing of the kernel to write to.
 */
import type { Image } from "./image.ts";
import type { Step } from "./plan.ts";
import { findUser } from "./user.ts";

export type Spec = ReturnType<typeof createSpec>;

const capabilities = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FOWNER",
  "CAP_FSETID",
  "CAP_KILL",
  "CAP_NET_BIND_SERVICE",
  "CAP_SETFCAP",
  "CAP_SETGID",
  "CAP_SETPCAP",
  "CAP_SETUID",
  "CAP_SYS_CHROOT",
];

const restricted = ["nosuid", "noexec", "nodev"];

const mounts = [
  { destination: "/proc", type: "proc", source: "proc", options: restricted },
  {
    destination: "/dev",
    type: "tmpfs",
    source: "tmpfs",
    options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
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
  { destination: "/sys", type: "sysfs", source: "sysfs", options: [...restricted, "ro"] },
  {
    destination: "/sys/fs/cgroup",
    type: "cgroup",
    source: "cgroup",
    options: [...restricted, "relatime", "ro"],
  },
];

/** @param id names the run: its host name and its cgroup. */
export function createSpec(step: Step, image: Image, id: string) {
  const { config } = image;
  const user = findUser(config.User ?? "", image.path);
  const isRoot = user.uid === 0;
  const env = new Map([
    ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ["HOSTNAME", id],
    ["HOME", user.home],
    ...(config.Env ?? []).map((variable) => splitVariable(variable)),
  ]);

  return {
    ociVersion: "1.0.2",
    process: {
      terminal: false,
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args:
        step.args.length > 0
          ? [...(config.Entrypoint ?? []), ...step.args]
          : [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])],
      env: [...env].map(([name, value]) => `${name}=${value}`),
      cwd: config.WorkingDir || "/",
      capabilities: {
        bounding: capabilities,
        effective: isRoot ? capabilities : [],
        permitted: isRoot ? capabilities : [],
      },
      // One byte: too small for a core file, and the one limit at which Linux (fs/coredump.c) also leaves a
      // core handler alone. Zero would not do: handlers are called all the same.
      rlimits: [{ type: "RLIMIT_CORE", hard: 1, soft: 1 }],
      noNewPrivileges: true,
    },
    root: { path: "../rootfs" },
    hostname: id,
    mounts,
    linux: {
      cgroupsPath: `/claimcheck/${id}`,
      resources: { devices: [{ allow: false, access: "rwm" }], pids: { limit: 2048 } },
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
      maskedPaths: [
        "/proc/acpi",
        "/proc/asound",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/sys/firmware",
        "/sys/devices/virtual/powercap",
      ],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
}

function splitVariable(variable: string): [name: string, value: string] {
  const at = variable.indexOf("=");
  return at < 0 ? [variable, ""] : [variable.slice(0, at), variable.slice(at + 1)];
}
