/** The command as its own file starts it, which is how npm installs it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { entry } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-entry-"));
const link = join(folder, "claimcheck");
symlinkSync(entry, link);
writeFileSync(join(folder, "planted.cjs"), `process.stdout.write("planted\\n");`);
writeFileSync(join(folder, "planted.env"), `NODE_OPTIONS=--require ${folder}/planted.cjs\n`);

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(link, args, {
    cwd: folder,
    env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: folder },
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

test("a file of variables for a container does nothing to the command itself", () => {
  expect(run("run", "--env-file", "planted.env", "--plan", "nowhere")).toMatchObject({
    status: 125,
    stdout: "",
  });
  expect(run("run", "--plan", "nowhere", "--env-file=planted.env")).toMatchObject({
    status: 125,
    stdout: "",
  });
});

test("a file of variables that is not there is told as ours", () => {
  expect(run("run", "--env-file", "nowhere", "image")).toEqual({
    status: 125,
    stdout: "",
    stderr: "claimcheck: The command line is invalid: --env-file nowhere cannot be read (ENOENT) [usage]\n",
  });
});

test("the arguments of a container's command are not for us", () => {
  const { stderr } = run("run", "--plan", "nowhere", "image", "node", "--env-file", "nowhere", "app.js");
  expect(stderr).toMatch(/^claimcheck: .* \[usage\]\n$/);
});

test("arguments arrive as they are", () => {
  const { stdout } = run(
    "shell",
    "--print-plan",
    "-c",
    `container | from a | with-exec "it's \\"  *" '' | stdout`,
  );
  expect(JSON.parse(stdout).steps[0].args).toEqual([`it's "  *`, ""]);
});
