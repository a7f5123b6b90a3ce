/** Files that come with a plan: they lie where it says, and a container that is hostile sends them nowhere else. */
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";

const folder = () => mkdtempSync(join(tmpdir(), "claimcheck-placed-"));
const base64 = (text: string) => Buffer.from(text).toString("base64");

interface Fields {
  readonly files?: readonly object[];
  readonly user?: string;
}

function runPlan(...steps: readonly (readonly [script: string, fields?: Fields])[]) {
  const file = join(folder(), "plan.json");
  const written = steps.map(([script, fields = {}]) => ({ args: ["sh", "-c", script], ...fields }));
  writeFileSync(file, JSON.stringify({ version: 1, image, steps: written }));
  return claimcheck(["run", "--plan", file]);
}

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("files, folders and links lie where the plan says, also for later steps", async () => {
  const look = "cd /srv/app; stat -c '%n %a %u:%g' *; cat run.sh; readlink link";
  const { code, stdout, stderr } = await runPlan(
    [
      look,
      {
        files: [
          { path: "/srv/app/run.sh", content: base64("echo hello\n"), mode: "0755", owner: "1:2" },
          { path: "/srv/app/empty", content: "" },
          { path: "/srv/app/sub", mode: "0700" },
          { path: "/srv/app/link", link: "run.sh" },
          { path: "/srv/app/a name\n", content: base64("x") },
        ],
      },
    ],
    [look],
  );
  const seen =
    "a name\n 644 0:0\nempty 644 0:0\nlink 777 0:0\nrun.sh 755 1:2\nsub 700 0:0\necho hello\nrun.sh\n";
  expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: seen + seen, stderr: expect.any(String) });
});

test("a file that is placed takes the place of the image's, and of a pipe or link", async () => {
  const files = ["/etc/passwd", "/pipe", "/link"].map((path) => ({
    path,
    content: base64("me:x:7:8::/me:\n"),
  }));
  const { stdout } = await runPlan(
    ["mkfifo /pipe; ln -s /etc/shadow /link; touch /etc/shadow"],
    ["id -u; cat /pipe /link; wc -c < /etc/shadow", { files, user: "me" }],
  );
  expect(stdout).toBe("7\nme:x:7:8::/me:\nme:x:7:8::/me:\n0\n");
});

test("a link that a container left leads to nowhere outside of it", async () => {
  const outside = folder();
  const { code, stdout } = await runPlan(
    [`mkdir -p ${outside}; ln -s ${outside} /srv`],
    [`cat ${outside}/deep/file`, { files: [{ path: "/srv/deep/file", content: base64("inside\n") }] }],
  );
  expect({ code, stdout }).toEqual({ code: 0, stdout: "inside\n" });
  expect(existsSync(join(outside, "deep"))).toBe(false);
});

test.each([
  ["under a file", [{ path: "/bin/sh/x", content: "" }], /\/bin\/sh\/x: .*\[invalid_plan\]/],
  ["in place of a folder", [{ path: "/bin", content: "" }], /\/bin: Is a directory \[invalid_plan\]/],
  ["of nobody", [{ path: "/x", content: "", owner: "nobody-knows" }], /nobody-knows \[invalid_user\]/],
  ["that is not absolute", [{ path: "x", content: "" }], /not x \[invalid_plan\]/],
  ["with a text", [{ path: "/x", content: "text!" }], /the file \/x is not in base64/],
  ["with content and link", [{ path: "/x", content: "", link: "y" }], /\/x is either a content or a link/],
  ["that is too large", [{ path: "/x", content: "A".repeat(24 * 1024 * 1024) }], /at most 16777216 go/],
])("a file %s is refused", async (_, files, reason) => {
  const { code, stderr } = await runPlan(["true", { files }]);
  expect(code).toBe(125);
  expect(stderr).toMatch(reason);
});
