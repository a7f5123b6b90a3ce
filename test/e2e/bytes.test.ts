/** Values that are not UTF-8: they arrive as they are and are masked, or are refused; they are never changed. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { entry, image, start } from "../support/command.ts";
import { commandFile, pythonSources } from "../support/front-ends.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-bytes-"));
const sdk = new URL("../../sdk/typescript/claimcheck.ts", import.meta.url).href;
/** In octal, because Node.js starts nothing with bytes in its environment or arguments. Its end is a line break. */
const octal = String.raw`p\377ss\300\200w\355\240\200rd\n`;
const bytes = Buffer.from("70ff7373c08077eda08072640a", "hex");
const digest = createHash("sha256").update(bytes).digest("hex");

/** A shell script in which `claimcheck` is the command, and V the value. */
function inShell(script: string, env: Record<string, string> = {}) {
  const text = `V=$(printf '${octal}.'); V=\${V%.}; export V; claimcheck() { "$NODE" -- "$ENTRY" "$@"; }\n${script}`;
  const settings = {
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      XDG_STATE_HOME: folder,
      NODE: process.execPath,
      ENTRY: entry,
      IMAGE: image,
      ...env,
    },
    encoding: "latin1" as const,
    cwd: folder,
  };
  return new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    execFile("sh", ["-c", text], settings, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, stdout, stderr });
    });
  });
}

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** What the container has, and what it shows. */
const look = `sh -c 'sha256sum < /s; cat /s'`;

describe("a variable that is not UTF-8", () => {
  test.each([
    ["is a secret byte for byte", "env://V"],
    ["is handed on to a command byte for byte", `cmd://printf %s "$V"`],
    [
      "is handed on with all others, to programs too",
      `cmd://test "$HOME" = "${process.env.HOME}" && printenv V | head -c ${bytes.length}`,
    ],
  ])("%s, and is masked", async (_, uri) => {
    const script = `claimcheck run --secret-file '/s=${uri}' "$IMAGE" -- ${look}`;
    expect(await inShell(script)).toEqual({ code: 0, stdout: `${digest}  -\n***\n`, stderr: "" });
  });

  test.each([
    [
      "TypeScript",
      `import { container, secret } from "${sdk}";
process.stdout.write(await container().from(process.env.IMAGE).withMountedSecret("/s", secret("env://V"))
  .withExec(["sh", "-c", "sha256sum < /s; cat /s"]).stdout());`,
      `"$NODE" --input-type=module -e "$PROGRAM"`,
    ],
    [
      "Python",
      `import asyncio, os
from claimcheck import container, secret, set_secret
async def main():
    for made in secret("env://V"), set_secret("V", os.environ["V"]):
        print(await container().from_(os.environ["IMAGE"]).with_mounted_secret("/s", made)
            .with_exec(["sh", "-c", "sha256sum < /s; cat /s"]).stdout(), end="")
asyncio.run(main())`,
      `PYTHONPATH="$PYTHON" python3 -c "$PROGRAM"`,
    ],
  ])("is a secret byte for byte in %s, and is masked", async (language, program, script) => {
    const env = { PROGRAM: program, PYTHON: pythonSources, CLAIMCHECK_COMMAND: commandFile() };
    const once = `${digest}  -\n***\n`;
    const stdout = language === "Python" ? `${once}${once}` : once;
    expect(await inShell(script, env)).toEqual({ code: 0, stdout, stderr: "" });
  });

  test("is masked by scrub, raw and in base64", async () => {
    const script = `V=$(printf %s "$V"); { printf 'a%sb' "$V"; printf %s "$V" | base64; } | claimcheck scrub --env V`;
    expect(await inShell(script)).toMatchObject({ code: 0, stdout: "a***b***\n" });
  });

  test.each([
    ["--secret-env A=env://V", /A is not UTF-8 \[secret_not_text\]\n$/],
    ["-e V", /-e V: the value is not UTF-8; .*--secret-file.* \[usage\]\n$/],
    ["--env-file names", /--env-file names: V: the value is not UTF-8; .* \[usage\]\n$/],
    ["--env-file lines", /--env-file lines:2: this line is not UTF-8 \[usage\]\n$/],
    ['-e A="$V"', /argument 3 is not UTF-8.* \[usage\]\n$/],
    ['--secret-file /s=cmd://echo"$V"', /argument 3 is not UTF-8.* \[usage\]\n$/],
  ])("is refused where it cannot be carried: %s", async (flags, says) => {
    writeFileSync(join(folder, "names"), "V\n");
    writeFileSync(join(folder, "lines"), Buffer.from("A=b\nV=\xff\n", "latin1"));
    const { code, stdout, stderr } = await inShell(`claimcheck run ${flags} "$IMAGE" -- env`);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(says);
    expect(stderr).not.toMatch(/\xff|\xef\xbf\xbd/);
  });
});

test("a replacement character that somebody wrote is a character like others", async () => {
  const script = `claimcheck run -e R -e "S=$R" --secret-file /s=env://R "$IMAGE" -- sh -c 'test "$R" = "$S" && cat /s && echo "$1" | wc -c' sh "$R"`;
  expect(await inShell(script, { R: "a\ufffdbc" })).toEqual({ code: 0, stdout: "***7\n", stderr: "" });
});

describe("a file that is not UTF-8 is refused, with the line", () => {
  test.each([
    ["a pipeline", "claimcheck shell file", "container |\n with-env-variable A \xff"],
    ["a plan", "claimcheck run --plan file", `version: 1\nimage: "\xff"\nsteps: [{ args: [env] }]`],
  ])("%s", async (_, script, content) => {
    writeFileSync(join(folder, "file"), Buffer.from(content, "latin1"));
    expect(await inShell(script)).toEqual({
      code: 125,
      stdout: "",
      stderr: "claimcheck: The command line is invalid: file:2: this line is not UTF-8 [usage]\n",
    });
  });
});

describe("claimcheck run --stdio", () => {
  const answerTo = async (line: Buffer) => {
    const { child, finished } = start(["run", "--stdio"], { input: true });
    child.stdin?.write(line);
    return (await finished).stdout;
  };
  const request = (value: string) =>
    `{"plan":{"version":1,"image":"${image}","steps":[{"args":["sh","-c","echo $A"],"env":{"A":"${value}"}}]}}\n`;

  test("refuses a request that is not UTF-8", async () => {
    const said = JSON.parse(await answerTo(Buffer.from(request("\xff"), "latin1")));
    expect(said).toMatchObject({
      type: "error",
      code: "usage",
      detail: expect.stringContaining("not UTF-8"),
    });
  });

  test("takes what other readers take for the end of a line", async () => {
    const said = await answerTo(Buffer.from(request("a\u2028b")));
    expect(said).toContain(Buffer.from("a\u2028b\n").toString("base64"));
  });
});
