/** What becomes of output that cannot be delivered: lost bytes are an error, a reader that leaves is none. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { entry, image, startProgram } from "../support/command.ts";
import { planOf, startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

const lost =
  /^claimcheck: The output could not be written completely: standard output \(ENOSPC\) \[output_failed\]$/m;

/** A file system with almost no room left: what is printed fits in part. */
function fullDisk(): string {
  const folder = join(makeFolder({}), "disk");
  mkdirSync(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder]);
  onTestFinished(() => void execFileSync("umount", [folder]));
  writeFileSync(join(folder, "taken"), Buffer.alloc(60 * 1024));
  return join(folder, "output");
}

/** A script for bash, in which `claimcheck` is the command. */
async function shell(script: string, env: Record<string, string> = {}) {
  const command = `claimcheck() { "$NODE" -- "$ENTRY" "$@"; }\n${script}`;
  const settings = { env: { NODE: process.execPath, ENTRY: entry, ...env } };
  return startProgram("/bin/bash", ["-c", command], settings).finished;
}

/** A plan of one step that prints more than the full disk takes. */
const printing = () => {
  const folder = makeFolder({ "plan.json": JSON.stringify(planOf({ script: "seq 1 20000" })) });
  return join(folder, "plan.json");
};

describe("a sink that takes nothing", () => {
  test.each([
    ["run", `run ${image} -- echo hi`],
    ["run --plan, and again from the cache", "run --plan PLAN"],
    ["shell", `shell -c 'container | from ${image} | with-exec echo hi | stdout'`],
    ["run --stdio", "run --stdio"],
    ["plan schema", "plan schema"],
    ["--help", "run --help"],
  ])("fails %s", async (_, args) => {
    const request = JSON.stringify({ plan: planOf({ script: "echo hi" }) });
    const command = args.replace("PLAN", printing());
    // Standard input that ends would end such a run.
    const held = `< <(echo '${request}'; exec sleep 5 >/dev/null 2>&1)`;
    const input = args.includes("stdio") ? held : "";
    for (let time = 0; time < 2; time++) {
      const { code, stderr } = await shell(`claimcheck ${command} >/dev/full ${input}`);
      expect(code, stderr).toBe(125);
      if (!args.includes("stdio")) expect(stderr).toMatch(lost);
    }
  });

  test("is an executor's client's own", async () => {
    const host = await startHost();
    const { code, stderr } = await shell(`claimcheck run ${image} -- echo hi >/dev/full`, {
      CLAIMCHECK_EXECUTOR: host.socket,
    });
    expect(code).toBe(125);
    expect(stderr).toMatch(lost);
  });
});

describe("a disk that is full", () => {
  test.each([
    ["run", `run ${image} -- seq 1 20000`],
    ["run, with little output", `run ${image} -- seq 1 1500`],
    ["run --plan, and again from the cache", "run --plan PLAN"],
    ["plan schema", "plan schema"],
  ])("fails %s", async (_, args) => {
    const file = fullDisk();
    const command = args.replace("PLAN", printing());
    for (let time = 0; time < 2; time++) {
      const { code, stderr } = await shell(`claimcheck ${command} >'${file}'`);
      expect(code).toBe(125);
      expect(stderr).toMatch(lost);
      expect(readFileSync(file).length).toBeLessThan(5 * 1024);
    }
  });

  test("takes what fits, to the last byte", async () => {
    const file = fullDisk();
    expect(await shell(`claimcheck run ${image} -- seq 1 500 >'${file}'`)).toMatchObject({ code: 0 });
    expect(readFileSync(file, "utf8").trim().split("\n")).toHaveLength(500);
  });
});

describe("a reader that leaves is no failure", () => {
  test.each([
    ["run --help", "claimcheck run --help"],
    ["plan schema", "claimcheck plan schema"],
    ["scrub", "yes $A | head -100000 | claimcheck scrub --env A"],
    ["run", `claimcheck run ${image} -- sh -c 'echo first; exit 0'`],
  ])("of %s", async (_, command) => {
    const script = `${command} | { head -1 >/dev/null; exec <&-; }; echo "\${PIPESTATUS[@]}"`;
    const { stdout, stderr } = await shell(script, { A: "guessme" });
    expect(stderr).toBe("");
    expect(stdout).toMatch(/(^|\s)0 0$/m);
  });

  test("an executor's client still has the command's exit code", async () => {
    const host = await startHost();
    const command = `claimcheck run ${image} -- sh -c 'seq 1 100000; exit 7'`;
    const { stdout, stderr } = await shell(`${command} | head -1; echo "\${PIPESTATUS[0]}"`, {
      CLAIMCHECK_EXECUTOR: host.socket,
    });
    expect({ stdout, stderr }).toEqual({ stdout: "1\n7\n", stderr: "" });
  });
});
