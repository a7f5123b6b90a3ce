/** The root key of a user's embedded broker, in the user's state folder. */
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { start } from "../support/command.ts";

let home: string;
let key: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "claimcheck-state-"));
  key = join(home, "claimcheck", "root-key");
});

/** The cheapest command that asks an embedded broker for something. */
async function scrub() {
  const running = start(["scrub", "--env", "TOKEN"], {
    env: { XDG_STATE_HOME: home, TOKEN: "a-value" },
    input: true,
  });
  running.child.stdin?.on("error", () => {}).end("text\n");
  return running.finished;
}

test("it is made once, whole, and for its owner alone, also by many at once", async () => {
  const all = await Promise.all([1, 2, 3, 4].map(scrub));
  expect(all.map(({ code }) => code)).toEqual([0, 0, 0, 0]);
  expect(readdirSync(join(home, "claimcheck"))).toEqual(["root-key"]);
  expect(statSync(key).mode & 0o777).toBe(0o600);
  const made = readFileSync(key);
  expect(made).toHaveLength(32);
  await scrub();
  expect(readFileSync(key).equals(made)).toBe(true);
});

test.each([
  ["others can read it", () => chmodSync(key, 0o644)],
  ["it is cut short", () => writeFileSync(key, "short")],
])("it is refused when %s", async (_, spoil) => {
  await scrub();
  spoil();
  const { code, stdout, stderr } = await scrub();
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(/^claimcheck: .*root-key.*\[state_unusable\]\n$/);
});

test("a state folder that cannot be had is one line", async () => {
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "claimcheck"), "a file");
  expect((await scrub()).stderr).toMatch(/ENOTDIR.*\[state_unusable\]\n$/);
});
