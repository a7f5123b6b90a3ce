/** `claimcheck scrub` as a filter in a pipeline. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { printed, start } from "../support/command.ts";
import { found } from "../support/scrub-families.ts";

const token = "ghp_0123456789abcdef";

function filter(args: readonly string[], env: Record<string, string> = {}) {
  return start(["scrub", ...args], { env, input: true });
}

test("values from a variable, a file and a URI are masked, in their encodings too", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-scrub-")), "key");
  writeFileSync(file, "line-one-of-a-file\nline-two-of-a-file\n");
  const running = filter(["--env", "TOKEN", "--secret-file", file, "--uri", "env://OTHER"], {
    TOKEN: token,
    OTHER: "another-value",
  });
  const text = `a ${token} b ${Buffer.from(token).toString("hex")} c another-value d line-two-of-a-file e\n`;
  running.child.stdin?.end(text);
  expect(await running.finished).toEqual({ code: 0, stdout: "a *** b *** c *** d *** e\n", stderr: "" });
});

test("every form that docs/masking.md lists is masked", async () => {
  const hidden = found.filter(({ left }) => left.includes("***"));
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-scrub-"));
  const files = hidden.flatMap(({ value }, i) => {
    writeFileSync(join(folder, `${i}`), value);
    return ["--secret-file", join(folder, `${i}`)];
  });
  const running = filter(files);
  running.child.stdin?.end(hidden.map((family) => `${family.printed}\n\n`).join(""));
  const { code, stdout } = await running.finished;
  expect(code).toBe(0);
  expect(hidden.filter((family) => stdout.includes(family.printed))).toEqual([]);
});

test("what cannot be part of a secret is passed on at once, and a split changes nothing", async () => {
  const running = filter(["--env", "TOKEN"], { TOKEN: token });
  running.child.stdin?.write(`first ${token.slice(0, 9)}`);
  await printed(running, "first ");
  running.child.stdin?.end(`${token.slice(9)} last\n`);
  expect((await running.finished).stdout).toBe("first *** last\n");
});

test.each([
  ["no secret named", [], "usage"],
  ["a missing variable", ["--env", "NOT_THERE"], "secret_not_found"],
  ["a missing file", ["--secret-file", "/no/such/file"], "usage"],
  ["a value too short to mask", ["--env", "SHORT"], "secret_too_short"],
])("%s: nothing is passed on", async (_, args, code) => {
  const running = filter(args, { SHORT: "abc" });
  running.child.stdin?.on("error", () => {}).end("text");
  const finished = await running.finished;
  expect(finished).toMatchObject({ code: 125, stdout: "" });
  expect(finished.stderr).toMatch(new RegExp(`^claimcheck: .*\\[${code}\\]\n$`));
});
