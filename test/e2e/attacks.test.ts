/**
 * Jobs that want to reach the host: by what a target leads to, by descriptors that they pass on, by namespaces and mounts
 * of their own, by what the kernel counts. Through the command, and through an executor's socket.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { until } from "../parts/host.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";
import { ask, type ExecutorHost, outputOf, startHost } from "../support/executor.ts";
import { makeImage } from "../support/made-image.ts";
import { makePerlImage, perlCalls } from "../support/perl-image.ts";
import { makeFolder } from "../support/served.ts";

interface Plan {
  readonly image?: string;
  readonly steps: readonly object[];
}

interface Outcome {
  readonly failure: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

const environment = { API_TOKEN: "guessme-and-more" };

/** A folder of the host's that a job may mount and write to, and how plans are run. */
type Front = (volume: string) => Promise<(plan: Plan) => Promise<Outcome>>;

const fronts: Record<"the command" | "an executor's socket", Front> = {
  "the command": async () => async (plan) => {
    const document = JSON.stringify({ version: 1, image, ...plan });
    const file = join(makeFolder({ "plan.json": document }), "plan.json");
    const { stdout, stderr } = await claimcheck(["run", "--no-cache", "--plan", file], { env: environment });
    return { failure: /\[(\w+)\]$/m.exec(stderr)?.[1], stdout, stderr };
  },
  "an executor's socket": async (volume) => {
    const fields = `volumes: [{ source: ${volume}, user: "1234:1234" }]`;
    const host: ExecutorHost = await startHost({ fields, environment });
    execFileSync("sed", ["-i", 's/^images: .*/images: ["localhost\\/claimcheck-*:*"]/', host.config]);
    host.executor.child.kill("SIGTERM");
    await host.executor.finished;
    await host.startExecutor();
    return async (plan) => {
      const body = { plan: { version: 1, image, ...plan }, token: await host.sign("job-1"), cache: false };
      const { events, text } = await ask(host.socket, body);
      const last = events.at(-1) ?? JSON.parse(text);
      const [stdout, stderr] = (["stdout", "stderr"] as const).map((name) => outputOf(events, name));
      return { failure: last.code as string, stdout: stdout ?? "", stderr: `${stderr}${last.detail ?? ""}` };
    };
  },
};

function makeVolume(): string {
  const volume = mkdtempSync(join(tmpdir(), "claimcheck-volume-"));
  onTestFinished(() => rmSync(volume, { recursive: true, force: true }));
  execFileSync("chown", ["1234:1234", volume]);
  return volume;
}

const sh = (script: string) => ["sh", "-c", script];
const link = (path: string, target: string) => ({ path, link: target });

