/** `claimcheck run --cache`: what was made before is not made again, and what is given out is what was printed. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { filesContaining, remains } from "../parts/host.ts";
import { startRegistry } from "../parts/oci-registry.ts";
import { claimcheck, image, printed, start } from "../support/command.ts";

const secret = "the-value-of-the-token";
const env = { TOKEN: secret };
const folder = () => mkdtempSync(join(tmpdir(), "claimcheck-cache-"));

/** Prints something else each time it is run, and bytes that are easily lost on both streams. */
const script = "cat /proc/sys/kernel/random/uuid; printf '%s\\r\\n\\0' $TOKEN; printf 'no line end' >&2";

const command = (cache: string, what = script, flags: readonly string[] = []) => [
  ...["run", "--cache", "--cache-dir", cache, "--secret-env", "TOKEN=env://TOKEN"],
  ...flags,
  ...[image, "sh", "-c", what],
];

const run = (cache: string, what?: string, flags?: readonly string[]) =>
  claimcheck(command(cache, what, flags), { env });

function decisions(audit: string): string[] {
  const lines = readFileSync(audit, "utf8").trim().split("\n");
  const records = lines.map((line) => JSON.parse(line) as Record<string, string>);
  return records
    .filter(({ type }) => type === "decision")
    .map(({ action, outcome }) => `${action} ${outcome}`);
}

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("a hit is what the run was, without a container and without a redemption", async () => {
  const cache = folder();
  const audit = join(cache, "audit.jsonl");
  const first = await run(cache, script, ["--audit", audit]);
  expect(first).toMatchObject({ code: 0, stderr: "no line end" });
  expect(first.stdout).toMatch(/^[0-9a-f-]{36}\n\*\*\*\r\n\0$/);
  expect(await run(cache, script, ["--audit", audit, "--runtime", "/nonexistent"])).toEqual(first);
  expect(decisions(audit)).toEqual([
    "issue issued",
    "check confirmed",
    "redeem released",
    "issue issued",
    "check confirmed",
  ]);
  expect(await filesContaining([secret], [cache])).toEqual([]);
});

test("without --cache a run is a run", async () => {
  const cache = folder();
  const first = await run(cache);
  const again = await claimcheck(
    command(cache).filter((word) => word !== "--cache"),
    { env },
  );
  expect(again.stdout).not.toBe(first.stdout);
  expect(again.code).toBe(0);
});

test("two at once, in two processes, run once", async () => {
  const cache = folder();
  const [one, two] = await Promise.all([run(cache), run(cache)]);
  expect(two.stdout).toBe(one.stdout);
  expect(readdirSync(join(cache, "results"))).toHaveLength(1);
});

test("what failed runs again", async () => {
  const cache = folder();
  const failing = "cat /proc/sys/kernel/random/uuid; exit 3";
  const [one, two] = [await run(cache, failing), await run(cache, failing)];
  expect([one.code, two.code]).toEqual([3, 3]);
  expect(two.stdout).not.toBe(one.stdout);
});

test("what a signal cut short runs again, although it ended well", async () => {
  const cache = folder();
  const patient = "trap 'exit 0' TERM; echo ready; while :; do :; done";
  const first = start(command(cache, patient), { env });
  await printed(first, "ready");
  first.child.kill("SIGTERM");
  expect((await first.finished).code).toBe(0);
  expect((await claimcheck(["cache", "ls", "--cache-dir", cache])).stdout).toBe("");
});

test("what nobody read to the end runs again", async () => {
  const cache = folder();
  const long = "trap '' PIPE; echo begun; while echo more 2>/dev/null; do :; done; true";
  const first = start(command(cache, long), { env });
  await printed(first, "begun");
  first.child.stdout?.destroy();
  expect((await first.finished).code).toBe(0);
  expect((await claimcheck(["cache", "ls", "--cache-dir", cache])).stdout).toBe("");
});

test("executors share results through a registry", async () => {
  const { host } = await startRegistry();
  const repository = `${host}/acme/results`;
  const first = await run(folder(), script, ["--cache-to", repository]);
  expect(first).toMatchObject({ code: 0, stderr: "no line end" });
  const elsewhere = folder();
  const flags = ["--cache-from", repository, "--runtime", "/nonexistent"];
  expect(await run(elsewhere, script, flags)).toEqual(first);
  expect((await run(elsewhere, script, ["--cache-from", "no/../name"])).stderr).toContain("[usage]");
});

test("a result that was changed is said to be, and made again", async () => {
  const cache = folder();
  const first = await run(cache);
  const [key = ""] = readdirSync(join(cache, "results"));
  const file = join(cache, "results", key);
  const changed = readFileSync(file, "latin1").replace("no line end", "no such end");
  writeFileSync(file, changed, "latin1");
  const again = await run(cache);
  expect(again.stdout).not.toBe(first.stdout);
  expect(again.stderr).toBe(
    `claimcheck: the cached result ${key.slice(0, 12)} is damaged; the step runs again\nno line end`,
  );
  expect(await run(cache)).toEqual({ ...again, stderr: "no line end" });
});

test("results can be listed and removed", async () => {
  const cache = folder();
  await run(cache);
  const { stdout } = await claimcheck(["cache", "ls", "--cache-dir", cache]);
  expect(stdout).toMatch(new RegExp(`^[0-9a-f]{12}  \\S+Z  \\d+  ${image}\\n$`));
  const size = /(\d+) {2}\S+\n$/.exec(stdout)?.[1];
  const pruned = await claimcheck(["cache", "prune", "--cache-dir", cache]);
  expect(pruned.stdout).toBe(`removed 1 results, ${size} bytes\n`);
  expect((await claimcheck(["cache", "ls", "--cache-dir", cache])).stdout).toBe("");
});

test("a limit leaves what was used last", async () => {
  const cache = folder();
  await run(cache, "echo 1");
  // Enough for one result and its layer, in which nothing is.
  await run(cache, "echo 2", ["--cache-size", "3000"]);
  expect(readdirSync(join(cache, "results"))).toHaveLength(1);
  expect((await run(cache, "echo 2", ["--runtime", "/nonexistent"])).code).toBe(0);
});

test("why a step is not cached is said to whoever asked for it", async () => {
  const { stderr } = await run(folder(), "true", ["-v", "/tmp:/mnt:ro"]);
  expect(stderr).toBe("claimcheck: not cached, because it shares files of this host\n");
});
