/** What a run may write: by flag, in a plan and under an executor's ceiling; how a job tries to write more; what stays. */
import { readdirSync, readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { processesContaining, until } from "../parts/host.ts";
import { claimcheck, entry, image, printed, start, startProgram } from "../support/command.ts";
import { ask, outputOf, planOf, startHost } from "../support/executor.ts";
import { makePerlImage } from "../support/perl-image.ts";
import { makeFolder } from "../support/served.ts";

const mib = 1024 ** 2;

/** Loop devices with a file of runs. */
const devices = () =>
  readdirSync("/sys/block").filter((name) => {
    try {
      return readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8").includes("/runs/");
    } catch {
      return false; // It has no file.
    }
  });

afterEach(async () => {
  await until(() => devices().length === 0);
});

const size = (written: string) => ["--storage-opt", `size=${written}`];
const run = (flags: readonly string[], script: string) =>
  claimcheck(["run", ...flags, image, "--", "sh", "-c", script]);

/** Runs the steps of a plan on this host. */
function runPlan(plan: object, flags: readonly string[] = ["--no-cache"]) {
  const folder = makeFolder({ "plan.json": JSON.stringify(plan) });
  return claimcheck(["run", "--plan", `${folder}/plan.json`, ...flags]);
}

/** Writes mebibytes to a file, and tells how many bytes it then has. */
const write = (file: string, count: number) =>
  `dd if=/dev/zero of=${file} bs=1M count=${count} 2>&1 | grep -o "No space.*"; stat -c %s ${file}`;

test("a command that writes more than the size gets ENOSPC, and its exit code is its own", async () => {
  const script = "df -m / | awk 'NR == 2 { print $2 }'; dd if=/dev/zero of=/x bs=1M count=100 || exit 7";
  const { code, stdout, stderr } = await run(size("64m"), script);
  expect(code).toBe(7);
  expect(stderr).toContain("/x': No space left on device\n");
  expect(Number(stdout)).toBeGreaterThan(60);
  expect(Number(stdout)).toBeLessThanOrEqual(64);
  expect((await run([], write("/x", 100))).stdout).toBe(`${100 * mib}\n`);
});

test("a command that makes more files than there are inodes gets ENOSPC", async () => {
  const script = "i=0; while true > /$i; do i=$((i + 1)); done 2> /dev/null; echo $i";
  const { stdout } = await run([...size("64m"), "--storage-opt", "inodes=2000"], script);
  expect(Number(stdout)).toBeGreaterThan(1900);
  expect(Number(stdout)).toBeLessThanOrEqual(2000);
});

/** What a job tries, and how many bytes it says that it got; what a disk needs beside is not in it. */
const attempts: readonly [how: string, script: string][] = [
  [
    "a sparse file",
    `open $f, '+>', '/sparse'; truncate $f, 1 << 40 or die "truncate: $!";
     while (1) { sysseek $f, $n << 24, 0; (syswrite $f, 'x' x 65536) == 65536 or last; $n++ }
     print $n * 65536`,
  ],
  [
    "hard links with long names",
    `for $i (0 .. 9) { open $f, '>', "/file$i" or last;
       for (1 .. 60000) { link "/file$i", sprintf "/%0200d-%d", $_, $i or last; $n++ } }
     print $n * 208`,
  ],
  ["files without content", "$n = 0; while (open $f, '>', \"/$n\") { $n++ } print $n * 256"],
  [
    "a file without a name",
    `open $f, '>', '/open'; unlink '/open'; while ((syswrite $f, 'x' x 65536) == 65536) { $n++ }
     open $g, '>', '/other'; (syswrite $g, 'x' x 65536) == 65536 and die 'there was more'; print $n * 65536`,
  ],
  [
    "a second attempt",
    `for (1 .. 3) { open $f, '>', "/$_"; while ((syswrite $f, 'x' x 65536) == 65536) { } close $f }
     unlink '/1'; open $f, '>', '/4'; while ((syswrite $f, 'x' x 65536) == 65536) { $n++ } print $n * 65536`,
  ],
  [
    "extended attributes",
    `$n = 0; while (open $f, '>', $file = "/$n") {
       syscall(${process.arch === "x64" ? 188 : 5}, $file, $name = 'user.a', $value = 'x' x 3000, 3000, 0) == 0 or last; $n++ }
     print $n * 3000`,
  ],
  [
    "a file of the image's",
    `open $f, '>>', '/etc/passwd' or die "it cannot be opened: $!";
     while ((syswrite $f, 'x' x 65536) == 65536) { $n++ } print $n * 65536`,
  ],
];

test.each(attempts)("a job that wants more has no more than the size: %s", async (_, script) => {
  const finished = await claimcheck(["run", ...size("32m"), makePerlImage(), "--", "perl", "-e", script]);
  expect(finished).toMatchObject({ code: 0, stderr: "" });
  expect(Number(finished.stdout)).toBeGreaterThan(mib / 4);
  expect(Number(finished.stdout)).toBeLessThanOrEqual(32 * mib);
});

test("links in a deep folder get no larger archive than the size", async () => {
  const script = `
    for (1 .. 15) { mkdir 'd' x 250; chdir 'd' x 250 } open $f, '>', '0';
    for (1 .. 10000) { link 0, $_ or last }`;
  const steps = [{ args: ["perl", "-e", script] }];
  const plan = { version: 1, image: makePerlImage(), storage: { size: "16m" }, steps };
  const kept = await runPlan(plan, ["--tag", "localhost/claimcheck-never:1"]);
  expect(kept).toMatchObject({ code: 125 });
  expect(kept.stderr).toMatch(/larger than 16777216 bytes, .*\[invalid_layer\]\n$/);
  // A cache that does not keep it is no failure.
  expect(await runPlan(plan, [])).toEqual({
    code: 0,
    stdout: "",
    stderr: "claimcheck: step 1 of 1: not kept (invalid_layer)\n",
  });
});

test("what a container finds in memory is bounded too", async () => {
  const count =
    "i=0; while true > /dev/$1/$i; do i=$((i + 1)); done 2> /dev/null; test $i -le 16384 && echo $1";
  const files = `files() { ${count}; }; mkdir /dev/x; files shm; files x`;
  const sizes = [write("/dev/shm/x", 100), write("/dev/x", 100), write("/etc/hosts", 100)].join("\n");
  expect((await run([], files)).stdout).toBe("shm\nx\n");
  const { stdout } = await run([], sizes);
  const written = stdout.split("\n").filter((line) => /^\d+$/.test(line));
  expect(written.map((bytes) => Number(bytes) <= 64 * mib)).toEqual([true, true, true]);
  expect(Number(written[2])).toBeLessThanOrEqual(mib);
});

describe("a plan", () => {
  test("has one bound for all of its steps", async () => {
    const steps = planOf(
      { script: write("/a", 20) },
      { script: write("/b", 20) },
      { script: "cat /a /b | wc -c" },
    );
    const { code, stdout } = await runPlan({ ...steps, storage: { size: "32m" } });
    const [first, full, second, all] = stdout.split("\n");
    expect({ code, first, full }).toEqual({
      code: 0,
      first: String(20 * mib),
      full: "No space left on device",
    });
    expect(Number(second)).toBeLessThan(12 * mib);
    expect(Number(all)).toBe(20 * mib + Number(second));
    const larger = await runPlan({ ...steps, storage: { size: "64m" } });
    expect(larger.stdout).toBe(`${20 * mib}\n${20 * mib}\n${40 * mib}\n`);
  });

  test("whose first step uses everything up does not begin the next one", async () => {
    const fill = "i=0; while true > /$i; do i=$((i + 1)); done 2> /dev/null; exit 0";
    const { code, stdout, stderr } = await runPlan({
      ...planOf({ script: fill }, { script: "echo second" }),
      storage: { size: "16m", inodes: 500 },
    });
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(
      /The run has used up its storage: .*No space left on device.* \[storage_full\]\n$/,
    );
  });

  test("has its files searched, kept, made an image and cached as without a bound", async () => {
    const storage = { size: "32m" };
    const name = "localhost/claimcheck-storage:1";
    const steps = planOf({
      script: "echo built > /result; rm /etc/group; ln /result /again; cat /proc/sys/kernel/random/uuid",
    });
    const made = await runPlan({ ...steps, storage }, ["--tag", name, "--on-leak", "fail"]);
    expect(made.code).toBe(0);
    const again = await runPlan({ ...steps, storage }, ["--tag", name, "--on-leak", "fail"]);
    expect(again).toMatchObject({ code: 0, stdout: made.stdout });
    const shown = await claimcheck(["run", name, "--", "sh", "-c", "cat /result /again; ls /etc/group 2>&1"]);
    expect(shown.stdout).toBe("built\nbuilt\nls: /etc/group: No such file or directory\n");
    // What a step was given counts: with another bound it is another step.
    expect((await runPlan({ ...steps, storage: { size: "33m" } }, [])).stdout).not.toBe(made.stdout);

    const leaking = planOf({ script: 'echo "$A" > /leak', secretEnv: { A: "file:///etc/passwd" } });
    const leak = await runPlan({ ...leaking, storage }, ["--no-cache", "--on-leak", "fail"]);
    expect(leak.stderr).toMatch(/A in \/leak.*\[secret_leaked\]\n$/);
  });

  test.each([
    [{ size: "lots" }, /3: storage: "lots" is not a size/],
    [{ size: "1m" }, /storage: the size is at least 16m/],
    [{ size: "16m", inodes: 1e6 }, /storage: .*from 1 to 4096/],
    [{ inodes: 100 }, /storage\.size/],
  ])("with the storage %j is refused", async (storage, says) => {
    const text = `version: 1\nimage: ${image}\nstorage: ${JSON.stringify(storage)}\nsteps: [{ args: ["true"] }]\n`;
    const folder = makeFolder({ "plan.yaml": text });
    const { code, stderr } = await claimcheck(["run", "--plan", `${folder}/plan.yaml`]);
    expect(code).toBe(125);
    expect(stderr).toMatch(says);
  });
});

describe("an executor", () => {
  const sizeOf = async (socket: string, plan: object) => {
    const { text, events } = await ask(socket, {
      plan: { ...planOf({ script: "df -m /; df -i /" }), ...plan },
    });
    const numbers = [...outputOf(events, "stdout").matchAll(/^overlay +(\d+)/gm)].map(([, all]) =>
      Number(all),
    );
    return numbers.length === 2 ? numbers : JSON.parse(text).code;
  };

  test("bounds a run without being told", async () => {
    const host = await startHost();
    const [size, inodes] = await sizeOf(host.socket, {});
    expect(size).toBeGreaterThan(9 * 1024);
    expect(size).toBeLessThanOrEqual(10 * 1024);
    expect(inodes).toBe(655_360);
    await until(() => host.leftovers().length === 0);
    host.executor.child.kill("SIGTERM");
    await host.executor.finished;
  });

  test("has a ceiling that a plan can lower and not raise", async () => {
    const host = await startHost({ fields: "ceilings: { storage: { size: 64m, inodes: 3000 } }" });
    expect(await sizeOf(host.socket, {})).toEqual([expect.closeTo(63, -0.3), 3008]);
    const [lower] = await sizeOf(host.socket, { storage: { size: "16m" } });
    expect(lower).toBeLessThanOrEqual(16);
    for (const storage of [{ size: "65m" }, { size: "8t" }, { size: "64m", inodes: 3001 }]) {
      expect(await sizeOf(host.socket, { storage }), JSON.stringify(storage)).toBe("not_permitted");
    }
    const { events } = await ask(host.socket, {
      plan: planOf({ script: write("/x", 100) }, { script: write("/y", 100) }),
    });
    const written = outputOf(events, "stdout")
      .split("\n")
      .filter((line) => /^\d+$/.test(line));
    expect(written.reduce((sum, bytes) => sum + Number(bytes), 0)).toBeLessThan(64 * mib);

    // A job that fills its storage takes nothing from the others.
    const fill = "dd if=/dev/zero of=/x bs=1M count=100 2> /dev/null; echo full; exec sleep 1000";
    const running = start(["run", "--executor", host.socket, image, "--", "sh", "-c", fill]);
    await printed(running, "full");
    const other = await ask(host.socket, { plan: planOf({ script: write("/y", 40) }) });
    expect(outputOf(other.events, "stdout")).toBe(`${40 * mib}\n`);
    running.child.kill("SIGTERM");
    await running.finished;

    const flags = ["--executor", host.socket, image, "--", "df", "-m", "/"];
    expect((await claimcheck(["run", ...size("32m"), ...flags])).stdout).toMatch(/^overlay +3[0-2] /m);
    expect((await claimcheck(["run", ...size("65m"), ...flags])).stderr).toMatch(/\[not_permitted\]\n$/);
    host.executor.child.kill("SIGTERM");
    await host.executor.finished;
  });

  test("that is told to has no ceiling, and a plan may have its own", async () => {
    const host = await startHost({ fields: "ceilings: { storage: none }" });
    const [size] = await sizeOf(host.socket, {});
    expect((await sizeOf(host.socket, { storage: { size: "16m" } }))[0]).toBeLessThanOrEqual(16);
    expect(size).not.toBeLessThanOrEqual(16);
    host.executor.child.kill("SIGTERM");
    await host.executor.finished;
  });
});

describe("after kill -9", () => {
  test.each(["the command", "the supervisor", "unshare"])(
    "of %s no device, mount or file stays",
    async (whose) => {
      const script = "dd if=/dev/zero of=/x bs=1M count=16 2> /dev/null; echo up; exec sleep 1011";
      const running = start(["run", ...size("64m"), image, "--", "sh", "-c", script]);
      await printed(running, "up");
      expect(devices()).toHaveLength(1);
      const { pid } = running.child;
      const [unshare] = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ");
      const supervisor = readFileSync(`/proc/${unshare}/task/${unshare}/children`, "utf8").trim();
      const victim = { "the command": pid, "the supervisor": Number(supervisor), unshare: Number(unshare) }[
        whose
      ];
      process.kill(victim as number, "SIGKILL");
      await running.finished;
      await until(
        () => processesContaining("cmdline", "sleep\u00001011").length === 0 && devices().length === 0,
      );
      // The next run sweeps up an empty folder.
      await claimcheck(["run", image, "true"]);
    },
  );
});

describe("where the host cannot", () => {
  /** The command in a mount namespace of its own, after a script. */
  const runAfter = (script: string, args: readonly string[]) =>
    startProgram(
      "unshare",
      ["--mount", "--", "sh", "-ec", `${script}; exec "$@"`, "sh", process.execPath, "--", entry, ...args],
      {},
    ).finished;
  const smallDisk =
    "mkdir -p /var/lib/claimcheck/runs; mount -t tmpfs -o size=24m tmpfs /var/lib/claimcheck/runs";

  test.each([
    ["loop devices", "mount --bind /dev/null /dev/loop-control"],
    ["mke2fs", 'mount --bind /dev/null "$(readlink -f "$(PATH=$PATH:/usr/sbin:/sbin command -v mke2fs)")"'],
  ])("a host without %s says so, and runs nothing", async (_, hide) => {
    const { code, stdout, stderr } = await runAfter(hide, ["run", ...size("64m"), image, "echo", "ran"]);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(
      /storage for the run cannot be made: .*loop devices and mke2fs \[unsupported_host\]\n$/,
    );
  });

  test("a disk that is full before the bound is a failure, and no file with holes", async () => {
    const fill = "dd if=/dev/urandom of=/x bs=1M count=60 2> /dev/null";
    // As soon as the kernel tells it.
    const told = await runAfter(smallDisk, [
      "run",
      ...size("1g"),
      image,
      "--",
      "sh",
      "-c",
      `${fill}; sync; echo end`,
    ]);
    expect(told).toMatchObject({ code: 125, stdout: "end\n" });
    expect(told.stderr).toMatch(/what the container wrote could not be stored: .* \[state_unusable\]\n$/);

    const folder = makeFolder({
      "plan.json": JSON.stringify({
        ...planOf({ script: fill }, { script: "echo second" }),
        storage: { size: "1g" },
      }),
    });
    const plan = await runAfter(smallDisk, ["run", "--no-cache", "--plan", `${folder}/plan.json`]);
    expect(plan).toMatchObject({ code: 125, stdout: "" });
    expect(plan.stderr).toMatch(/could not be stored: .* \[state_unusable\]\n$/);
  });
});