describe.each(Object.entries(fronts))("through %s", (_, openFront) => {
  const secretFiles = (path: string) => [{ path, uri: "env://API_TOKEN" }];

  test("a target that leads to the kernel's folders is refused, however it is spelled", async () => {
    const volume = makeVolume();
    const run = await openFront(volume);
    const cases: [what: string, step: object][] = [
      ["an alias", { files: [link("/x", "/dev")], mount: "/x" }],
      ["a chain of links", { files: [link("/x", "/y"), link("/y", "z"), link("/z", "dev/")], mount: "/x" }],
      ["below an alias", { files: [link("/x", "/proc")], mount: "/x/sub" }],
      ["a deep alias", { files: [link("/x", "/sys/kernel")], mount: "/x" }],
      ["dots", { files: [link("/x", "/tmp/../../../proc/.")], mount: "/x" }],
      ["a relative link", { files: [link("/a/b/x", "../../../../dev")], mount: "/a/b/x" }],
      ["plainly", { mount: "/dev/shm" }],
      ["the root", { files: [link("/x", "/")], mount: "/x" }],
      ["an alias for a secret", { files: [link("/x", "/dev")], secretFiles: secretFiles("/x/null") }],
      ["links in a circle", { files: [link("/x", "/y"), link("/y", "/x")], mount: "/x/z" }],
    ];
    for (const [what, { mount, ...step }] of cases as [string, { mount?: string }][]) {
      const volumes = mount === undefined ? [] : [{ source: volume, target: mount }];
      const { failure, stdout } = await run({ steps: [{ args: sh("echo started"), ...step, volumes }] });
      expect({ what, failure, stdout }).toEqual({ what, failure: "invalid_plan", stdout: "" });
    }
  });

  test.each([
    ["/etc is a link to /proc", "rm -r etc && ln -s proc etc"],
    [
      "/etc/hosts is a switch of the kernel's",
      "rm -f etc/hosts && ln -s /proc/sys/kernel/core_pattern etc/hosts",
    ],
    ["/proc is a file", "rmdir proc && echo > proc"],
    ["/sys is a link to another folder of the image's", "rmdir sys && ln -s tmp sys"],
  ])("an image in which %s is refused", async (_name, script) => {
    const run = await openFront(makeVolume());
    const { failure, stdout } = await run({
      image: makeImage(script),
      steps: [{ args: sh("echo started") }],
    });
    expect({ failure, stdout }).toEqual({ failure: "invalid_plan", stdout: "" });
  });

  test("a link that an earlier step left is no way round either", async () => {
    const volume = makeVolume();
    const run = await openFront(volume);
    const plant = { args: sh("ln -s /dev /y && ln -s /proc/1/root /z") };
    for (const target of ["/y", "/z/tmp"]) {
      const mount = { args: sh("echo started"), volumes: [{ source: volume, target }] };
      expect(await run({ steps: [plant, mount] })).toMatchObject({ failure: "invalid_plan", stdout: "" });
    }
  });

  test("a link that leads to nothing is followed within the container, and nothing is made on the host", async () => {
    const volume = makeVolume();
    const run = await openFront(volume);
    const nowhere = join("/srv", "claimcheck-nowhere");
    const files = [link("/x", `../../../..${nowhere}/sub`)];
    const step = { files, args: sh(`ls -d ${nowhere}/sub`), volumes: [{ source: volume, target: "/x" }] };
    expect(await run({ steps: [step] })).toMatchObject({ stdout: `${nowhere}/sub\n` });
    expect(existsSync(nowhere)).toBe(false);
  });

  test("a working directory leads nowhere outside, not through any descriptor of the runtime's", async () => {
    const mark = "claimcheck-mark-of-the-host";
    writeFileSync(join("/srv", mark), "");
    onTestFinished(() => rmSync(join("/srv", mark)));
    const run = await openFront(makeVolume());
    const up = Array.from({ length: 12 }, (__, depth) => `${"../".repeat(depth)}srv/${mark}`);
    for (const workdir of ["/proc/self/fd/3", "/proc/self/fd/7", "/proc/self/fd/8", "/proc/1/cwd", "/x"]) {
      const step = {
        files: [link("/x", "/proc/self/fd/7")],
        workdir,
        args: sh(`ls ${up.join(" ")} 2>&1; true`),
      };
      const { stdout } = await run({ steps: [step] });
      expect(stdout.split("\n").filter((line) => line.endsWith(mark))).toEqual([]);
    }
  });
});

describe("descriptors that a container passes to another run", () => {
  /** Two runs that share a volume: one takes a descriptor, and what it does with it; one gives it in its first step. */
  async function passing(opened: string, attack: string) {
    const perl = makePerlImage();
    const volume = makeVolume();
    const flags = ["--no-cache", "-v", `${volume}:/v`];
    const accomplice = start(
      [
        "run",
        ...flags,
        perl,
        "perl",
        "-e",
        `${perlCalls}
        my $door = unix_socket(); bind($door, unix_address("/v/door")) && listen($door, 1) or die $!;
        print "listening\\n"; accept(my $caller, $door) or die $!;
        my $fd = receive_descriptor($caller); print "received\\n";
        sysread $caller, my $end, 1;
        select undef, undef, undef, 0.01 until -e "/v/second";
        ${attack}
        open my $done, ">", "/v/attacked"; close $done;
        select undef, undef, undef, 0.01 until -e "/v/over";`,
      ],
      {},
    );
    await printed(accomplice, "listening");
    const give = `${perlCalls} ${opened}
      my $s = unix_socket(); connect($s, unix_address("/v/door")) or die $!; send_descriptor($s, fileno $h); print "given\\n";`;
    const volumes = [{ source: volume, target: "/v" }];
    const wait = "touch /v/second; until [ -e /v/attacked ]; do sleep 0.01; done; ls /";
    const steps = [
      { args: ["perl", "-e", give], volumes },
      { args: sh(wait), volumes },
    ];
    const file = join(
      makeFolder({ "plan.json": JSON.stringify({ version: 1, image: perl, steps }) }),
      "plan.json",
    );
    const victim = await claimcheck(["run", "--no-cache", "--plan", file]);
    for (const name of ["second", "over"]) writeFileSync(join(volume, name), "");
    return { victim, accomplice: await accomplice.finished };
  }

  test("as its root let nobody write where its next step looks", async () => {
    const { victim, accomplice } = await passing(
      'open my $h, "<", "/" or opendir $h, "/"; sysopen($h, "/", 0200000) or die "open: $!";',
      `mkdir "/proc/self/fd/$fd/planted" and print "planted\\n" or print "refused: $!\\n";`,
    );
    expect(accomplice.stdout).toBe("listening\nreceived\nrefused: Read-only file system\n");
    expect(victim).toMatchObject({ code: 0, stderr: expect.not.stringContaining("[") });
    expect(victim.stdout).not.toContain("planted");
  });

  test("as a file that is still written to end the run", async () => {
    const { victim } = await passing('open my $h, ">", "/kept-open" or die "open: $!";', "");
    expect(victim.code).toBe(125);
    expect(victim.stderr).toMatch(/still writes to a file of it.*\[invalid_layer\]/);
  });
});

