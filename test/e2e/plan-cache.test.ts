/** Plans are cached step by step: what comes after the last result is run on the files that it left. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { filesContaining, remains } from "../parts/host.ts";
import { startRegistry } from "../parts/oci-registry.ts";
import { claimcheck, image } from "../support/command.ts";

const env = { FIRST: "the-first-value", SECOND: "the-second-value" };

interface Fields {
  readonly [field: string]: unknown;
}

const sh = (script: string, fields: Fields = {}) => ({ args: ["sh", "-c", script], ...fields });

/** Another text each time it is run. */
const uuid = "cat /proc/sys/kernel/random/uuid";

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-plan-cache-"));
  const cache = join(folder, "cache");
  const run = (steps: readonly Fields[], ...more: string[]) => {
    const file = join(mkdtempSync(join(folder, "plan-")), "plan.json");
    writeFileSync(file, JSON.stringify({ version: 1, image, steps }));
    return claimcheck(["run", "--cache-dir", cache, ...more, "--plan", file], { env });
  };
  const results = () => (existsSync(join(cache, "results")) ? readdirSync(join(cache, "results")) : []);
  /** As if this were another host. @returns the layers that there were. */
  const moveAway = () => {
    const named = results().flatMap((name) =>
      [...readFileSync(join(cache, "results", name), "latin1").matchAll(/sha256:([0-9a-f]{64})/g)].map(
        ([, hex]) => hex as string,
      ),
    );
    rmSync(cache, { recursive: true });
    for (const hex of named) {
      for (const path of [hex, `${hex}.tar`])
        rmSync(join("/var/lib/claimcheck/layers", path), { recursive: true, force: true });
    }
    return new Set(named);
  };
  return { folder, cache, run, results, moveAway };
}

afterEach(() => {
  expect(remains()).toEqual([]);
});

test("only what comes after the change is run, on the files of what comes before", async () => {
  const { folder, run } = setUp();
  const before = [
    sh(`${uuid} | tee /made; echo old > /gone; mkdir /d; touch /d/old; test -n "$A"`, {
      secretEnv: { A: "env://FIRST" },
    }),
    sh(`${uuid} | tee -a /made; rm -r /gone /d; mkdir /d; touch /d/new`),
  ];
  const last = sh("cat /made; ls /d; test -e /gone || echo none", { secretEnv: { B: "env://SECOND" } });
  const first = await run([...before, last]);
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/^(.{36}\n.{36}\n)\1new\nnone\n$/);

  const audit = join(folder, "audit.jsonl");
  const changed = await run([...before, { ...last, env: { CHANGED: "yes" } }], "--audit", audit);
  expect(changed.stdout).toBe(first.stdout);
  const again = await run([...before, { ...last, env: { CHANGED: "yes" } }], "--runtime", "/nonexistent");
  expect(again).toMatchObject({ code: 0, stdout: first.stdout });
  expect(changed.stderr).toBe(
    "claimcheck: step 1 of 3, cached\nclaimcheck: step 2 of 3, cached\nclaimcheck: step 3 of 3\n",
  );
  const records = readFileSync(audit, "utf8")
    .split("\n")
    .filter((line) => line.includes('"env://'))
    .map((line) => JSON.parse(line) as { action: string; uri: string });
  // The first step's value may be in the files that the last one finds, so it has to be known to be masked.
  expect(records.map(({ action, uri }) => `${action} ${uri}`)).toEqual([
    "issue env://FIRST",
    "issue env://SECOND",
    "check env://FIRST",
    "check env://SECOND",
    // Before each step that is looked for, by the handles as they are then.
    "check env://SECOND",
    "redeem env://FIRST",
    "redeem env://SECOND",
  ]);
});

test("what a cached step hid in its files is masked where a later one brings it to light", async () => {
  const { run } = setUp();
  const hide = sh("echo $A | rev > /hidden", { secretEnv: { A: "env://FIRST" } });
  expect((await run([hide, sh("rev /hidden")])).stdout).toBe("***\n");
  const { stdout, stderr } = await run([hide, sh("rev /hidden; echo again")]);
  expect(stderr).toContain("step 1 of 2, cached");
  expect(stdout).toBe("***\nagain\n");
});

