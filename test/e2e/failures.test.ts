/** Bad input and bad luck: one line, a code, the right exit code, no value and no stack trace. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";

const pasted = "hunter2-pasted-where-it-does-not-belong";
const withSecret = (uri: string) => ["run", "--secret-env", `A=${uri}`, image, "true"];

const failures: [what: string, args: string[], code: string, exitCode: number, says: RegExp][] = [
  [
    "a missing variable",
    withSecret("env://NOT_THERE"),
    "secret_not_found",
    125,
    /env:\/\/NOT_THERE is not set \(for A\)/,
  ],
  ["an unknown scheme", withSecret("htp://x"), "unknown_scheme", 125, /htp:\/\/; known here: env:\/\//],
  [
    "a command of a secret that fails",
    withSecret("cmd://echo no such item >&2; exit 3"),
    "provider_failed",
    125,
    /cmd:\/\/ech… ended with exit status 3; the last line of its standard error: no such item/,
  ],
  ["no ://", withSecret(pasted), "invalid_uri", 125, /"hun…" has no ":\/\/"/],
  ["a value for a name", withSecret(`env://${pasted}`), "invalid_uri", 125, /env:\/\/hun…/],
  [
    "an unknown parameter",
    withSecret("env://API_TOKEN?colour=red"),
    "invalid_uri",
    125,
    /unknown parameter "col…"/,
  ],
  [
    "an empty cache key",
    withSecret("env://API_TOKEN?cacheKey="),
    "invalid_cache_key",
    125,
    /cache key is empty/,
  ],
  ["a bad flag", ["run", `--frobnicate=${pasted}`, image], "usage", 125, /unknown option '--frobnicate=…'/],
  ["a value for NAME=URI", ["run", "--secret-env", pasted, image], "usage", 125, /takes NAME=URI/],
  ["no image", ["run"], "usage", 125, /IMAGE or --plan FILE/],
  ["an unknown subcommand", ["rum"], "usage", 125, /unknown command 'rum'/],
  [
    "an unknown image",
    ["run", "localhost/no-such-image", "true"],
    "image_unavailable",
    125,
    /localhost\/no-such-image/,
  ],
  [
    "an image name that is a flag",
    ["run", "--", "--all", "true"],
    "image_unavailable",
    125,
    /"--all" is not an image's name/,
  ],
  [
    "an unknown runtime",
    ["run", "--runtime", "no-such-runtime", image, "true"],
    "runtime_failed",
    125,
    /no-such-runtime cannot be started/,
  ],
  ["an unknown command", ["run", image, "no-such-command"], "command_not_found", 127, /: no-such-command \[/],
  [
    "an unknown path",
    ["run", image, "/no/such/command"],
    "command_not_found",
    127,
    /: \/no\/such\/command \[/,
  ],
  [
    "a file that is not executable",
    ["run", image, "/etc/passwd"],
    "command_not_executable",
    126,
    /\/etc\/passwd/,
  ],
  ["a folder", ["run", image, "/etc"], "command_not_executable", 126, /: \/etc \[/],
  [
    "--audit and --broker",
    ["run", "--audit", "x", "--broker", "http://localhost", ...withSecret("env://A").slice(1)],
    "usage",
    125,
    /own log/,
  ],
  [
    "no pinned keys",
    ["run", "--broker", "http://localhost", ...withSecret("env://A").slice(1)],
    "usage",
    125,
    /KEYS/,
  ],
  [
    "a broker that is no URL",
    ["run", "--broker", "here", ...withSecret("env://A").slice(1)],
    "usage",
    125,
    /takes a URL/,
  ],
  [
    "an audit log that is a folder",
    ["run", "--audit", "/", ...withSecret("env://A").slice(1)],
    "state_unusable",
    125,
    /\//,
  ],
  ["a broker without configuration", ["broker"], "usage", 125, /--dev/],
  ["an address that is none", ["broker", "--dev", "--listen", "here"], "usage", 125, /HOST:PORT/],
];

test.each(failures)("%s", async (_, args, code, exitCode, says) => {
  const env = { CLAIMCHECK_TOKEN: "a.b.c", ...(code !== "usage" && { CLAIMCHECK_BROKER_KEYS: "x" }) };
  const finished = await claimcheck(args, { env });
  expect(finished).toMatchObject({ code: exitCode, stdout: "" });
  const lines = finished.stderr.split("\n").filter((line) => !line.startsWith("claimcheck: pulling "));
  expect(lines).toEqual([expect.stringMatching(/^claimcheck: [A-Z].*$/), ""]);
  expect(lines[0]).toMatch(new RegExp(`\\[${code}\\]$`));
  expect(lines[0]).toMatch(says);
  expect(lines[0]).not.toContain(pasted);
  expect(remains()).toEqual([]);
});

test("a broker that cannot be reached", async () => {
  const env = { CLAIMCHECK_TOKEN: "a.b.c", CLAIMCHECK_BROKER_KEYS: "x" };
  const finished = await claimcheck(
    ["run", "--broker", "http://127.0.0.1:9", ...withSecret("env://A").slice(1)],
    { env },
  );
  expect(finished.code).toBe(125);
  expect(finished.stderr).toMatch(
    /^claimcheck: Claimcheck could not reach the broker: http:\/\/127\.0\.0\.1:9 .*\[broker_unreachable\]\n$/,
  );
});

test("a value that an environment cannot carry is refused, and another process sees none of it", async () => {
  // The longest variable that Linux lets this test hand over is longer than what fits beside its new name.
  const finished = await claimcheck(["run", "--secret-env", "A_LONGER_NAME=env://A", image, "true"], {
    env: { A: "v".repeat(131_072 - 3) },
  });
  expect(finished.code).toBe(125);
  expect(finished.stderr).toMatch(/A_LONGER_NAME is longer than .*\[secret_not_text\]\n$/);
});

test("help is an answer; nothing at all is told how to ask", async () => {
  for (const args of [["--help"], ["run", "--help"], ["broker", "--help"]]) {
    const finished = await claimcheck(args);
    expect(finished).toMatchObject({ code: 0, stderr: "" });
    expect(finished.stdout).toContain("Usage: claimcheck");
  }
  expect(await claimcheck([])).toMatchObject({ code: 125, stdout: "" });
});

test("each secret that fails has a line of its own, with what it is for", async () => {
  const args = ["run", "--secret-env", "A=env://ONE", "--secret-env", "B=env://TWO", image, "true"];
  expect((await claimcheck(args)).stderr.split("\n")).toEqual([
    "claimcheck: The secret does not exist: env://ONE is not set (for A) [secret_not_found]",
    "claimcheck: The secret does not exist: env://TWO is not set (for B) [secret_not_found]",
    "",
  ]);
});

test.each([
  ["full", "size=8k,nr_inodes=5", /No space left on device/],
  ["read-only", "ro", /cannot be locked \(EROFS\)/],
])("a state folder whose disk is %s", async (_, options, says) => {
  const folder = "/var/lib/claimcheck";
  mkdirSync(folder, { recursive: true });
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder]);
  try {
    const { code, stdout, stderr } = await claimcheck(["run", image, "true"]);
    expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
    expect(stderr).toMatch(/^claimcheck: .*\[state_unusable\]\n$/);
    expect(stderr).toMatch(says);
  } finally {
    execFileSync("umount", [folder]);
  }
});

test("what the runtime says of a failure is masked like the output", async () => {
  const env = { API_TOKEN: "a-value-that-is-no-command" };
  const finished = await claimcheck([...withSecret("env://API_TOKEN").slice(0, -1), env.API_TOKEN], { env });
  expect(finished.stderr).toBe(
    "claimcheck: The image does not contain the command: *** [command_not_found]\n",
  );
});
