/** One chain, every front end: each makes the same bytes of it, those in test/vectors/chains/. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { PlanDocument } from "../../executor/plan/document.ts";
import type { Plan } from "../../sdk/typescript/claimcheck.ts";
import { makeChains } from "../chains/chains.ts";
import { chains as coreChains } from "../chains/core.ts";
import { entry } from "../support/command.ts";
import { goModule, needPython, pythonSources, withoutGo } from "../support/front-ends.ts";

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const vectors = path("../vectors/chains");
const vectorOf = (name: string) => readFileSync(join(vectors, name), "utf8").trimEnd();
const names = readdirSync(vectors);
/** By their chains' names; what goes beside one, by that name and `_values`. */
const plans = Object.fromEntries(
  names.filter((name) => name.endsWith(".plan")).map((name) => [name.replace(".plan", ""), vectorOf(name)]),
);
const requests = {
  ...plans,
  ...Object.fromEntries(
    names.filter((name) => name.endsWith(".values")).map((name) => [name.replace(".", "_"), vectorOf(name)]),
  ),
};
const { set_secret: _, registry_auth: __, ...plansOfCore } = plans;

/** What the chains copy, in the current folder of whoever builds them. */
const folder = mkdtempSync(join(tmpdir(), "claimcheck-chains-"));
mkdirSync(join(folder, "folder/below"), { recursive: true });
for (const [name, content, mode] of [
  ["tool.sh", "#!/bin/sh\n", 0o755],
  ["empty", "", 0o644],
  [
    ".env",
    '# all of it\nA=first\r\n export  B = \'it"s\n#1 \' # two lines\nC="gone"\n\nD=\nE=\u00c3\u00bf\\n=\nA="la\\"st"\n',
    0o600,
  ],
  ["folder/B", "after a in some orders", 0o640],
  ["folder/a", "bytes: \0\xff", 0o644],
  ["folder/below/é", "", 0o444],
] as const) {
  writeFileSync(join(folder, name), Buffer.from(content, "latin1"));
  chmodSync(join(folder, name), mode);
}
chmodSync(join(folder, "folder"), 0o755);
chmodSync(join(folder, "folder/below"), 0o700);
symlinkSync("below/é", join(folder, "folder/link"));

const run = (program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, cwd = folder) =>
  execFileSync(program, args, { cwd, env: { ...process.env, ...env }, encoding: "utf8" });

/** A program's lines: names, tabs, plans. */
const byName = (printed: string) =>
  Object.fromEntries(
    printed
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split("\t")),
  );

const claimcheck = (...args: string[]) => run(process.execPath, [entry, ...args]).trimEnd();

describe("the plans of one chain are the same bytes", () => {
  test("in TypeScript", () => {
    const back = process.cwd();
    process.chdir(folder);
    try {
      const made = Object.entries(makeChains()).flatMap(([name, [chain, want, options]]) => {
        const { plan, values } = chain.request(want, options);
        const beside = values ? [[`${name}_values`, JSON.stringify(values)]] : [];
        return [[name, JSON.stringify(plan)], ...beside];
      });
      expect(Object.fromEntries(made)).toEqual(requests);
    } finally {
      process.chdir(back);
    }
  });

  test("in the shell", () => {
    const scripts = readdirSync(path("../chains/shell"));
    const made = scripts.map((name) => [
      name,
      claimcheck("shell", "--print-plan", path(`../chains/shell/${name}`)),
    ]);
    expect(Object.fromEntries(made)).toEqual(plans);
  });

  test("on the command line", () => {
    const made = Object.entries(coreChains).map(([name, words]) => [
      name,
      claimcheck("core", "--print-plan", ...words),
    ]);
    expect(Object.fromEntries(made)).toEqual(plansOfCore);
  });

  test("in Python", () => {
    needPython();
    const printed = run("python3", [path("../chains/chains.py")], { PYTHONPATH: pythonSources });
    expect(byName(printed)).toEqual(requests);
  });

  test.skipIf(withoutGo)(withoutGo ?? "in Go", () => {
    const program = join(folder, "chains");
    run("go", ["build", "-o", program, "./internal/chains"], {}, goModule);
    expect(byName(run(program, []))).toEqual(requests);
  });
});

test("the packages have one version", () => {
  const { version } = JSON.parse(readFileSync(path("../../package.json"), "utf8"));
  expect(readFileSync(path("../../sdk/python/pyproject.toml"), "utf8")).toContain(
    `\nversion = "${version}"\n`,
  );
});

describe("the tests of its own language pass", () => {
  test("in Python", () => {
    needPython();
    run("python3", ["-m", "unittest", "discover", "-s", join(pythonSources, "../tests")], {
      PYTHONPATH: pythonSources,
    });
  });

  test.skipIf(withoutGo)(withoutGo ?? "in Go", () => {
    run("go", ["vet", "./..."], {}, goModule);
    run("go", ["test", "./..."], {}, goModule);
  });
});

test.each(Object.entries(plans))("%s is a plan as the executor knows it", (_, text) => {
  const plan: Plan = JSON.parse(text);
  expect(PlanDocument.parse(plan)).toEqual(plan);
});
