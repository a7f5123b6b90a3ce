/** setup.sh where something is in its way: one sentence that says what to install, and not exit code 0. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const script = fileURLToPath(new URL("../../setup.sh", import.meta.url));

/** A folder with these programs and no others, to be a whole PATH. */
function pathWith(names: readonly string[], scripts: Record<string, string> = {}): string {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-path-"));
  chmodSync(folder, 0o755);
  const places = [dirname(process.execPath), "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
  for (const name of names) {
    const found = places.map((place) => join(place, name)).find((path) => existsSync(path));
    if (found) symlinkSync(found, join(folder, name));
  }
  for (const [name, text] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  return folder;
}

const basics = ["sh", "dirname", "uname", "id", "node", "npm", "env", "touch"];

function setUp(path: string, before: readonly string[] = []) {
  const [command = "", ...args] = [...before, "sh", script, "containers", "echo", "went on"];
  const { status, stdout, stderr } = spawnSync(command, args, { env: { PATH: path }, encoding: "utf8" });
  return { status, stdout, stderr };
}

test("existing things stay as they are, and the command runs", () => {
  expect(setUp(process.env.PATH as string)).toEqual({ status: 0, stdout: "went on\n", stderr: "" });
});

test.each([
  [
    "not Linux",
    pathWith(
      basics.filter((name) => name !== "uname"),
      { uname: "echo Darwin" },
    ),
    /containers need Linux/,
  ],
  ["no Node.js", pathWith(["sh", "dirname", "uname"]), /install Node.js 20 or newer with npm/],
  [
    "no apt-get",
    pathWith(basics),
    /no apt-get here; install with your package manager: runc buildah.* busybox-static/,
  ],
])("%s", (_, path, sentence) => {
  const { status, stdout, stderr } = setUp(path);
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr).toMatch(/^setup: [^\n]+\n$/);
  expect(stderr).toMatch(sentence);
});

test("not root", () => {
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const whole = setUp(process.env.PATH as string, nobody);
  expect(whole).toEqual({
    status: 1,
    stdout: "",
    stderr: "setup: running containers needs root here; run the same command as root\n",
  });
  const bare = setUp(pathWith([...basics, "apt-get", "setpriv"]), nobody);
  expect(bare.stderr).toMatch(
    /^setup: not root; run 'sudo apt-get install runc buildah.* busybox-static.*', then again as root\n$/,
  );
  expect(bare.status).toBe(1);
});
