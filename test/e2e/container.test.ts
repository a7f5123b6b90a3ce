/** What users of docker and podman say of a container, and how secrets get into it. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { processesContaining, remains } from "../parts/host.ts";
import { claimcheck, image, start } from "../support/command.ts";
import { makeImage } from "../support/made-image.ts";

const env = { API_TOKEN: "guessme-and-more" };
const run = (flags: string[], script: string, settings = { env }) =>
  claimcheck(["run", ...flags, image, "--", "sh", "-c", script], settings);
const folder = () => mkdtempSync(join(tmpdir(), "claimcheck-container-"));

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("a secret file is the secret byte for byte, root's and nobody else's", async () => {
  const bytes = randomBytes(512 * 1024);
  const path = join(folder(), "key");
  writeFileSync(path, bytes);
  const script = "sha256sum < /run/secrets/key; stat -c '%a %u:%g' /run/secrets/key";
  const { stdout } = await run(["--secret-file", `/run/secrets/key=file://${path}`], script);
  expect(stdout).toBe(`${createHash("sha256").update(bytes).digest("hex")}  -\n400 0:0\n`);
});

test("mode and owner of a secret file are those of the flags that follow it", async () => {
  const flags = [
    "--secret-file",
    "/a=env://API_TOKEN",
    "--secret-mode",
    "0440",
    "--secret-owner",
    "nobody:7",
  ];
  const { stdout } = await run(
    [...flags, "--secret-file", "/b=env://API_TOKEN"],
    "stat -c '%a %u:%g' /a /b; cat /a; echo; cat /b",
  );
  expect(stdout).toBe("440 65534:7\n400 0:0\n***\n***");
});

test("a secret file stands over a file of the image, and can only be read", async () => {
  const { stdout, stderr } = await run(
    ["--secret-file", "/etc/group=env://API_TOKEN"],
    "cat /etc/group; echo; echo x > /etc/group; rm /etc/group",
  );
  expect(stdout).toBe("***\n");
  expect(stderr).toContain("Read-only file system");
  expect(stderr).toContain("Device or resource busy");
  expect((await run([], "head -n 1 /etc/group")).stdout).toBe("root:x:0:\n");
});

test("a secret is standard input, as a file that ends", async () => {
  const { stdout } = await run(["--secret-stdin", "env://API_TOKEN"], "cat; echo; cat /dev/stdin; echo end");
  expect(stdout).toBe("***\nend\n");
});

test("a command that does not read the secret on its standard input ends all the same", async () => {
  const path = join(folder(), "large");
  writeFileSync(path, randomBytes(1024 * 1024));
  const finished = await run(["--secret-stdin", `file://${path}`], "echo not reading; exit 3");
  expect(finished).toMatchObject({ code: 3, stdout: "not reading\n" });
});

test("-i forwards standard input; without it there is none", async () => {
  for (const [flags, stdout] of [
    [["-i"], "3\n"],
    [[], "0\n"],
  ] as const) {
    const running = start(["run", ...flags, image, "--", "sh", "-c", "wc -l"], { input: true });
    running.child.stdin?.end("1\n2\n3\n");
    expect(await running.finished).toMatchObject({ code: 0, stdout });
  }
});

test("-i: a command that ends first does not wait for more input", async () => {
  const running = start(["run", "-i", image, "--", "head", "-n", "1"], { input: true });
  running.child.stdin?.on("error", () => {});
  running.child.stdin?.write("first\nsecond\n");
  expect(await running.finished).toMatchObject({ code: 0, stdout: "first\n" });
});

test("of two variables with one name the last one counts, and one can be taken away", async () => {
  const file = join(folder(), "env");
  writeFileSync(file, "# comment\nC=from file\nAPI_TOKEN\n");
  const { stdout } = await run(
    [
      "-e",
      "A=plain",
      "-e",
      "GONE=for good",
      "--secret-env",
      "A=env://API_TOKEN",
      "--secret-env",
      "B=env://NOT_THERE",
      "-e",
      "B=plain",
    ].concat(["--env-file", file, "--unsetenv", "GONE", "-e", "NOT_THERE"]),
    'echo "$A $B $C $API_TOKEN ${GONE-unset} ${NOT_THERE-unset}"',
  );
  expect(stdout).toBe("*** plain from file *** unset unset\n");
});

test("user, folder, entrypoint and names are as asked", async () => {
  const { stdout } = await run(
    ["-u", "1000:1001", "-w", "/tmp"],
    "pwd; id; touch here && ls; cat /etc/hostname",
  );
  expect(stdout).toMatch(/^\/tmp\nuid=1000 gid=1001\nhere\n[0-9a-f]{12}\n$/);
  const echoed = await claimcheck(["run", "--entrypoint", "/bin/echo", image, "--", "hello"]);
  expect(echoed.stdout).toBe("hello\n");
});

test("a user that is not root reaches their secret file, their working folder and their volume", async () => {
  const host = folder();
  execFileSync("chown", ["2000:2000", host]);
  const flags = ["-u", "nobody", "-w", "/app/src", "-v", `${host}:/v`];
  const file = ["--secret-file", "/run/secrets/token=env://API_TOKEN", "--secret-owner", "nobody"];
  const { stdout, stderr } = await run(
    [...flags, ...file],
    "wc -c < /run/secrets/token; pwd; cd /app && pwd; cd /run/secrets && echo x > /v/made; umask; stat -c '%a %U' /app /run/secrets",
  );
  expect(stderr).toBe("");
  expect(stdout).toBe("16\n/app/src\n/app\n0022\n755 root\n755 root\n");
  expect(statSync(join(host, "made")).uid).toBe(2000);
});

test("the owner of a secret file is found, whatever the supervisor mounts meanwhile", async () => {
  const volumes = Array.from({ length: 20 }, (_, nth) => ["-v", `${folder()}:/v${nth}`]).flat();
  const file = ["--secret-file", "/run/secrets/token=env://API_TOKEN", "--secret-owner", "nobody"];
  for (let count = 0; count < 10; count++) {
    expect(await run([...volumes, ...file], "stat -c %U /run/secrets/token")).toMatchObject({
      stdout: "nobody\n",
    });
  }
});

test("an image of one program has a /etc that everybody can look into", async () => {
  const scratch = makeImage("rm -r etc root tmp dev proc sys");
  const { stdout } = await claimcheck([
    "run",
    "-u",
    "1000:1000",
    scratch,
    "sh",
    "-c",
    "stat -c %a /etc /dev /proc; cat /etc/hosts | wc -l",
  ]);
  expect(stdout).toBe("755\n755\n555\n3\n");
});

test("a device in the image or in a volume is none", async () => {
  const withDevice = makeImage("mknod device c 1 3 && chmod 666 device");
  const host = folder();
  execFileSync("mknod", [join(host, "device"), "c", "1", "3"]);
  for (const flags of [[], ["--userns", "host"]]) {
    const args = [
      "run",
      ...flags,
      "-v",
      `${host}:/v`,
      withDevice,
      "sh",
      "-c",
      "echo x > /device; echo x > /v/device",
    ];
    const { stderr } = await claimcheck(args);
    expect(stderr.match(/Permission denied/g)).toHaveLength(2);
  }
});

test("the command is process 2 of a container, below an init that it cannot look into; with --no-init it is process 1", async () => {
  const script =
    "echo $$; cat /proc/1/cmdline; echo; cat /proc/1/environ /proc/1/maps 2>&1 | grep -c denied; kill -9 1; (sleep 0 &); echo alive";
  expect((await run([], script)).stdout).toMatch(/^2\ninit\0*\n2\nalive\n$/);
  expect((await run(["--no-init"], "echo $$")).stdout).toBe("1\n");
});

test("a command whose output nobody reads any more ends as in a pipeline", async () => {
  const running = start(["run", image, "sh", "-c", "while :; do echo y; done"]);
  running.child.stdout?.once("data", () => running.child.stdout?.destroy());
  expect((await running.finished).code).toBe(141);
});

test("limits are the kernel's", async () => {
  const files = ["memory/memory.limit_in_bytes", "pids/pids.max", "cpu/cpu.cfs_quota_us"];
  const { stdout } = await run(
    ["--memory", "32m", "--pids-limit", "20", "--cpus", "0.5"],
    files.map((file) => `cat /sys/fs/cgroup/${file}`).join("; "),
  );
  expect(stdout).toBe("33554432\n20\n50000\n");
});

test("a fork bomb stops at its limit of processes, and nothing of it stays", async () => {
  // In a shell of its own: one that cannot fork ends.
  const script =
    "bomb() { bomb | bomb & }; (bomb) & i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo still here";
  const { stdout } = await run(["--pids-limit", "30"], script);
  expect(stdout).toContain("still here");
});

test("--timeout ends the command and all it started, with 124", async () => {
  const finished = await run(["--timeout", "1s"], "trap '' TERM; sleep 1003 & sleep 1003");
  expect(finished.code).toBe(124);
  expect(finished.stderr).toMatch(/\[timed_out\]\n$/);
  expect(processesContaining("cmdline", "sleep\u00001003")).toEqual([]);
});

test("--read-only lets nothing be written but to what is in memory", async () => {
  const { stdout, stderr } = await run(["--read-only"], "touch /tmp/x; touch /dev/shm/x && echo in memory");
  expect(stderr).toContain("Read-only file system");
  expect(stdout).toBe("in memory\n");
});

test("a bind mount is shared, and with :ro can only be read", async () => {
  const host = folder();
  mkdirSync(join(host, "sub"));
  await run(["-v", `${host}:/data`], "echo x > /data/written");
  expect(readdirSync(host)).toEqual(["sub", "written"]);
  const { stderr } = await run(
    ["-v", `${host}:/data:ro`],
    "touch /data/more /data/sub/more; rm /data/written",
  );
  expect(stderr.match(/Read-only file system/g)).toHaveLength(3);
  expect(readdirSync(host)).toEqual(["sub", "written"]);
});

test("--network: none has only itself, host has the host's", async () => {
  const script = "ls /sys/class/net | wc -l; readlink /proc/self/ns/net";
  const none = await run([], script);
  const host = await run(["--network", "host"], script);
  expect(none.stdout.split("\n")[0]).toBe("1");
  expect(host.stdout.split("\n")[1]).not.toBe(none.stdout.split("\n")[1]);
});

test.each([
  [["--secret-file", "run/key=env://A"], "invalid_plan", /absolute path/],
  [["--secret-file", "/run/../etc/key=env://A"], "invalid_plan", /absolute path/],
  [["--secret-file", "/proc/self/x=env://A"], "invalid_plan", /folder of the kernel/],
  [["-v", "/tmp:/data", "--secret-file", "/data/key=env://A"], "invalid_plan", /folder of this host/],
  [["--secret-file", "/a=env://A", "--secret-file", "/a=env://B"], "invalid_plan", /twice/],
  [["-i", "--secret-stdin", "env://A"], "invalid_plan", /standard input/],
  [["--secret-mode", "0400"], "usage", /follows the --secret-file/],
  [["--secret-file", "/a=env://A", "--secret-mode", "rw"], "usage", /octal/],
  [["--memory", "1m"], "usage", /at least 6m/],
  [["--cpus", "none"], "usage", /1\.5/],
  [["--timeout", "soon"], "usage", /10m/],
  [["-v", "data:/data"], "usage", /\.\/data/],
  [["-v", "/nowhere/at/all:/data"], "invalid_plan", /nowhere\/at\/all: No such file or directory/],
  [["-u", "nobody-knows"], "invalid_user", /nobody-knows/],
  [["-u", "65536"], "invalid_user", /65536: a container's users and groups have the numbers 0 to 65535/],
  [["-u", "1:70000"], "invalid_user", /70000/],
  [["--network", "everything"], "usage", /network/],
])("%s is refused", async (flags, code, says) => {
  const finished = await run(flags, "echo ran");
  expect(finished).toMatchObject({ code: 125, stdout: "" });
  expect(finished.stderr).toMatch(new RegExp(`^claimcheck: .*\\[${code}\\]\\n$`));
  expect(finished.stderr).toMatch(says);
});
