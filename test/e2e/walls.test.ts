/**
 * The walls between a job and the host (DESIGN.md 9), each with the others down: two faults that once made a job root on
 * the host, and which wall alone stops them.
 */
import { spawnSync } from "node:child_process";
import { lstatSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image, entry as plainEntry } from "../support/command.ts";
import { makeImage } from "../support/made-image.ts";
import { makeFolder } from "../support/served.ts";
import { changedHouse, houseWith, type Wall, walls } from "../support/walls.ts";

afterEach(() => {
  expect(remains()).toEqual([]);
});

/** Runs a plan of one step in a house with these walls alone. */
async function runWith(standing: readonly Wall[], step: object, from = image) {
  const { entry, flags } = houseWith(standing);
  const folder = makeFolder({ "plan.json": JSON.stringify({ version: 1, image: from, steps: [step] }) });
  return claimcheck(["run", ...flags, "--no-cache", "--plan", join(folder, "plan.json")], { entry });
}

/** A folder of the host's, where no run has anything to do. */
function folderOf(files: Record<string, string>): string {
  const folder = mkdtempSync(join("/srv", "claimcheck-test-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
  return folder;
}

describe("a volume on an alias of /dev, in which the runtime finds a link in place of null", () => {
  /** A switch of the kernel's that only says what new interrupts get. */
  const kernelSwitch = "/proc/irq/default_smp_affinity";

  async function attack(standing: readonly Wall[]): Promise<string> {
    const volume = mkdtempSync(join(tmpdir(), "claimcheck-volume-"));
    onTestFinished(() => rmSync(volume, { recursive: true }));
    for (const name of ["null", "zero", "full", "random", "urandom", "tty"]) {
      symlinkSync(kernelSwitch, join(volume, name));
    }
    for (const name of ["pts", "shm", "mqueue"]) mkdirSync(join(volume, name));
    const before = readFileSync(kernelSwitch, "utf8");
    onTestFinished(() => writeFileSync(kernelSwitch, before));
    const { code, stderr } = await runWith(standing, {
      files: [{ path: "/x", link: "/dev" }],
      volumes: [{ source: volume, target: "/x" }],
      args: ["sh", "-c", "echo 1 >&0 || echo 1 >&1"],
    });
    const isChanged = readFileSync(kernelSwitch, "utf8") !== before;
    return isChanged
      ? "the host is changed"
      : code === 0
        ? "the command runs"
        : `the run is refused: ${stderr}`;
  }

  test("changes the host where no wall stands", async () => {
    expect(await attack([])).toBe("the host is changed");
  });

  test.each<[Wall, RegExp]>([
    ["attach", /it leads to \/dev; nothing can be mounted/],
    ["hook", /\/dev is a \w+/],
    ["users", /permission denied/],
  ])("is stopped by the wall '%s' alone", async (wall, says) => {
    const outcome = await attack([wall]);
    expect(outcome).toMatch(/^the run is refused: /);
    expect(outcome).toMatch(says);
  });
});

describe("/dev as a link to a folder of the host's, in which the runtime deletes and makes links", () => {
  async function attack(standing: readonly Wall[]) {
    const folder = folderOf({ ptmx: "of the host" });
    const from = makeImage(`rmdir dev && ln -s ${folder} dev`);
    const { code, stderr } = await runWith(standing, { args: ["sh", "-c", "echo started >&2"] }, from);
    const isKept = lstatSync(join(folder, "ptmx")).isFile();
    return { host: isKept ? "unchanged" : "changed", code, isStarted: stderr.includes("started"), stderr };
  }

  test("changes that folder where no wall stands", async () => {
    expect(await attack([])).toMatchObject({ host: "changed" });
  });

  test.each<[Wall, RegExp]>([
    ["attach", /\/dev in the container is not a folder/],
    ["view", /\/ptmx: no such file or directory/],
    ["users", /\/ptmx: permission denied/],
  ])("does not where the wall '%s' stands alone", async (wall, says) => {
    const { host, stderr } = await attack([wall]);
    expect(host).toBe("unchanged");
    expect(stderr).toMatch(says);
  });

  test("is found by the hook alone, before the command starts", async () => {
    const { code, isStarted, stderr } = await attack(["hook"]);
    expect({ code, isStarted }).toEqual({ code: 125, isStarted: false });
    expect(stderr).toMatch(/ is mounted, and was not ordered/);
  });

  test("is refused with a sentence where all walls stand", async () => {
    const { code, stderr } = await attack(walls);
    expect({ code, stderr }).toEqual({
      code: 125,
      stderr: expect.stringContaining("/dev in the container is not a folder"),
    });
  });
});

describe("a host that cannot build a wall", () => {
  test("as before Linux 5.19 is refused with the flag that does without a user namespace", async () => {
    // mount_setattr(2) of a kernel that maps no users below an overlay.
    const entry = changedHouse([
      [
        "executor/supervisor/users.pl",
        "SystemCalls::ATTR_IDMAP(), 0, $namespace);",
        "1 << 40, 0, $namespace);",
      ],
    ]);
    const { code, stderr } = await claimcheck(["run", image, "true"], { entry });
    expect(code).toBe(125);
    expect(stderr).toMatch(/cannot map users .*--userns host.*\[unsupported_host\]/);
    expect(await claimcheck(["run", "--userns", "host", image, "true"], { entry })).toMatchObject({
      code: 0,
    });
  });

  test("because it hides a part of its /sys says so, and goes on without a user namespace alone", async () => {
    // As an executor in a container would see it.
    const run = (...flags: string[]) =>
      spawnSync(
        "unshare",
        ["--mount", "sh", "-c", 'mount -t tmpfs t /sys/firmware && "$@"', "sh"].concat([
          process.execPath,
          plainEntry,
          "run",
          ...flags,
          image,
          "true",
        ]),
        { encoding: "utf8" },
      );
    const { status, stderr } = run();
    expect(status).toBe(125);
    expect(stderr).toMatch(/this host's \/sys.*--userns host.*\[unsupported_host\]/);
    expect(run("--userns", "host")).toMatchObject({ status: 0, stderr: "" });
  });

  test("and has no numbers left for users says so", async () => {
    const entry = changedHouse([
      [
        "executor/supervisor/users.pl",
        "my ($unused, $unused_end) = (0x70000000, 0x7fff0000);",
        "my ($unused, $unused_end) = (0, 0);",
      ],
    ]);
    const { code, stderr } = await claimcheck(["run", image, "true"], { entry });
    expect({ code, stderr }).toMatchObject({
      code: 125,
      stderr: expect.stringContaining("[unsupported_host]"),
    });
    expect(stderr).toContain("/etc/subuid");
  });
});
