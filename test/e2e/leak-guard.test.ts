/** The leak guard on what real containers leave. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";

const value = "the-value-of-a-test";
const secret = ["--secret-env", "TOKEN=env://API_TOKEN"];

const run = (flags: readonly string[], script: string) =>
  claimcheck(["run", ...secret, ...flags, image, "--", "sh", "-c", script], { env: { API_TOKEN: value } });

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("a leak ends the run with a failure of its own, which names the file and not the value", async () => {
  const finished = await run(
    ["--on-leak", "fail"],
    'echo one > /root/leak; echo "$TOKEN" >> /root/leak; echo done',
  );
  expect(finished).toEqual({
    code: 125,
    stdout: "done\n",
    stderr:
      "claimcheck: The files that the command left contain a secret: TOKEN in /root/leak, line 2 [secret_leaked]\n",
  });
});

test("with warn or no-cache a leak is told, and the exit code is the command's", async () => {
  for (const action of ["warn", "no-cache"]) {
    const { code, stderr } = await run(["--on-leak", action], `echo $TOKEN | base64 > /a; : > "/srv-$TOKEN"`);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr:
        "claimcheck: The files that the command left contain a secret: TOKEN in /a, line 1; TOKEN in the name of /srv-*** [secret_leaked]\n",
    });
  }
});

test("nothing is searched unless it is asked for, or when the command fails", async () => {
  expect(await run([], "echo $TOKEN > /leak")).toEqual({ code: 0, stdout: "", stderr: "" });
  expect(await run(["--on-leak", "fail"], "echo $TOKEN > /leak; exit 3")).toEqual({
    code: 3,
    stdout: "",
    stderr: "",
  });
});

test("what was there to be mounted on, and what lies in memory, is no leak", async () => {
  const flags = ["--on-leak", "fail", "--secret-file", "/srv/deep/token=env://API_TOKEN"];
  const use = "cat /srv/deep/token > /dev/shm/copy; cat /srv/deep/token; : > /made";
  expect(await run(flags, use)).toEqual({ code: 0, stdout: "***", stderr: "" });
});

test("masked or not, no report shows a value", async () => {
  const { code, stderr } = await run(["--no-masking", "--on-leak", "fail"], `: > "/$TOKEN"`);
  expect(code).toBe(125);
  expect(stderr).toContain("TOKEN in the name of /*** [secret_leaked]");
});

test("links, FIFOs, a terabyte of nothing and odd names are walked past", async () => {
  const script = `
    ln -s /etc/shadow shadow; ln -s / root; ln -s /proc/self/mem memory; mkfifo fifo; truncate -s 1099511627776 sparse
    : > "$(printf 'new\\nline \\033[31m')"; mkdir locked; : > locked/file; chmod 0 locked locked/file
    i=0; while [ $i -lt 300 ]; do : > "file-$i"; i=$((i + 1)); done; rm -r /etc; echo "$TOKEN" > sparse-not`;
  const { code, stderr } = await run(["--on-leak", "fail", "-w", "/tmp"], script);
  expect(code).toBe(125);
  expect(stderr).toContain(": TOKEN in /tmp/sparse-not, line 1 [secret_leaked]");
});

test("an extended attribute", async () => {
  const system = ["/usr", "/usr/lib:/lib", "/usr/lib64:/lib64"].flatMap((path) => {
    const [source, target = source] = path.split(":");
    return ["-v", `${source}:${target}:ro`];
  });
  const lsetxattr = { x64: 189, arm64: 6 }[process.arch as "x64" | "arm64"];
  const call = `syscall(${lsetxattr}, @ARGV, length $ARGV[2], 0) and die $!`;
  const { code, stderr } = await run(
    [...system, "--on-leak", "fail"],
    `/usr/bin/perl -e '${call}' /root user.note $TOKEN`,
  );
  expect({ code, stderr }).toEqual({
    code: 125,
    stderr:
      "claimcheck: The files that the command left contain a secret: TOKEN in the attribute user.note of /root [secret_leaked]\n",
  });
});

test("a plan says it too, and a leak of one step's secret is found in what a later one leaves", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-leak-")), "plan.json");
  const sh = (script: string, more = {}) => ({ args: ["sh", "-c", script], ...more });
  const steps = [
    sh("echo ${TOKEN#the-} > /half; : > /clean", { name: "build", secretEnv: { TOKEN: "env://API_TOKEN" } }),
    sh("echo the-$(cat /half) > /whole"),
    sh("echo never"),
  ];
  writeFileSync(file, JSON.stringify({ version: 1, image, onLeak: "fail", steps }));
  const inPlan = (...flags: string[]) =>
    claimcheck(["run", ...flags, "--plan", file], { env: { API_TOKEN: value } });
  const failed = await inPlan();
  expect(failed).toMatchObject({ code: 125, stdout: "" });
  expect(failed.stderr).toContain("contain a secret: step 2 of 3: TOKEN in /whole, line 1");
  const warned = await inPlan("--on-leak", "warn");
  expect(warned).toMatchObject({ code: 0, stdout: "never\n" });
  expect(warned.stderr).toContain("contain a secret: step 2 of 3: TOKEN in /whole, line 1");
});
