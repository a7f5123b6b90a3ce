/**
 * The OCI runtime configuration of a container, without its secrets. The defaults are Docker's or stricter:
 * few capabilities and system calls, no new privileges, namespaces of its own, no network, nothing of the kernel to
 * write to.
 */

import { isRootless } from "../host/rootless.ts";
import type { ImageConfig } from "../image/image.ts";
import type { User } from "../image/user.ts";
import type { Step } from "../plan/plan.ts";
import type { TerminalSize } from "../supervisor/orders.ts";
import { places } from "../supervisor/supervisor.ts";
import { kernelMounts } from "./mounts.ts";
import { loadSeccomp, type SeccompProfile } from "./seccomp.ts";

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

/** What Docker hides, and podman. */
const maskedPaths = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/interrupts",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/dev/block",
  // The storage of other runs (../supervisor/storage.pl).
  "/sys/devices/virtual/block",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
  "/sys/fs/selinux",
];

const readonlyPaths = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/** Users of a container with a user namespace of its own (users.pl). */
export const userCount = 65_536;

/** The scheduler's period, in microseconds. */
const cpuPeriod = 100_000;

interface SpecSettings {
  /** What the image says of how to run it. */
  readonly config: ImageConfig;
  readonly user: User;
  /** The container's host name. */
  readonly hostname: string;
  /** The container's cgroup. */
  readonly cgroup: string;
  /** Where its users begin among the host's, if it has a user namespace of its own. */
  readonly firstUser: number | undefined;
  readonly seccomp: SeccompProfile;
  /** What the runtime runs before it starts the command. */
  readonly hook: { readonly path: string; readonly args: readonly string[] };
  /** The size of its terminal, if it has one. */
  readonly screen: TerminalSize;
}

export function createSpec(
  step: Step,
  { config, user, hostname, cgroup, firstUser, seccomp, hook, screen }: SpecSettings,
) {
  const isRoot = user.uid === 0;
  return {
    ociVersion: "1.0.2",
    process: {
      terminal: step.terminal,
      ...(step.terminal && { consoleSize: { width: screen.columns, height: screen.rows } }),
      user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
      args: commandOf(step, config),
      env: environmentOf(step, config, {
        HOSTNAME: hostname,
        ...(step.terminal && { TERM: "xterm" }),
        HOME: user.home,
      }),
      cwd: step.workdir ?? (config.WorkingDir || "/"),
      capabilities: {
        bounding: capabilities,
        effective: isRoot ? capabilities : [],
        permitted: isRoot ? capabilities : [],
      },
      noNewPrivileges: true,
    },
    root: { path: places.rootfs, readonly: step.readOnly },
    hostname,
    hooks: { createRuntime: [hook] },
    mounts: kernelMounts(step.network, {
      isNested: isRootless() || firstUser !== undefined,
      hasCgroups: !isRootless(),
    }),
    linux: {
      ...(isRootless() ? {} : limitsOf(step, cgroup)),
      namespaces: namespacesOf(step, firstUser),
      ...(firstUser !== undefined && mappingsOf(firstUser)),
      maskedPaths,
      readonlyPaths,
      seccomp: loadSeccomp(capabilities, seccomp),
    },
  };
}

function limitsOf({ pidsLimit, memory, cpus }: Step, cgroup: string) {
  return {
    cgroupsPath: `/claimcheck/${cgroup}`,
    resources: {
      devices: [{ allow: false, access: "rwm" }],
      pids: { limit: pidsLimit ?? 2048 },
      // As much with swap as without: what a container keeps in memory stays there.
      ...(memory !== undefined && { memory: { limit: memory, swap: memory } }),
      ...(cpus !== undefined && { cpu: { period: cpuPeriod, quota: Math.round(cpus * cpuPeriod) } }),
    },
  };
}

function namespacesOf(
  { network, init }: Step,
  firstUser: number | undefined,
): { type: string; path?: string }[] {
  return [
    ...["ipc", "uts", "mount", "cgroup"].map((type) => ({ type })),
    init ? { type: "pid", path: places.processes } : { type: "pid" },
    ...(firstUser === undefined ? [] : [{ type: "user", path: places.users }]),
    ...(network === "bridge" ? [{ type: "network", path: places.network }] : []),
    ...(network === "none" ? [{ type: "network" }] : []),
  ];
}

/** What the user namespace has already: the runtime wants to know it, too. */
function mappingsOf(hostID: number) {
  const mapping = [{ containerID: 0, hostID, size: userCount }];
  return { uidMappings: mapping, gidMappings: mapping };
}

/** An entrypoint of the step's own takes the image's command away too, as with Docker and podman. */
function commandOf({ args, entrypoint }: Step, config: ImageConfig): readonly string[] {
  if (entrypoint) return [...entrypoint, ...args];
  return [...(config.Entrypoint ?? []), ...(args.length > 0 ? args : (config.Cmd ?? []))];
}

function environmentOf(step: Step, config: ImageConfig, own: Record<string, string>): string[] {
  const env = new Map<string, string | null>([
    ["PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
    ...Object.entries(own),
    ...(config.Env ?? []).map((variable) => splitVariable(variable)),
    ...step.env,
  ]);
  return [...env].flatMap(([name, value]) => (value === null ? [] : [`${name}=${value}`]));
}

function splitVariable(variable: string): [name: string, value: string] {
  const at = variable.indexOf("=");
  return at < 0 ? [variable, ""] : [variable.slice(0, at), variable.slice(at + 1)];
}
