/** What a host needs to run containers, looked at as a run would use it. */
import { execFile } from "node:child_process";
import { constants, mkdirSync, readFileSync, statSync } from "node:fs";
import { access } from "node:fs/promises";
import { release, userInfo } from "node:os";
import { promisify } from "node:util";
import { loadSeccomp, type SeccompProfile } from "../../executor/container/seccomp.ts";
import { isRootless } from "../../executor/host/rootless.ts";
import { findCgroupRoot } from "../../executor/supervisor/cgroup.ts";
import type { Check } from "./check.ts";

const run = promisify(execFile);

/** Each answers in a moment, or it is broken. In milliseconds. */
const patience = 10_000;

/** A program, how it says its version, and the Debian package that brings it. */
type Program = readonly [program: string, args: readonly string[], debian: string];

const programs: readonly Program[] = [
  ["perl", ["-e", 'printf "perl %vd", $^V'], "perl"],
  ["buildah", ["--version"], "buildah"],
  ["tar", ["--version"], "tar"],
  ["prlimit", ["--version"], "util-linux"],
  ["unshare", ["--version"], "util-linux"],
];

/** For `--network bridge` alone. */
const bridgePrograms: readonly Program[] = [
  ["nft", ["--version"], "nftables"],
  ["ip", ["-Version"], "iproute2"],
];

/** A user's containers need ranges of numbers that are the user's own. */
const rootlessPrograms: readonly Program[] = [["newuidmap", [], "uidmap"]];

interface Host {
  readonly state: string;
  readonly runtime: string;
  readonly seccomp: SeccompProfile;
  readonly tools: Readonly<Record<string, string>>;
}

export function hostChecks({ state, runtime, seccomp, tools }: Host): Check[] {
  const find = ([program, args, debian]: Program): Check => ({
    name: program,
    remedy: `install it (Debian: apt install ${debian}) where PATH finds it`,
    look: () => firstLine(program, args, tools),
  });
  return [
    {
      name: "system",
      remedy:
        "run containers on Linux 5.19 or newer, or with --userns host; broker, issue, scrub and the SDKs work elsewhere too",
      look: findKernel,
    },
    {
      name: "runtime",
      remedy:
        "install runc (Debian: apt install runc), or name another OCI runtime with `runtime:` or --runtime",
      look: () => firstLine(runtime, ["--version"], tools),
    },
    ...programs.map(find),
    ...(isRootless() ? rootlessPrograms : bridgePrograms).map(find),
    {
      name: "seccomp",
      remedy: "install containers-common (Debian: apt install golang-github-containers-common)",
      look: () => `${loadSeccomp([], seccomp).syscalls.length} rules`,
    },
    {
      name: "cgroups",
      remedy: isRootless()
        ? "a run works without; limits on memory, CPUs and processes need root"
        : "mount them at /sys/fs/cgroup, as systemd does",
      look: findCgroups,
    },
    {
      name: "namespaces",
      remedy:
        "allow user namespaces: sysctl user.max_user_namespaces, and what a security module says of them",
      look: findNamespaces,
    },
    ...(isRootless() ? [subordinateIds("/etc/subuid"), subordinateIds("/etc/subgid")] : []),
    {
      name: "images",
      remedy: "look at what buildah says; its storage is set in /etc/containers/storage.conf",
      look: async () => {
        const { stdout } = await run("buildah", ["images", "--json"], {
          env: tools,
          timeout: patience,
          maxBuffer: 64 * 1024 * 1024,
        });
        return `${(JSON.parse(stdout) as unknown[]).length} in the local storage`;
      },
    },
    {
      name: "state",
      remedy: `make the folder writable for ${userInfo().username}, and closed to all others (0700)`,
      look: () => findState(state),
    },
  ];
}

async function firstLine(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<string> {
  const { stdout, stderr } = await run(program, [...args], { env, timeout: patience }).catch((error) => {
    if (error.code === "ENOENT") throw new Error(`${program} was not found`);
    // A program may have no way to say what it is.
    if (typeof error.code === "number" && args.length === 0) return { stdout: "it is there", stderr: "" };
    throw new Error(`${program} did not start (${error.code ?? error.signal})`);
  });
  return (stdout || stderr).split("\n", 1)[0] as string;
}

/** From this version on, overlay file systems take id-mapped layers (mount_setattr(2)). */
const [oldestMajor, oldestMinor] = [5, 19];

function findKernel(): string {
  if (process.platform !== "linux") throw new Error(`this is ${process.platform}`);
  const [major = 0, minor = 0] = release().split(".").map(Number);
  const isNew = major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
  return only(isNew, `Linux ${release()}`, `Linux ${release()} does not give a container users of its own`);
}

function only(holds: boolean, says: string, otherwise: string): string {
  if (holds) return says;
  throw new Error(otherwise);
}

async function findCgroups(): Promise<string> {
  const two = findCgroupRoot();
  const one = / - cgroup /.test(readFileSync("/proc/self/mountinfo", "utf8"));
  if (!two && !one) throw new Error("none is mounted");
  const version = one ? "version 1" : "version 2";
  if (isRootless()) throw new Error(`${version}, which only root divides up`);
  await access(two || "/sys/fs/cgroup", constants.W_OK).catch(() => {
    throw new Error(`${version}, mounted so that nobody can write to it`);
  });
  return version;
}

function findNamespaces(): string {
  const most = Number(readFileSync("/proc/sys/user/max_user_namespaces", "utf8"));
  return only(most > 0, `up to ${most} for users`, "the kernel's limit for user namespaces is 0");
}

/** What useradd gives a user: ranges for the other users of its containers. */
const subordinateIds = (file: string): Check => ({
  name: file,
  remedy: `give the user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME`,
  look() {
    const { username, uid } = userInfo();
    const lines = readFileSync(file, "utf8").split("\n");
    const own = lines.find((line) => line.startsWith(`${username}:`) || line.startsWith(`${uid}:`));
    return only(own !== undefined, own ?? "", `no line for ${username}`);
  },
});

async function findState(folder: string): Promise<string> {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    await access(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(`${folder} cannot be used (${(error as NodeJS.ErrnoException).code})`);
  }
  const { mode, uid } = statSync(folder);
  return only(
    (mode & 0o022) === 0 && uid === process.getuid?.(),
    folder,
    `${folder} belongs to, or can be written by, another user`,
  );
}
