/** Ends that nobody wished for: what is printed is masked, memory is bounded, and nothing stays. */
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { processesContaining, remains, until } from "../parts/host.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";

const secret = "guessme-and-more";
const env = { SECRET: secret };
const args = (script: string, flags: readonly string[] = []) => [
  ...["run", "--secret-env", "A=env://SECRET", ...flags, image, "--", "sh", "-c", script],
];

function file(name: string, text: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "claimcheck-crash-")), name);
  writeFileSync(path, text);
  chmodSync(path, 0o755);
  return path;
}

afterEach(async () => {
  await until(() => remains().length === 0);
  expect(processesContaining("cmdline", "sleep\u00001007")).toEqual([]);
});

test.each([
  ["an exception that nobody catches", `throw Object.assign(new Error("${secret}"), { name: "${secret}" })`],
  ["a rejected promise that nobody awaits", `Promise.reject(new Error("${secret}"))`],
  ["something thrown that is no error", `throw "${secret}"`],
])("%s, in our own process while the container runs, shows nothing of its text", async (_, fails) => {
  // Loaded before the command, it fails in the midst of it.
  const fault = file(
    "fault.cjs",
    `const { write } = process.stdout;
     process.stdout.write = (...args) => { setImmediate(() => { ${fails} }); return write.apply(process.stdout, args); };`,
  );
  const finished = await claimcheck(args("echo $A; exec sleep 1007"), {
    env: { ...env, NODE_OPTIONS: `--require=${fault}` },
  });
  expect(finished).toMatchObject({ code: 125, stdout: "***\n" });
  expect(finished.stderr).toMatch(/^claimcheck: Claimcheck failed unexpectedly: \w+ \[internal\]\n$/);
  expect(finished.stderr).not.toContain(secret);
});

test("unshare(1), which holds a run's namespaces, takes all of it along when it is killed", async () => {
  const running = start(args("echo up; exec sleep 1007"), { env });
  await printed(running, "up");
  const [unshare] = readFileSync(
    `/proc/${running.child.pid}/task/${running.child.pid}/children`,
    "utf8",
  ).split(" ");
  expect(readFileSync(`/proc/${unshare}/comm`, "utf8")).toBe("unshare\n");
  process.kill(Number(unshare), "SIGKILL");
  expect((await running.finished).code).toBe(125);
  // The next run sweeps up after it.
  await claimcheck(["run", image, "true"]);
});

test("what buildah says of a failure is masked, though it be the file with the password", async () => {
  const buildah = file(
    "buildah",
    '#!/bin/sh\ntest "$1" = images && { echo "[]"; exit 0; }\ntest "$1" = pull && for word; do case $word in */auth.json) cat "$word" >&2 ;; esac; done\nexit 1\n',
  );
  const flags = ["--registry-auth", "registry.example=robot,env://SECRET"];
  const { code, stderr } = await claimcheck(["run", ...flags, "registry.example/app", "true"], {
    env: { ...env, PATH: `${join(buildah, "..")}:${process.env.PATH}` },
  });
  expect(code).toBe(125);
  expect(stderr).toMatch(
    /The image is not available: .*"auth":"[^"]*\*\*\*"\}\}\}\) \[image_unavailable\]\n$/,
  );
  expect(stderr).not.toContain(Buffer.from(`robot:${secret}`).toString("base64"));
});

test("128 MiB of output need no more memory than a little of it", async () => {
  const script = "yes $A | head -c 134217728; echo done >&2; read go";
  const running = start(args(script, ["-i"]), { env, input: true });
  // Counted and dropped: it is this test that shall not keep it.
  let length = 0;
  let isMasked = true;
  running.child.stdout?.removeAllListeners("data").on("data", (text: string) => {
    length += text.length;
    isMasked &&= !text.includes("guess");
  });
  await printed(running, "done");
  const status = readFileSync(`/proc/${running.child.pid}/status`, "utf8");
  running.child.stdin?.end("\n");
  expect((await running.finished).code).toBe(0);
  // A value and a line break are 17 bytes, and 4 when it is masked. The last one is cut short, and masked all the same.
  expect(length).toBe(4 * Math.floor(134_217_728 / 17) + 3);
  expect(isMasked).toBe(true);
  expect(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(256 * 1024);
});

test("of a thousand children none outlives the command, nor the executor", async () => {
  const script = "for i in $(seq 1000); do sleep 1007 & done; echo started";
  expect(await claimcheck(args(`${script}; exit 3`), { env })).toEqual({
    code: 3,
    stdout: "started\n",
    stderr: "",
  });
  const running = start(args(`${script}; wait`), { env });
  await printed(running, "started");
  // The last ones may be shells still.
  await until(() => processesContaining("cmdline", "sleep\u00001007").length > 990);
  running.child.kill("SIGKILL");
  await running.finished;
});

test.each([
  ["a value", "printf %s $A", "***"],
  ["half a value", "printf '%s ' $A; printf guessme", "*** ***"],
  ["a line", "echo; printf 'last line'", "\nlast line"],
])("output that ends with %s and no line break is there", async (_, script, stdout) => {
  expect(await claimcheck(args(script), { env })).toEqual({ code: 0, stdout, stderr: "" });
});

test("a container that is killed from outside while it writes has its output masked to the end", async () => {
  const running = start(args("while :; do echo $A; done"), { env });
  await printed(running, "***\n");
  const writers = processesContaining("cmdline", "while :; do echo $A; done");
  for (const pid of writers.filter((pid) => pid !== running.child.pid)) process.kill(pid, "SIGKILL");
  const { code, stdout, stderr } = await running.finished;
  expect({ code, stderr }).toEqual({ code: 137, stderr: "" });
  expect(stdout).toMatch(/^(\*\*\*\n)+(\*\*\*)?$/);
});

test("a command that needs more memory than it may is killed, and what it printed before is there", async () => {
  const script = "echo $A; x=more; while :; do x=$x$x; done";
  const finished = await claimcheck(args(script, ["--memory", "16m"]), { env });
  expect(finished).toMatchObject({ code: 137, stdout: "***\n" });
});

test("a time that is over while the runtime makes the container leaves nothing for the next run to sweep up", async () => {
  const runtime = file("hanging", "#!/bin/sh\nexec sleep 1007\n");
  const finished = await claimcheck(args("true", ["--runtime", runtime, "--timeout", "0.3s"]), { env });
  expect(finished).toMatchObject({ code: 124, stdout: "" });
  expect(remains()).toEqual([]);
});

test("a command that never reads a secret larger than a pipe is ended like any other", async () => {
  const path = file("large", "s".repeat(900_000));
  const flags = ["--secret-stdin", `file://${path}`, "--timeout", "1s"];
  const finished = await claimcheck(["run", ...flags, image, "--", "sleep", "1007"]);
  expect(finished).toMatchObject({ code: 124, stdout: "" });
});
