/** What `claimcheck shell` and `claimcheck core` say without running anything, above all when a chain is wrong. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { verbs } from "../../bin/chain/verbs.ts";
import { claimcheck } from "../support/command.ts";

const file = join(mkdtempSync(join(tmpdir(), "claimcheck-shell-")), "pipeline");

async function shell(script: string) {
  writeFileSync(file, script);
  return claimcheck(["shell", file]);
}

const usage = (detail: string) => ({
  code: 125,
  stdout: "",
  stderr: `claimcheck: The command line is invalid: ${detail} [usage]\n`,
});

const noPlaintext =
  "a secret has no plaintext here: the executor gets the value when the container starts, and only the container sees it";

describe("an error points at the word", () => {
  test.each([
    [
      "container |\n  with-exce x | stdout",
      "line 2, column 3: this is not a verb; claimcheck shell --help lists them",
    ],
    ["from a", "line 1, column 1: from follows a chain, which begins with container"],
    ["container | container", "line 1, column 13: container does not follow a container"],
    ["container | from a b", "line 1, column 20: from takes no more than this"],
    ["container | from", "line 1, column 13: from needs its address"],
    ["container | from --adress a", "line 1, column 18: from does not have this flag; it has --address"],
    ["container | from --address a --address b", "line 1, column 30: --address appears twice"],
    ["container | from --address", "line 1, column 18: --address takes a value"],
    [
      "container | from a | with-exec b",
      "line 1, column 22: the chain asks for no result; end it with stdout, stderr, exit-code, sync or publish",
    ],
    ["container | from a | stdout", "line 1, column 22: the chain runs no command that could have a result"],
    ["container | with-exec a | stdout", "line 1, column 27: the chain has no image to start from"],
    ["container | from a | with-exec b | stdout | sync", "line 1, column 45: nothing follows a result"],
    [
      "container | from $(secret env://A)",
      "line 1, column 18: a secret cannot be used here: its text is not available",
    ],
    [
      "container | from a | with-user $(from b)",
      "line 1, column 34: only a secret can be used here: write $(secret URI)",
    ],
    [
      "container | from a | with-exec --network moon b",
      "line 1, column 22: a network is one of none, bridge, host",
    ],
    ["secret env://A | plaintext", `line 1, column 18: ${noPlaintext}`],
    [
      "secret env://A | stdout",
      "line 1, column 18: stdout does not follow a secret: a secret offers only its name",
    ],
  ])("%j", async (script, detail) => expect(await shell(script)).toEqual(usage(detail)));

  test("of a file that is not there", async () => {
    const { stderr } = await shell("container | from a | with-file /x /not/there | with-exec b | sync");
    expect(stderr).toContain("line 1, column 62: ENOENT");
  });

  test("of a command line", async () => {
    expect(await claimcheck(["core", "container", "from", "--addres=a"])).toEqual(
      usage("argument 3: from does not have this flag; it has --address"),
    );
    expect(await claimcheck(["core", "container", "from", "a"])).toEqual(
      usage("argument 2: from needs its address"),
    );
    expect(await claimcheck(["core", "secret", "--uri=env://A", "plaintext"])).toEqual(
      usage(`argument 3: ${noPlaintext}`),
    );
    expect(
      await claimcheck(["core", "container", "from", "--address=a", "with-exec", '--args="a"b']),
    ).toEqual(usage("argument 5: a list has commas between its items, and quotes around all of an item"));
  });
});

test("a secret is its name", async () => {
  expect(await shell("secret env://A?cacheKey=k; set-secret token hunter2 | name")).toEqual({
    code: 0,
    stdout: "env://A\ntoken\n",
    stderr: "",
  });
});

test("nothing runs before all of it is understood", async () => {
  const { stdout } = await shell("secret env://A\nsecret");
  expect(stdout).toBe("");
});

test.each([["-c", "set-secret token hunter2"], ["core"]])(
  "a value has no place in what others can read: %s",
  async (...how) => {
    const args =
      how[0] === "core" ? ["core", "set-secret", "--name=a", "--value=hunter2"] : ["shell", ...how];
    const { code, stderr } = await claimcheck(args);
    expect(code).toBe(125);
    expect(stderr).toContain("others can read a command line");
    expect(stderr).not.toContain("hunter2");
  },
);

test("the help lists all verbs", async () => {
  const { stdout } = await claimcheck(["shell", "--help"]);
  const shown = [...stdout.matchAll(/^ {2}([\w-]+)(?: .*)?\n {6}(.+)$/gm)].map(([, name, summary]) => ({
    name,
    summary,
  }));
  for (const { name, summary } of verbs) expect(shown).toContainEqual({ name, summary });
});
