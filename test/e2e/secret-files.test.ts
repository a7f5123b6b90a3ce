/** Secrets as files and as standard input: byte for byte, and in the container alone. */
import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";

const scratch = mkdtempSync(join(tmpdir(), "claimcheck-files-"));

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** 500 KB of every byte there is, and how sha256sum would print it. */
function binary() {
  const bytes = randomBytes(500_000);
  const path = join(scratch, "binary");
  writeFileSync(path, bytes);
  return { uri: `file://${path}`, sum: createHash("sha256").update(bytes).digest("hex") };
}

const run = (flags: string[], script: string) =>
  claimcheck(["run", ...flags, image, "--", "sh", "-c", script], { env: { API_TOKEN: "guessme" } });

test("a file has the secret byte for byte, and is masked where it is printed", async () => {
  const { uri, sum } = binary();
  const flags = [
    "--secret-file",
    `/run/secrets/deep/binary=${uri}`,
    "--secret-file",
    "/token=env://API_TOKEN",
  ];
  const { stdout } = await run(flags, "sha256sum < /run/secrets/deep/binary; cat /token");
  expect(stdout).toBe(`${sum}  -\n***`);
});

test("a file is root's alone, and nobody's to change, unless it is said otherwise", async () => {
  const flags = ["--secret-file", "/a=env://API_TOKEN", "--secret-file", "/b=env://API_TOKEN"];
  const owned = [...flags, "--secret-mode", "440", "--secret-owner", "nobody:nogroup"];
  const script = "stat -c '%a %u:%g' /a /b; (echo x > /a) 2>/dev/null || echo kept";
  expect((await run(owned, script)).stdout).toBe("400 0:0\n440 65534:65534\nkept\n");
  const other = await run([...owned, "-u", "nobody"], "cat /b; cat /a");
  expect(other).toMatchObject({
    code: 1,
    stdout: "***",
    stderr: "cat: can't open '/a': Permission denied\n",
  });
});

test("a file takes the place of the image's during the run, and not afterwards", async () => {
  expect((await run(["--secret-file", "/etc/group=env://API_TOKEN"], "cat /etc/group")).stdout).toBe("***");
  expect((await run([], "head -n 1 /etc/group; ls /run /token")).stdout).toBe("root:x:0:\n");
});

test("a file may be in a container that can only read", async () => {
  const { stdout } = await run(["--read-only", "--secret-file", "/new/a=env://API_TOKEN"], "cat /new/a");
  expect(stdout).toBe("***");
});

test("standard input has the secret byte for byte, opened by name or not", async () => {
  const { uri, sum } = binary();
  expect((await run(["--secret-stdin", uri], "sha256sum")).stdout).toBe(`${sum}  -\n`);
  expect((await run(["--secret-stdin", uri], "sha256sum /dev/stdin")).stdout).toBe(`${sum}  /dev/stdin\n`);
  // More than a pipe holds, and nobody reads it.
  expect(await run(["--secret-stdin", uri], "exit 3")).toEqual({ code: 3, stdout: "", stderr: "" });
  expect((await run([], "wc -c")).stdout).toBe("0\n");
});

test("-i connects standard input, to its end or until the command has enough", async () => {
  const running = start(["run", "-i", image, "sh", "-c", "read a; echo got $a; cat; exit 2"], {
    input: true,
  });
  running.child.stdin?.write("first\n");
  await printed(running, "got first");
  running.child.stdin?.end("second\n");
  expect(await running.finished).toEqual({ code: 2, stdout: "got first\nsecond\n", stderr: "" });

  const impatient = start(["run", "-i", image, "true"], { input: true });
  expect((await impatient.finished).code).toBe(0);
});

test("an image full of links reaches nothing outside of the container", async () => {
  const outside = mkdtempSync(join(tmpdir(), "claimcheck-outside-"));
  writeFileSync(join(outside, "file"), "of the host\n");
  const hostile = "localhost/claimcheck-hostile:latest";
  const buildah = (...args: string[]) => execFileSync("buildah", args).toString().trim();
  const working = buildah("from", "--pull-never", image);
  const root = buildah("mount", working);
  const plant = `
    ln -s ${outside} absolute; ln -s ../../../../../..${outside} relative; ln -s ${outside}/file link
    ln -s ${outside}/made dangling; ln -s /proc/1/root/${outside} process; mkfifo fifo
    rm etc/group; ln -s ${outside}/file etc/group`;
  execFileSync("sh", ["-ec", plant], { cwd: root });
  buildah("commit", "--quiet", "--rm", working, hostile);
  try {
    for (const path of ["/absolute/new", "/relative/new", "/absolute/file", "/link", "/dangling", "/fifo"]) {
      const flags = ["--secret-file", `${path}=env://API_TOKEN`];
      const finished = await claimcheck(["run", ...flags, hostile, "cat", path], {
        env: { API_TOKEN: "guessme" },
      });
      expect({ path, ...finished }).toEqual({ path, code: 0, stdout: "***", stderr: "" });
    }
    const throughProc = ["--secret-file", "/process/new=env://API_TOKEN"];
    await claimcheck(["run", ...throughProc, hostile, "true"], { env: { API_TOKEN: "guessme" } });
    const owner = ["--secret-file", "/a=env://API_TOKEN", "--secret-owner", "0:of the host"];
    const refused = await claimcheck(["run", ...owner, hostile, "true"], { env: { API_TOKEN: "guessme" } });
    expect(refused.stderr).toContain("[invalid_user]");
  } finally {
    buildah("rmi", hostile);
  }
  expect(readdirSync(outside)).toEqual(["file"]);
  expect(readFileSync(join(outside, "file"), "utf8")).toBe("of the host\n");
});