describe("the kernel's own doors", () => {
  test("to namespaces, mounts, keys and unusual sockets are closed, and open with --seccomp podman", async () => {
    const perl = makePerlImage();
    const [EPERM, ENOSYS] = [1, 38];
    const attempts = `${perlCalls}
      for my $flag (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x80) {
        printf "unshare %d\\n", try_call("unshare", $flag);
      }
      for my $flag (0x20000, 0x10000000, 0x40000000) { printf "clone %d\\n", try_call("clone", $flag | 17, 0, 0, 0, 0) }
      printf "clone3 %d\\n", try_call("clone3", 0, 0);
      printf "mount %d\\n", try_call("mount", "none", "/tmp", "tmpfs", 0, "");
      printf "%s %d\\n", $_, try_call($_, 0, 0, 0, 0, 0) for qw(open_tree move_mount fsopen mount_setattr setns keyctl);
      for my $family (40, 17, 38) { printf "socket %d\\n", socket(my $s, $family, 1, 0) ? 0 : $! + 0 }
      printf "%d\\n", (socket(my $a, 1, 1, 0) && socket(my $b, 2, 1, 0) && socket(my $c, 10, 2, 0) && socket(my $d, 16, 3, 0));
      my $child = fork; exit if !$child; printf "fork %d\\n", waitpid($child, 0) == $child;`;
    const { stdout } = await claimcheck(["run", perl, "perl", "-e", attempts]);
    expect(stdout.trim().split("\n")).toEqual([
      ...Array(8).fill(`unshare ${ENOSYS}`),
      ...Array(3).fill(`clone ${ENOSYS}`),
      `clone3 ${ENOSYS}`,
      ...["mount", "open_tree", "move_mount", "fsopen", "mount_setattr", "setns", "keyctl"].map(
        (name) => `${name} ${EPERM}`,
      ),
      ...Array(3).fill(`socket ${ENOSYS}`),
      "1",
      "fork 1",
    ]);
    const nested = [
      "run",
      "--seccomp",
      "podman",
      perl,
      "unshare",
      "-Urm",
      "sh",
      "-c",
      "mount -t tmpfs x /tmp && id -u",
    ];
    expect((await claimcheck(nested)).stdout).toBe("0\n");
  });

  test("are those of a cgroup that a container cannot write to, mounted anew or not", async () => {
    const script = `
      for f in $(find /sys/fs/cgroup -name freezer.state -o -name cgroup.freeze -o -name pids.max -o -name memory.limit_in_bytes); do
        echo FROZEN > $f && echo "wrote $f"
      done 2>/dev/null
      mkdir /tmp/c && for kind in freezer pids memory; do
        mount -t cgroup -o $kind none /tmp/c 2>/dev/null && for f in $(find /tmp/c -name freezer.state -o -name pids.max); do
          echo FROZEN > $f && echo "wrote $f"
        done 2>/dev/null; umount /tmp/c 2>/dev/null
      done; echo end`;
    const { stdout } = await claimcheck(["run", "--seccomp", "podman", image, ...sh(script)]);
    expect(stdout).toBe("end\n");
  });

  test("take nothing of what root of the host may have: inotify instances", async () => {
    const perl = makePerlImage();
    const take = `${perlCalls} my $n = 0; $n++ until $n >= 200 or try_call("inotify_init1", 0); print "took $n\\n"; sleep 1000`;
    const run = start(["run", perl, "perl", "-e", take]);
    await printed(run, "took");
    const onHost = execFileSync("perl", [
      "-e",
      `${perlCalls} my $n = 0; $n++ until $n >= 64 or try_call("inotify_init1", 0); print $n`,
    ]);
    run.child.kill("SIGKILL");
    await run.finished;
    expect({ taken: Number(/took (\d+)/.exec(run.output.stdout)?.[1]) > 60, onHost: Number(onHost) }).toEqual(
      {
        taken: true,
        onHost: 64,
      },
    );
  });
});

