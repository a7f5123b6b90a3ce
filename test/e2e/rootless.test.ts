/** Containers of a user who is not root. */
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { filesContaining, mounts, processesContaining, remains, until } from "../parts/host.ts";
import { user as registryUser, startPrivateRegistry } from "../parts/private-registry.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";
import { addUser } from "../support/user.ts";

const user = addUser();
const { node } = user;

const run = (flags: string[], script: string, env: Record<string, string> = {}) =>
  claimcheck(["run", ...flags, image, "--", "sh", "-c", script], { node, env });
const left = () => [...remains(), ...(existsSync(user.runs) ? readdirSync(user.runs) : [])];

afterEach(() => {
  expect(left()).toEqual([]);
});
afterAll(() => user.remove());

test("secrets enter in every way, output is masked, and exit codes are the command's", async () => {
  const secrets = [
    "--secret-env",
    "A=env://S",
    "--secret-file",
    "/run/s=env://S",
    "--secret-stdin",
    "env://S",
  ];
  const script = 'echo "$A"; cat /run/s; echo; cat; echo; id -u; cat /proc/self/uid_map; exit 7';
  const { code, stdout } = await run(secrets, script, { S: "guessme-and-more" });
  expect(stdout).toMatch(/^\*\*\*\n\*\*\*\n\*\*\*\n0\n/);
  // Root in there is this user out here.
  const { uid } = statSync(user.home);
  expect(stdout).toMatch(new RegExp(`^ +0 +${uid} +1$`, "m"));
  expect(code).toBe(7);
});

test("users, files of theirs, and what is shared with the host", async () => {
  const shared = join(user.home, "shared");
  const flags = ["-u", "nobody", "--secret-file", "/s=env://S", "--secret-owner", "nobody"];
  const { stdout } = await run(flags, "id -un; stat -c %U /s; cat /s", { S: "guessme-and-more" });
  expect(stdout).toBe("nobody\nnobody\n***");
  await run(["-v", `${user.home}:/data`], "mkdir /data/shared");
  expect(statSync(shared).uid).toBe(statSync(user.home).uid);
});

test("while the container runs, the value is in no file and on no command line, and after kill -9 nowhere", async () => {
  const value = `claimcheck-${randomBytes(16).toString("hex")}`;
  const forms = [value, Buffer.from(value).toString("base64").slice(0, -4)];
  const script = 'test "$(cat /run/s)" = "$A" && echo ready && exec sleep 1005';
  const flags = ["--secret-env", "A=env://S", "--secret-file", "/run/s=env://S"];
  const running = start(["run", ...flags, image, "--", "sh", "-c", script], { node, env: { S: value } });
  await printed(running, "ready");
  await until(() => processesContaining("cmdline", "sleep\u00001005").length === 1);

  const places = ["/var", "/run", "/tmp", "/dev/shm", user.home];
  expect(await filesContaining(forms, places)).toEqual([]);
  expect(mounts()).toEqual([]);
  // It finds nothing at all where it cannot look.
  // The older of its two processes, unshare(1), sees what the host does.
  const supervisor = Math.min(...processesContaining("cmdline", "supervisor.pl"));
  expect(readdirSync(`/proc/${supervisor}/root${user.runs}`)).toHaveLength(1);
  expect(await filesContaining(forms, [`/proc/${supervisor}/root${user.runs}`])).toEqual([]);
  expect(processesContaining("cmdline", value)).toEqual([]);

  running.child.kill("SIGKILL");
  await running.finished;
  await until(() => left().length === 0);
  expect(await filesContaining(forms, places)).toEqual([]);
});

test("the steps of a plan find each other's files", async () => {
  const plan = join(mkdtempSync(join(tmpdir(), "claimcheck-rootless-")), "plan.json");
  const steps = ["echo built > /result; mkdir /new; rm /etc/group", "cat /result; ls -d /new; ls /etc/group"];
  const document = { version: 1, image, steps: steps.map((script) => ({ args: ["sh", "-c", script] })) };
  writeFileSync(plan, JSON.stringify(document));
  chmodSync(join(plan, ".."), 0o755);
  const { stdout, stderr } = await claimcheck(["run", "--plan", plan], { node });
  expect(stdout).toBe("built\n/new\n");
  expect(stderr).toContain("/etc/group: No such file");
});

test("a signal ends it, a time limit too, and a missing command has its code", async () => {
  expect((await run(["--timeout", "1s"], "sleep 1006")).code).toBe(124);
  expect((await claimcheck(["run", image, "no-such-command"], { node })).code).toBe(127);
  const running = start(
    ["run", image, "--", "sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"],
    {
      node,
    },
  );
  await printed(running, "ready");
  running.child.kill("SIGTERM");
  expect((await running.finished).code).toBe(5);
});

test("-t gives it a terminal, masked too", async () => {
  const { stdout } = await run(["-t", "--secret-env", "A=env://S"], "test -t 1 && echo $A", {
    S: "guessme-and-more",
  });
  expect(stdout).toBe("***\r\n");
});

test("--network: none has only itself, host has the host's", async () => {
  const script = "ls /sys/class/net | wc -l; touch /sys/x /proc/sys/x 2>&1 | wc -l";
  expect((await run([], script)).stdout).toBe("1\n2\n");
  const host = await run(["--network", "host"], script);
  expect(host.stdout).toBe(`${readdirSync("/sys/class/net").length}\n2\n`);
});

test("a private image is pulled with a password that lies nowhere meanwhile", async () => {
  const password = `claimcheck-${randomBytes(16).toString("hex")}`;
  const registry = await startPrivateRegistry(password);
  chmodSync(join(registry.env.CONTAINERS_REGISTRIES_CONF, ".."), 0o755);
  const forms = [password, Buffer.from(`${registryUser}:${password}`).toString("base64")];
  const env = { ...registry.env, PASSWORD: password };
  const login = ["--registry-auth", `${registry.address}=${registryUser},env://PASSWORD`];
  const args = ["run", ...login, registry.image, "--", "sh", "-c", "echo ran"];

  registry.hold();
  const running = start(args, { node, env });
  await registry.asked();
  expect(await filesContaining(forms, ["/var", "/run", "/tmp", "/dev/shm", user.home])).toEqual([]);
  running.child.kill("SIGKILL");
  await running.finished;
  await until(() => processesContaining("cmdline", "buildah\u0000pull").length === 0);

  registry.release();
  expect(await claimcheck(args, { node, env })).toMatchObject({ code: 0, stdout: "ran\n" });
});

test.each([
  ["--memory", "64m"],
  ["--cpus", "1"],
  ["--pids-limit", "100"],
  ["--network", "bridge"],
  ["--on-leak", "fail"],
  ["--storage-opt", "size=64m"],
])("%s %s is refused rather than not kept", async (...flags) => {
  const finished = await run(flags, "echo ran");
  expect(finished).toMatchObject({ code: 125, stdout: "" });
  expect(finished.stderr).toMatch(/^claimcheck: .* needs root \[unsupported_host\]\n$/);
});
