/** What the command line names can be a device that never ends: it is refused, and nothing waits for its end. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { claimcheck } from "../support/command.ts";
import { makeFolder } from "../support/served.ts";

test.each([
  ["--env-file /dev/zero", ["run", "--env-file", "/dev/zero", "image"]],
  ["--value /dev/zero", ["run", "--value", "A=@/dev/zero", "image"]],
  ["--handle /dev/zero", ["run", "--handle", "A=@/dev/zero", "image"]],
  ["the plan /dev/zero", ["run", "--plan", "/dev/zero"]],
  ["the plan /dev/zero", ["plan", "check", "/dev/zero"]],
  ["/dev/zero", ["shell", "/dev/zero"]],
  ["--secret-file /dev/zero", ["scrub", "--secret-file", "/dev/zero"]],
  ["/dev/zero", ["inspect", "@/dev/zero"]],
])("%s is refused: %j", async (name, args) => {
  const { code, stdout, stderr } = await claimcheck(args, {
    env: { CLAIMCHECK_BROKER: "http://127.0.0.1:1", CLAIMCHECK_TOKEN: "t" },
  });
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(new RegExp(`^claimcheck: .*: ${name} has more than \\d+ bytes \\[usage\\]\\n$`));
});

test("a value of the largest size is taken, and one byte more is not", async () => {
  const folder = makeFolder({});
  for (const [size, says] of [
    [1024 * 1024, /the input device is not a TTY/],
    [1024 * 1024 + 1, /has more than 1048576 bytes/],
  ] as const) {
    const path = join(folder, "value");
    writeFileSync(path, Buffer.alloc(size));
    const { stderr } = await claimcheck(["run", "-it", "--value", `A=@${path}`, "image"]);
    expect(stderr).toMatch(says);
  }
});
