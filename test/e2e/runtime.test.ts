/** `--runtime`: another program with runc's command line, which sees nothing of a secret but its bundle. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { claimcheck, image } from "../command.ts";
import { remains } from "../host.ts";

const secret = "guessme-and-more";

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** A runtime that writes down what it is told, and leaves the work to runc. */
function recordingRuntime() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-runtime-"));
  const [path, record] = [join(folder, "my-runc"), join(folder, "record")];
  const runc = execFileSync("which", ["runc"]).toString().trim();
  writeFileSync(path, `#!/bin/sh\necho "called $*" >> ${record}\nenv >> ${record}\nexec ${runc} "$@"\n`);
  chmodSync(path, 0o755);
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
  expect(record()).toMatch(/^called .* create .*$/m);
  expect(record()).toMatch(/^called .* start .*$/m);
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
    stderr: 'claimcheck: The container runtime failed: create: "A=***" [runtime_failed]\n',
  });
});
