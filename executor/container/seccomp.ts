/**
 * The system calls that a container may make: the profile that containers-common installs for podman and buildah,
 * in the format that Docker made up, as what the OCI runtime specification calls `linux.seccomp`.
 *
 * A rule of it may say for which capabilities and machines it counts: `includes` has to hold, `excludes` must not.
 */
import { readFileSync } from "node:fs";
import { Failure } from "../../shared/failure.ts";

interface Condition {
  readonly caps?: readonly string[];
  readonly arches?: readonly string[];
  readonly minKernel?: string;
}

interface ProfileRule {
  readonly names: readonly string[];
  readonly action: string;
  readonly args?: readonly unknown[] | null;
  readonly errnoRet?: number;
  readonly includes?: Condition;
  readonly excludes?: Condition;
}

interface Profile {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly archMap?: readonly {
    readonly architecture: string;
    readonly subArchitectures?: readonly string[];
  }[];
  readonly syscalls: readonly ProfileRule[];
}

export type Seccomp = ReturnType<typeof translate>;

/** As podman has it; or less what hardly a job needs, and attacks on kernels do. */
export type SeccompProfile = "strict" | "podman";

/** An administrator's own comes first. */
const profilePlaces: readonly string[] = [
  "/etc/containers/seccomp.json",
  "/usr/share/containers/seccomp.json",
];

/** What Node.js calls a machine, what Docker's profiles do, and what the kernel's interface does. */
const machines: Record<string, readonly [name: string, architecture: string]> = {
  x64: ["amd64", "SCMP_ARCH_X86_64"],
  arm64: ["arm64", "SCMP_ARCH_AARCH64"],
  s390x: ["s390x", "SCMP_ARCH_S390X"],
  ppc64: ["ppc64le", "SCMP_ARCH_PPC64LE"],
  riscv64: ["riscv64", "SCMP_ARCH_RISCV64"],
};

/**
 * Hardly a program was ever built for it, most kernels do not know it, and it shares the numbers of system calls with its
 * machine: to make a filter that tells the two apart takes libseccomp twice as long as all the rest. Without it, such a
 * call kills.
 */
const unwanted = "SCMP_ARCH_X32";

/** @throws {Failure} `unsupported_host` when there is no profile: a container without one would be less than shut in. */
export function loadSeccomp(
  capabilities: readonly string[],
  kind: SeccompProfile,
  places = profilePlaces,
): Seccomp {
  for (const place of places) {
    let text: string;
    try {
      text = readFileSync(place, "utf8");
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === "ENOENT") continue;
      throw new Failure("unsupported_host", { detail: `${place} cannot be read`, cause });
    }
    try {
      const profile = translate(JSON.parse(text), capabilities, process.arch);
      return kind === "strict" ? tighten(profile) : profile;
    } catch (cause) {
      throw new Failure("unsupported_host", { detail: `${place} is not a seccomp profile`, cause });
    }
  }
  throw new Failure("unsupported_host", {
    detail: `there is not a seccomp profile at ${places.at(-1)}; install containers-common (Debian: golang-github-containers-common)`,
  });
}

/** @throws when the profile says something that this does not know, or knows nothing of this machine. */
export function translate(profile: Profile, capabilities: readonly string[], arch: string) {
  const [machine, architecture] = machines[arch] ?? [];
  const native = profile.archMap?.find((entry) => entry.architecture === architecture);
  if (!machine || !architecture) throw new Error(`${arch} is not known`);

  const holds = ({ caps = [], arches = [], minKernel }: Condition, all: boolean): boolean => {
    if (minKernel !== undefined) throw new Error("minKernel is not known");
    const granted = caps.map((cap) => capabilities.includes(cap));
    // Included for all of the capabilities, excluded for any of them.
    const byCapability = all ? granted.every(Boolean) : granted.some(Boolean);
    const byMachine = arches.includes(machine);
    return all ? byCapability && (arches.length === 0 || byMachine) : byCapability || byMachine;
  };
  const rules = profile.syscalls.filter(
    ({ includes = {}, excludes = {} }) => holds(includes, true) && !holds(excludes, false),
  );
  return {
    defaultAction: profile.defaultAction,
    ...(profile.defaultErrnoRet !== undefined && { defaultErrnoRet: profile.defaultErrnoRet }),
    architectures: [architecture, ...(native?.subArchitectures ?? [])].filter((each) => each !== unwanted),
    syscalls: rules.map(({ names, action, args, errnoRet }) => ({
      names,
      action,
      ...(errnoRet !== undefined && { errnoRet }),
      ...(args && args.length > 0 && { args }),
    })),
  };
}

const allow = "SCMP_ACT_ALLOW";
const refuse = "SCMP_ACT_ERRNO";
const [EPERM, ENOSYS] = [1, 38];

/** Mounts, keys that know no namespaces, segments; and what the kernel lets reach into another namespace. */
const unneeded = new Set(
  `mount umount umount2 move_mount open_tree open_tree_attr fsopen fsconfig fsmount fspick mount_setattr pivot_root
  setns keyctl add_key request_key modify_ldt`.split(/\s+/),
);

/** These have rules of their own below; `socketcall` is another way to `socket`, whose arguments no filter sees. */
const particular = new Set(["clone", "clone3", "unshare", "socket", "socketcall"]);

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET (linux/sched.h); NEWTIME is a signal's bit in clone(2). */
const newNamespaces = 0x7e020000;
const newTime = 0x80;

/** AF_UNIX, AF_INET, AF_INET6; AF_NETLINK is the largest, and has a rule of its own. */
const families = [1, 2, 10];
const netlink = 16;
const auditProtocol = 9;

/** Takes out of a profile what makes namespaces and mounts, and all kinds of sockets but the usual ones. */
export function tighten(profile: Seccomp): Seccomp {
  const clone = new Set(profile.architectures).has("SCMP_ARCH_S390X") ? 1 : 0;
  const rules = profile.syscalls.flatMap((rule) => {
    const names = rule.names.filter((name) => !unneeded.has(name) && !particular.has(name));
    return names.length === 0 ? [] : [{ ...rule, names }];
  });
  const without = (names: string[], index: number, mask: number) => ({
    names,
    action: allow,
    args: [{ index, value: mask, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }],
  });
  const domain = (value: number, op = "SCMP_CMP_EQ") => ({ index: 0, value, op });
  return {
    ...profile,
    syscalls: [
      ...rules,
      { names: [...unneeded], action: refuse, errnoRet: EPERM },
      without(["clone"], clone, newNamespaces),
      without(["unshare"], 0, newNamespaces | newTime),
      // Its arguments are in memory, where no filter looks: the C libraries go back to clone.
      { names: ["clone3"], action: refuse, errnoRet: ENOSYS },
      ...families.map((family) => ({ names: ["socket"], action: allow, args: [domain(family)] })),
      {
        names: ["socket"],
        action: allow,
        args: [domain(netlink), { index: 2, value: auditProtocol, op: "SCMP_CMP_NE" }],
      },
    ],
  };
}
