/** `--runtime`: another program with runc's command line, which sees nothing of a secret but its bundle. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, openSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { filesContaining, processesContaining, remains, until } from "../parts/host.ts";
import { claimcheck, image, start } from "../support/command.ts";

const secret = "guessme-and-more";

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** A runtime that does something of its own, and leaves the work to runc. */
function makeRuntime(folder: string, script: string): string {
  const path = join(folder, "my-runc");
  const runc = execFileSync("which", ["runc"]).toString().trim();
  writeFileSync(path, `#!/bin/sh\n${script}\nexec ${runc} "$@"\n`);
  chmodSync(path, 0o755);
  return path;
}

/** A pipe with a name: all that a runtime can write to, since what it sees of the host is read-only. */
function makePipe(folder: string, name: string): string {
  const path = join(folder, name);
  execFileSync("mkfifo", [path]);
  return path;
}

/** One that tells what it is told. */
function recordingRuntime() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-runtime-"));
  const [told, record] = [makePipe(folder, "told"), join(folder, "record")];
  const path = makeRuntime(folder, `{ echo "called $*"; env; } > ${told}`);
  const reader = spawn("cat", [told], { stdio: ["ignore", openSync(record, "w"), "ignore"] });
  onTestFinished(() => void reader.kill());
  return { folder, path, record: () => readFileSync(record, "utf8") };
}

test.each(["name", "path"])("a runtime by its %s runs the container, and is told no secret", async (by) => {
  const { folder, path, record } = recordingRuntime();
  const flags = ["--secret-env", "A=env://SECRET", "--secret-file", "/run/secret=env://SECRET"];
  const runtime = ["--runtime", by === "name" ? "my-runc" : path];
  const env = {
    SECRET: secret,
    PATH: by === "name" ? `${folder}:${process.env.PATH}` : `${process.env.PATH}`,
  };
  const args = ["run", ...runtime, ...flags, image, "--", "sh", "-c", "cat /run/secret; echo $A"];
  expect(await claimcheck(args, { env })).toMatchObject({ code: 0, stdout: "***\n" });
  expect(record()).toMatch(/^called .* run --detach .*$/m);
  expect(record()).not.toContain(secret);
  expect(record()).not.toContain("SECRET");
});

test.each([
  ["one that is not there", "no-such-runtime", "runtime_failed", /no-such-runtime cannot be started/],
  ["one that is not there, by its path", "/no/such/runtime", "runtime_failed", /cannot be started/],
  ["a relative path", "./my-runc", "usage", /name or an absolute path/],
  ["no name", "", "usage", /name or an absolute path/],
  ["one that fails", "false", "runtime_failed", /create: no reason was given/],
])("%s is a failure with a code", async (_, runtime, code, says) => {
  const args = ["run", "--runtime", runtime, "--secret-env", "A=env://SECRET", image, "true"];
  const { stderr, ...finished } = await claimcheck(args, { env: { SECRET: secret } });
  expect(finished).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(new RegExp(`^claimcheck: .*\\[${code}\\]\\n$`));
  expect(stderr).toMatch(says);
});

test("a command does not start before what is in the bundle is unlinked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-runtime-"));
  const [waits, goes] = [makePipe(folder, "waits"), makePipe(folder, "goes")];
  const path = makeRuntime(folder, `echo > ${waits}; read -r go < ${goes}`);
  const args = ["run", "--runtime", path, "--secret-env", "A=env://SECRET", image, "sleep", "1000"];
  const running = start(args, { env: { SECRET: secret } });
  await once(spawn("cat", [waits]), "close");
  const supervisor = Math.max(...processesContaining("cmdline", "supervisor.pl"));
  // The unlink is its own.
  process.kill(supervisor, "SIGSTOP");
  onTestFinished(() => {
    running.child.kill("SIGKILL");
    if (processesContaining("cmdline", "supervisor.pl").includes(supervisor))
      process.kill(supervisor, "SIGCONT");
  });
  writeFileSync(goes, "go\n");
  const isCommand = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("sleep");
  const command = () => processesContaining("cmdline", "sleep\u00001000").filter(isCommand);
  await until(() => command().length > 0 || waitsInHook(supervisor));
  expect(command()).toEqual([]);
  const seen = `/proc/${supervisor}/root/bundle`;
  expect(await filesContaining([secret], [seen])).not.toEqual([]);
  process.kill(supervisor, "SIGCONT");
  await until(() => command().length > 0);
  expect(await filesContaining([secret], [seen])).toEqual([]);
  running.child.kill("SIGKILL");
  await until(() => remains().length === 0);
});

/** Whether the runtime's hook reads what a supervisor has to say. */
function waitsInHook(supervisor: number): boolean {
  const [hook] = processesContaining("cmdline", "read -r go");
  const start = readlinkSync(`/proc/${supervisor}/root/bundle/start`);
  const pipe = readlinkSync(start.replace("/proc/1/", `/proc/${supervisor}/`));
  return hook !== undefined && readlinkSync(`/proc/${hook}/fd/0`) === pipe;
}

test("a runtime that would not wait for the unlink is refused", async () => {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-runtime-"));
  const config = `sed -i 's/"hooks":{[^{]*{[^}]*}]},//'`;
  const path = makeRuntime(
    folder,
    `while [ "$1" != --bundle ]; do set -- "$@" "$1"; shift; done; ${config} "$2/config.json"
    while [ "$1" != --root ]; do set -- "$@" "$1"; shift; done`,
  );
  const args = ["run", "--runtime", path, "--secret-env", "A=env://SECRET", image, "sleep", "1000"];
  expect(await claimcheck(args, { env: { SECRET: secret } })).toEqual({
    code: 125,
    stdout: "",
    stderr:
      "claimcheck: The container runtime failed: the OCI runtime ran no hooks; Claimcheck needs them [runtime_failed]\n",
  });
});

test("a secret in the words of a runtime that fails is masked", async () => {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-runtime-"));
  const path = join(folder, "talkative");
  // What it has to say, it takes from the bundle's configuration.
  const script = 'while [ "$1" != --bundle ]; do test "$1" = --log && log=$2; shift; done';
  writeFileSync(
    path,
    `#!/bin/sh\n${script}\ngrep -o '"A=[^"]*"' "$2/config.json" | tee "$log" >&2\nexit 1\n`,
  );
  chmodSync(path, 0o755);
  const args = ["run", "--runtime", path, "--secret-env", "A=env://SECRET", image, "true"];
  const finished = await claimcheck(args, { env: { SECRET: secret } });
  expect(finished).toEqual({
    code: 125,
    stdout: "",
    stderr: 'claimcheck: The container runtime failed: "A=***" [runtime_failed]\n',
  });
});
