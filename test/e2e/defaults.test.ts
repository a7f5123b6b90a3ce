/** What a container may do by default, line by line beside what podman's may on the same machine. */
import { execFileSync, spawnSync } from "node:child_process";
import { readlinkSync } from "node:fs";
import { constants } from "node:os";
import { expect, test } from "vitest";
import { entry, image } from "../support/command.ts";
import { makePerlImage } from "../support/perl-image.ts";

const probe = `
  sed -n 's/^\\(Cap[A-Z][a-z]*\\|NoNewPrivs\\|Seccomp\\):[[:space:]]*/status \\1 /p' /proc/self/status
  for name in cgroup ipc mnt net pid uts; do echo "namespace $name $(readlink /proc/self/ns/$name)"; done
  while read -r _ _ _ _ target options _; do echo "mount $target $options"; done < /proc/self/mountinfo
  for path in /proc/* /proc/sys/* /sys/* /sys/fs/* /sys/devices/virtual/* /sys/dev/*; do
    case $path in /proc/[0-9]*|/proc/self|/proc/thread-self|/proc/kmsg) continue ;; esac
    if [ -d "$path" ]; then seen=$(ls "$path" 2>/dev/null | head -n 1); else seen=$(head -c 1 "$path" 2>/dev/null | od -An); fi
    echo "readable $path \${seen:+1}"
    if [ -w "$path" ]; then echo "writable $path 1"; fi
  done
  for device in /dev/*; do echo "device $device 1"; done
  for call in 'unshare -U true' 'unshare -m true' 'mount -t tmpfs none /tmp' 'swapoff /tmp/x' 'mknod /tmp/d b 8 0' \\
    'hostname x' 'date -s 2001-01-01' 'chroot / /bin/true'; do
    $call >/dev/null 2>&1 && echo "call $call" | sed 's/ /_/2g; s/$/ 1/'
  done; true`;

type Findings = Map<string, string>;

/** What is said of each subject: "status CapEff" → "00000000a80425fb". */
function read(text: string): Findings {
  const lines = text.split("\n").map((line) => /^(\w+ \S+) ?(.*)$/.exec(line));
  return new Map(lines.flatMap((match) => (match ? [[match[1] as string, match[2] as string]] : [])));
}

const entries = (findings: Findings, kind: string) =>
  [...findings]
    .filter(([subject]) => subject.startsWith(`${kind} `))
    .map(([subject, value]) => [subject.slice(kind.length + 1), value] as const);

const ask = (program: string, args: readonly string[]) =>
  read(
    execFileSync(program, [...args, image, "sh", "-c", probe], {
      stdio: ["ignore", "pipe", "ignore"],
    }).toString(),
  );

const ours = ask(process.execPath, [entry, "run"]);
// Its usual limits are above the hard ones of some machines.
const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
const theirs = ask("podman", ["--runtime", "runc", "run", "--rm", ...limits]);

test("the two were asked the same", () => {
  for (const findings of [ours, theirs]) {
    expect(entries(findings, "status").length).toBeGreaterThanOrEqual(7);
    expect(entries(findings, "readable").length).toBeGreaterThan(50);
    expect(entries(findings, "mount").length).toBeGreaterThan(10);
  }
});

test.each(entries(theirs, "status").filter(([name]) => name.startsWith("Cap")))(
  "no more in %s",
  (name, set) => {
    const extra = BigInt(`0x${ours.get(`status ${name}`)}`) & ~BigInt(`0x${set}`);
    expect(extra).toBe(0n);
  },
);

test.each(["NoNewPrivs", "Seccomp"])("%s is as strict", (name) => {
  const strictness = (findings: Findings) => Number(findings.get(`status ${name}`));
  expect(strictness(ours)).toBeGreaterThanOrEqual(strictness(theirs));
  expect(strictness(ours)).toBeGreaterThan(0);
});

test.each(entries(theirs, "namespace"))("the %s namespace is its own where podman's is", (name, inode) => {
  const host = readlinkSync(`/proc/self/ns/${name}`);
  if (inode !== host) expect(ours.get(`namespace ${name}`)).not.toBe(host);
});

test.each(["readable", "writable", "device", "call"])("nothing is %s that is not with podman", (kind) => {
  const allowed = (findings: Findings) =>
    entries(findings, kind)
      .filter(([, value]) => value === "1")
      .map(([path]) => path);
  const more = allowed(ours).filter((path) => !allowed(theirs).includes(path));
  expect(more).toEqual([]);
});

test("a mount has every restriction that podman's has", () => {
  const weaker = entries(ours, "mount").flatMap(([target, options]) => {
    const wanted = theirs.get(`mount ${target}`)?.split(",") ?? [];
    const missing = ["ro", "nosuid", "nodev", "noexec"].filter(
      (option) => wanted.includes(option) && !options.split(",").includes(option),
    );
    return missing.map((option) => `${target} without ${option}`);
  });
  expect(weaker).toEqual([]);
});

test.runIf(process.arch === "x64")("an x32 system call kills", () => {
  const perl = makePerlImage();
  const call = (number: number) =>
    spawnSync(process.execPath, [
      entry,
      "run",
      perl,
      "--",
      "perl",
      "-e",
      `print syscall(${number}) > 0 ? "made" : "refused"`,
    ]);
  const getpid = 39;
  expect(call(getpid).stdout.toString()).toBe("made");
  expect(call(0x40000000 + getpid)).toMatchObject({ status: 128 + constants.signals.SIGSYS });
});
