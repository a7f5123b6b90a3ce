/** The command as its own file starts it, which is how npm installs it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { entry } from "../support/command.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-entry-"));
const link = join(folder, "claimcheck");
symlinkSync(entry, link);
writeFileSync(join(folder, "planted.cjs"), `process.stdout.write("planted\\n");`);
writeFileSync(join(folder, "planted.env"), `NODE_OPTIONS=--require ${folder}/planted.cjs\n`);

writeFileSync(join(folder, "plain.env"), "PLAIN=yes\n");
writeFileSync(join(folder, "node.json"), "{}");

const options = {
  cwd: folder,
  env: { PATH: `${dirname(process.execPath)}:${process.env.PATH}`, HOME: folder },
  encoding: "utf8",
} as const;

function start(program: string, args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(program, args, options);
  return { status, stdout, stderr };
}

const run = (...args: string[]) => start(link, args);
const runWithNode = (...args: string[]) => start(process.execPath, args);

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

describe("where Node.js is started without the -- and looks for flags of its own", () => {
  const refused = (flag: string) => ({
    status: 125,
    stdout: "",
    stderr: expect.stringMatching(
      new RegExp(`^claimcheck: .*Node\\.js has read ${flag} for itself; .*\\[usage\\]\\n$`, "m"),
    ),
  });

  test.each([
    ["--env-file", ["run", "--env-file", "plain.env", "image"]],
    ["--env-file", ["run", "--env-file=plain.env", "image"]],
    ["--env-file-if-exists", ["run", "image", "node", "--env-file-if-exists=nowhere", "app.js"]],
    [
      "--experimental-config-file",
      ["run", "image", "node", "--experimental-config-file=node.json", "app.js"],
    ],
  ])("a command with %s is refused: %j", (flag, args) => {
    expect(runWithNode(entry, ...args)).toEqual(refused(flag));
  });

  test("a file of variables that is a pipe, which Node.js has emptied, is refused and not taken for an empty one", () => {
    const script = '"$0" "$1" run --env-file <(echo A=1) --plan nowhere';
    const { status, stderr } = spawnSync("bash", ["-c", script, process.execPath, entry], options);
    expect({ status, stdout: "", stderr }).toEqual(refused("--env-file"));
  });

  test("a command is not refused that has the -- before the entry, or before the flag", () => {
    const unread = { status: 125, stderr: expect.stringContaining("ENOENT") };
    expect(runWithNode("--", entry, "run", "--env-file", "nowhere", "image")).toMatchObject(unread);
    expect(
      runWithNode(entry, "run", "--plan", "nowhere", "--", "--env-file", "plain.env").stderr,
    ).not.toContain("Node.js has read");
  });

  test("Node.js puts no variable of the file into the process", () => {
    const printing = join(folder, "printing.cjs");
    writeFileSync(printing, `process.stdout.write(String(process.env.PLAIN));`);
    expect(runWithNode(printing, "run", "--env-file", "plain.env").stdout).toBe("undefined");
  });
});

test.each([
  ["--experimental-default-config-file"],
  ["--experimental-config-file=node.config.json"],
  ["--experimental-config-file", "node.config.json"],
])(
  "a container's argument never has Node.js run code that a file of the working folder names: %s",
  (...args) => {
    writeFileSync(join(folder, "node.config.json"), `{"nodeOptions":{"import":["${folder}/planted.cjs"]}}`);
    expect(run("run", "--plan", "nowhere", "--", ...args)).toEqual({
      status: 125,
      stdout: "",
      stderr: expect.stringMatching(/Node\.js would read --experimental-\S+ for itself; .*\[usage\]\n$/),
    });
  },
);
