/** Plans: steps on one image, each with its own secrets, on the files that the steps before it left. */
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { remains } from "../parts/host.ts";
import { claimcheck, image } from "../support/command.ts";

const env = { FIRST: "the-first-value", SECOND: "the-second-value" };
const folder = () => mkdtempSync(join(tmpdir(), "claimcheck-plan-"));

interface Fields {
  readonly [field: string]: unknown;
}

/** JSON is YAML. */
function runPlan(steps: readonly Fields[], more: readonly string[] = []) {
  const file = join(folder(), "plan.json");
  writeFileSync(file, JSON.stringify({ version: 1, image, steps }));
  return claimcheck(["run", ...more, "--plan", file], { env });
}

const sh = (script: string, fields: Fields = {}) => ({ args: ["sh", "-c", script], ...fields });

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("a step finds the files of those before it, and none of their secrets", async () => {
  const { code, stdout } = await runPlan([
    sh("echo built > /made; echo $A; cat /srv/deep/token", {
      secretEnv: { A: "env://FIRST" },
      secretFiles: [{ path: "/srv/deep/token", uri: "env://SECOND", mode: "0444", owner: "1:1" }],
    }),
    sh("cat /made; echo ${A-unset}; ls -d /srv || echo gone"),
  ]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "***\n***built\nunset\ngone\n" });
});

test("what one step was given is masked in what a later one prints", async () => {
  const { stdout } = await runPlan(
    [
      sh("echo $A > /kept", { secretEnv: { A: "env://FIRST" } }),
      sh("cat /kept; echo $B", { secretEnv: { B: "env://SECOND" } }),
    ],
    ["--no-cache"],
  );
  expect(stdout).toBe("***\n***\n");
});

test("a secret of two steps is one handle with two uses, each on record", async () => {
  const audit = join(folder(), "audit.jsonl");
  const secretEnv = { A: "env://FIRST" };
  const { code } = await runPlan([sh("true", { secretEnv }), sh("true", { secretEnv })], ["--audit", audit]);
  expect(code).toBe(0);
  const records = readFileSync(audit, "utf8")
    .split("\n")
    .filter((line) => line.includes('"env://FIRST"'))
    .map((line) => JSON.parse(line) as { action: string; outcome: string; jti?: string });
  expect(records.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
    "issue issued",
    "check confirmed",
    "redeem released",
    "check confirmed",
    "redeem released",
  ]);
  expect(new Set(records.map(({ jti }) => jti)).size).toBe(1);
});

test("what is wanted of a plan is on standard output alone", async () => {
  const file = join(folder(), "plan.json");
  const steps = [sh("echo first"), sh("echo last; echo beside >&2")];
  writeFileSync(file, JSON.stringify({ version: 1, image, steps, want: "stdout" }));
  const { code, stdout, stderr } = await claimcheck(["run", "--plan", file]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "last\n" });
  expect(stderr.split("\n").filter((line) => /^(first|beside)$/.test(line))).toEqual(["first", "beside"]);
});

test("a step that fails ends the run with its exit code", async () => {
  const { code, stdout, stderr } = await runPlan([sh("exit 7", { name: "compile" }), sh("echo never")]);
  expect({ code, stdout }).toEqual({ code: 7, stdout: "" });
  expect(stderr).toContain("step 1 of 2 (compile) ended with exit code 7");
});

test("a step that moves its files about makes nothing outside be removed or read", async () => {
  const outside = folder();
  writeFileSync(join(outside, "token"), "");
  const { code, stdout } = await runPlan([
    sh(
      `mv /srv/deep /srv/other; ln -s ${outside} /srv/deep; rm -f /etc/passwd; ln -s /etc/shadow /etc/passwd`,
      {
        secretFiles: [{ path: "/srv/deep/token", uri: "env://FIRST" }],
      },
    ),
    sh("id -u", { user: "5" }),
  ]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "5\n" });
  expect(existsSync(join(outside, "token"))).toBe(true);
});

test("what is wrong with a plan is told with its line, all of it, and nothing runs", async () => {
  const file = join(folder(), "plan.yaml");
  writeFileSync(
    file,
    `version: 1
image: ${image}
steps:
  - args: [echo, ran]
    secretenv: { A: env://FIRST }
  - args: [echo, ran]
    network: everywhere
`,
  );
  const { code, stdout, stderr } = await claimcheck(["run", "--plan", file], { env });
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr.replaceAll(`${file}:`, "")).toMatch(
    /^5: steps\[0\]\.secretenv: this field does not exist\n7: steps\[1\]\.network: .*\nclaimcheck: .*\[usage\]\n$/,
  );
});

test.each([
  [["image-too"], "--plan FILE already says what to run"],
  [["-e", "A=b"], "--plan FILE already says what to run"],
])("a plan and %j do not go together", async (more, reason) => {
  const { code, stderr } = await claimcheck(["run", "--plan", "plan.yaml", ...more], { env });
  expect(code).toBe(125);
  expect(stderr).toContain(reason);
});
