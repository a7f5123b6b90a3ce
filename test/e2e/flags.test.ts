/** What users of docker and podman expect of the flags that they know. */
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";

const run = (flags: string[], script: string, env: Record<string, string> = {}) =>
  claimcheck(["run", ...flags, image, "--", "sh", "-c", script], { env });

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("-e gives a variable its value, ours, or none", async () => {
  const flags = ["-e", "A=b=c", "--env", "OURS", "-e", "NOT_THERE", "-e", "HOME"];
  const { stdout } = await run(flags, "env", { OURS: "of the host", HOME: "/home/host" });
  const lines = stdout.split("\n");
  expect(lines).toEqual(expect.arrayContaining(["A=b=c", "OURS=of the host", "HOME=/home/host"]));
  expect(stdout).not.toContain("NOT_THERE");
});

test("-u is by name or number; whoever it is may use the folders and open the streams", async () => {
  expect((await run(["-u", "nobody"], "id -u; id -g; ls / | grep bin")).stdout).toBe("65534\n65534\nbin\n");
  const script = "id -u; id -g; echo out > /dev/stdout; echo err > /dev/stderr";
  const finished = await run(["--user", "1000:1001"], script);
  expect(finished).toEqual({ code: 0, stdout: "1000\n1001\nout\n", stderr: "err\n" });
});

test("-w is where the command starts", async () => {
  expect((await run(["-w", "/etc"], "pwd")).stdout).toBe("/etc\n");
});

test("--entrypoint comes before the command", async () => {
  const finished = await claimcheck(["run", "--entrypoint", "echo", image, "a", "b"]);
  expect(finished).toEqual({ code: 0, stdout: "a b\n", stderr: "" });
});

test("--read-only leaves nothing to write to", async () => {
  const finished = await run(["--read-only"], "touch /here");
  expect(finished).toMatchObject({ code: 1, stderr: "touch: /here: Read-only file system\n" });
});

test("--memory ends what takes more", async () => {
  const { code } = await claimcheck([
    "run",
    "--memory",
    "16m",
    image,
    "dd",
    "if=/dev/zero",
    "of=/dev/null",
    "bs=64M",
  ]);
  expect(code).toBe(137);
});

test("--cpus and --pids-limit are the container's cgroup's", async () => {
  const script = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/pids/pids.max";
  expect((await run(["--cpus", "0.5", "--pids-limit", "20"], script)).stdout).toBe("50000\n20\n");
});

test("--timeout kills, and is told from the command's own end", async () => {
  const { code, stderr } = await run(["--timeout", "0.2s"], "trap '' TERM; while :; do sleep 1; done");
  expect(code).toBe(124);
  expect(stderr).toBe("claimcheck: The command exceeded its time limit: 0.2 s [timed_out]\n");
  expect((await run(["--timeout", "1h"], "exit 3")).code).toBe(3);
});

test("-v shares a folder or a file of the host, for reading alone where it says so", async () => {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-volume-"));
  mkdirSync(join(folder, "inner"));
  writeFileSync(join(folder, "inner", "file"), "of the host\n");
  const shared = await run(
    ["-v", `${folder}:/mnt/shared`],
    "cat /mnt/shared/inner/file; echo new > /mnt/shared/new",
  );
  expect(shared).toEqual({ code: 0, stdout: "of the host\n", stderr: "" });
  expect(readFileSync(join(folder, "new"), "utf8")).toBe("new\n");
  const read = await run(
    ["-v", `${folder}/inner:/mnt/shared:ro`],
    "cat /mnt/shared/file; echo > /mnt/shared/file",
  );
  expect(read).toMatchObject({ code: 1, stdout: "of the host\n" });
  expect(read.stderr).toContain("Read-only");
});

test("--network is a loopback of its own, or the host's", async () => {
  expect((await run([], "ls /sys/class/net")).stdout).toBe("lo\n");
  const script = "readlink /proc/self/ns/net; cat /etc/hosts";
  const { stdout } = await run(["--network", "host"], script);
  const host = readlinkSync("/proc/self/ns/net");
  expect(stdout).toBe(`${host}\n${readFileSync("/etc/hosts", "utf8")}`);
});