test.each(["fail", "no-cache", "warn"])(
  "with --on-leak %s, what leaked is neither a result nor a layer",
  async (action) => {
    const { run, results } = setUp();
    const leak = sh("echo $A > /kept", { secretEnv: { A: "env://FIRST" } });
    const { code, stdout, stderr } = await run([leak, sh("cat /kept")], "--on-leak", action);
    expect(stderr).toContain("secret_leaked");
    expect({ code, stdout }).toEqual(
      action === "fail" ? { code: 125, stdout: "" } : { code: 0, stdout: "***\n" },
    );
    expect(await filesContaining([env.FIRST], ["/var/lib/claimcheck"])).toEqual([]);
    // The second step left nothing, so its result may be one.
    expect(results().length).toBe(action === "fail" ? 0 : 1);
  },
);

test("by default a leak ends the run before anything is kept", async () => {
  const { run } = setUp();
  const { code, stderr } = await run([sh("echo $A > /kept", { secretEnv: { A: "env://FIRST" } })]);
  expect(code).toBe(125);
  expect(stderr).toContain("secret_leaked");
});

test("two plans at once, in two processes, run each step once", async () => {
  const { run, results } = setUp();
  const steps = [sh(uuid), sh(uuid), sh(uuid)];
  const [one, two] = await Promise.all([run(steps), run(steps)]);
  expect(one.code).toBe(0);
  expect(two.stdout).toBe(one.stdout);
  expect(results()).toHaveLength(3);
});

test("behind a step that cannot be cached nothing is", async () => {
  const { folder, run, results } = setUp();
  const shared = { volumes: [{ source: folder, target: "/mnt" }] };
  const steps = [sh(uuid), sh(uuid, shared), sh(uuid)];
  const [first, second] = [await run(steps), await run(steps)];
  const lines = [first, second].map(({ stdout }) => stdout.split("\n"));
  expect(lines[1]?.map((line, index) => line === lines[0]?.[index])).toEqual([true, false, false, true]);
  expect(results()).toHaveLength(1);
});

test("with --no-cache a plan runs, and keeps nothing", async () => {
  const { run, cache } = setUp();
  const [first, second] = [await run([sh(uuid)], "--no-cache"), await run([sh(uuid)], "--no-cache")];
  expect(second.stdout).not.toBe(first.stdout);
  expect(() => readdirSync(cache)).toThrow();
});

test("what steps left comes from a registry too, and only what is new is run on it", async () => {
  const { host } = await startRegistry();
  const repository = `${host}/acme/plans`;
  const { run, moveAway } = setUp();
  const before = [sh(`${uuid} > /made; ln -s made /link; mkdir /d`), sh("rmdir /d; cat /link")];
  const made = (await run(before, "--cache-to", repository)).stdout;
  expect(moveAway().size).toBe(2);
  const steps = [...before, sh("cat /made; test -e /d || echo gone")];
  const elsewhere = await run(steps, "--cache-from", repository);
  expect(elsewhere).toEqual({
    code: 0,
    stdout: `${made}${made}gone\n`,
    stderr: "claimcheck: step 1 of 3, cached\nclaimcheck: step 2 of 3, cached\nclaimcheck: step 3 of 3\n",
  });
  expect((await run(steps, "--runtime", "/nonexistent")).stdout).toBe(elsewhere.stdout);
});

test("a layer that was changed in a registry is not believed, and its step is run again", async () => {
  const { host, data } = await startRegistry();
  const repository = `${host}/acme/plans`;
  const { run, moveAway } = setUp();
  const before = sh(`${uuid} | tee /made`);
  const made = (await run([before], "--cache-to", repository)).stdout;
  for (const hex of moveAway()) {
    const blob = join(data, "docker/registry/v2/blobs/sha256", hex.slice(0, 2), hex, "data");
    writeFileSync(blob, readFileSync(blob, "latin1").replace(made, made.replace(/^./, "x")), "latin1");
  }
  const { stdout, stderr } = await run([before, sh("cat /made")], "--cache-from", repository);
  expect(stderr).toContain(`claimcheck: a layer at ${repository} is not authentic\n`);
  expect(stdout).toMatch(/^(.{36}\n)\1$/);
  expect(stdout).not.toContain(made);
});