describe("users", () => {
  test("of a container are nobody on the host, who reads none of its processes", async () => {
    const flags = ["-u", "1001", "--secret-env", "A=env://API_TOKEN"];
    const run = start(["run", ...flags, image, ...sh("echo up; exec sleep 1000")], { env: environment });
    await printed(run, "up");
    const pids = readdirSync("/proc").filter((name) => {
      if (!/^\d+$/.test(name)) return false;
      try {
        return readFileSync(`/proc/${name}/cmdline`, "utf8") === "sleep\x001000\0" && uidOf(name) > 65536;
      } catch {
        return false;
      }
    });
    expect(pids).toHaveLength(1);
    const as = (uid: number, file: string) =>
      spawnSync("setpriv", ["--reuid", `${uid}`, "--clear-groups", "cat", `/proc/${pids[0]}/${file}`]).status;
    expect({ environ: as(1001, "environ"), root: as(1001, "mem") }).toEqual({ environ: 1, root: 1 });
    run.child.kill("SIGKILL");
    await run.finished;
  });

  const uidOf = (pid: string) =>
    Number(/^Uid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);

  test("of a volume are one: the container's, as whose the folder is; any other makes nothing there", async () => {
    const volume = makeVolume();
    execFileSync("chmod", ["0777", volume]);
    const script =
      "touch /v/of-root && stat -c '%u:%g' /v; su nobody -s /bin/sh -c 'touch /v/of-nobody' || echo refused";
    const { stdout } = await claimcheck(["run", "-v", `${volume}:/v`, image, ...sh(script)]);
    expect(stdout).toBe("0:0\nrefused\n");
    expect(execFileSync("stat", ["-c", "%n %u:%g", "of-root"], { cwd: volume }).toString()).toBe(
      "of-root 1234:1234\n",
    );
    expect(readdirSync(volume)).toEqual(["of-root"]);
  });

  test("cannot be had where a file system maps none: a volume, or one mounted in it, is refused with the flag that does without", async () => {
    const folder = mkdtempSync(join(tmpdir(), "claimcheck-overlay-"));
    for (const name of ["lower", "upper", "work", "around", "around/merged"]) mkdirSync(join(folder, name));
    const options = `lowerdir=${folder}/lower,upperdir=${folder}/upper,workdir=${folder}/work`;
    execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", `${folder}/around/merged`]);
    onTestFinished(() => {
      execFileSync("umount", [`${folder}/around/merged`]);
      rmSync(folder, { recursive: true });
    });
    for (const source of ["around/merged", "around"]) {
      const args = ["-v", `${folder}/${source}:/v`, image, "true"];
      const { code, stderr } = await claimcheck(["run", ...args]);
      expect(code).toBe(125);
      expect(stderr).toMatch(/cannot map users .*--userns host.*\[unsupported_host\]/);
      expect(await claimcheck(["run", "--userns", "host", ...args])).toMatchObject({ code: 0, stderr: "" });
    }
  });
});

describe("a container that is frozen", () => {
  const freezers = () => {
    const root = "/sys/fs/cgroup/freezer/claimcheck";
    return existsSync(root)
      ? readdirSync(root, { withFileTypes: true })
          .filter((entry) => entry.isDirectory())
          .map(({ name }) => `${root}/${name}/freezer.state`)
      : [];
  };

  test.each(["its time limit", "kill -9 of the command"])("ends all the same with %s", async (how) => {
    const before = new Set(freezers());
    const limit = how === "its time limit" ? ["--timeout", "2s"] : [];
    const run = start(["run", ...limit, image, ...sh("echo up; exec sleep 1000")]);
    await printed(run, "up");
    const own = freezers().filter((path) => !before.has(path));
    expect(own).toHaveLength(1);
    writeFileSync(own[0] as string, "FROZEN");
    if (how !== "its time limit") run.child.kill("SIGKILL");
    const { code } = await run.finished;
    expect(code).toBe(how === "its time limit" ? 124 : null);
    await until(() => !existsSync(own[0] as string));
  });
});
