/** Which images stay in the storage that buildah and podman share, and which are removed again. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { until } from "../parts/host.ts";
import { withoutTls } from "../parts/oci-registry.ts";
import { startPrivateRegistry, user } from "../parts/private-registry.ts";
import { claimcheck, image as local, printed, start } from "../support/command.ts";
import { ask, type ExecutorHost, planOf, startHost } from "../support/executor.ts";
import { makeImage } from "../support/made-image.ts";

const buildah = (...args: string[]) => execFileSync("buildah", args, { encoding: "utf8" });
const isThere = (name: string) => buildah("images", "--json").includes(`"${name}:latest"`);
const containers = () => buildah("containers", "--noheading", "--notruncate");
const idOf = (name: string) =>
  (JSON.parse(buildah("inspect", "--type", "image", name)) as { FromImageID: string }).FromImageID;

async function startPublished() {
  const password = `claimcheck-${randomBytes(16).toString("hex")}`;
  const registry = await startPrivateRegistry(password);
  const login = ["--registry-auth", `${registry.address}=${user},env://PASSWORD`];
  const env = { ...registry.env, PASSWORD: password };
  return { ...registry, password, login, env };
}

test("an image that a run has used can be removed after it, by whatever tool", async () => {
  for (const [tool, ...remove] of [
    ["buildah", "rmi"],
    ["podman", "rmi"],
  ] as const) {
    const name = makeImage("echo 1 > one", { isRemoved: true });
    const id = idOf(name);
    expect((await claimcheck(["run", name, "cat", "/one"])).stdout).toBe("1\n");
    expect(buildah("containers", "--noheading")).not.toContain(`claimcheck-${id}`);
    execFileSync(tool, [...remove, name]);
    expect((await claimcheck(["run", name, "true"])).code).toBe(125);
  }
});

test("a run whose image is removed under it fails, and says so", async () => {
  const name = makeImage("echo 1 > one", { isRemoved: true });
  const running = start(["run", "--interactive", name, "sh", "-c", "echo up; read line; exit 0"], {
    input: true,
  });
  await printed(running, "up");
  buildah("rmi", name);
  running.child.stdin?.end("go\n");
  const { code, stderr } = await running.finished;
  expect({ code, stderr }).toEqual({ code: 125, stderr: expect.stringContaining("[image_unavailable]") });
  expect(stderr).toContain("was removed from this host while the run used it");
});

test("claimcheck cache prune --images removes what was pulled for runs, but not what a run uses", async () => {
  const { image, login, env } = await startPublished();
  const prune = async () =>
    JSON.parse((await claimcheck(["cache", "prune", "--images", "--format", "json"])).stdout).images as {
      names: string[];
      bytes: number;
    }[];
  const pruned = async () => (await prune()).filter(({ names }) => names.includes(`${image}:latest`));
  const running = start(["run", "--interactive", ...login, image, "sh", "-c", "echo up; read line"], {
    input: true,
    env,
  });
  await printed(running, "up");
  expect(await pruned()).toEqual([]);
  running.child.stdin?.end("go\n");
  expect((await running.finished).code).toBe(0);

  const [removed] = await pruned();
  expect(removed?.bytes).toBeGreaterThan(100_000);
  expect(isThere(image)).toBe(false);
  expect(isThere(local.replace(":latest", ""))).toBe(true);
  expect(await pruned()).toEqual([]);
  // The next run pulls it again.
  expect((await claimcheck(["run", ...login, image, "sh", "-c", "exit 0"], { env })).code).toBe(0);
  // What has got another name meanwhile is somebody's.
  const other = `localhost/claimcheck-test-${randomBytes(4).toString("hex")}:1`;
  buildah("tag", image, other);
  expect(await pruned()).toEqual([]);
  buildah("rmi", other);
  expect(await pruned()).toHaveLength(1);
});

test("an executor removes what was not used for the longest time, and has limits", async () => {
  const [first, second] = [await startPublished(), await startPublished()];
  const host = await startHost({
    fields: "pulledImages: 1k",
    images: [first.image, second.image],
    environment: { FIRST: first.password, SECOND: second.password },
    variables: withoutTls(first.address, second.address),
  });
  const pulled = join(host.state, "images", "pulled");
  expect(await run(host, first, "FIRST")).toBe(0);
  for (const id of readdirSync(pulled)) utimesSync(join(pulled, id), 0, 0);
  expect(await run(host, second, "SECOND")).toBe(0);
  await until(() => host.executor.output.stderr.includes(`removed image ${first.image}:latest`));
  expect(isThere(first.image)).toBe(false);
  expect(isThere(second.image)).toBe(true);
  expect(await run(host, first, "FIRST")).toBe(0);
  first.forget();
  second.forget();
});

async function run(
  host: ExecutorHost,
  { image, address }: { readonly image: string; readonly address: string },
  password: string,
): Promise<unknown> {
  const registryAuth = [{ address, user, password: `env://${password}` }];
  const plan = { ...planOf({ script: "exit 0" }), image, registryAuth };
  const { events, text } = await ask(host.socket, { plan, token: await host.sign("job-1"), cache: false });
  return (events.at(-1) as { code?: unknown } | undefined)?.code ?? text;
}

/**
 * A `buildah` in whose place the host's comes, except that one of its commands waits first: on a FIFO that `go` closes.
 *
 * @param command its first arguments.
 */
function holdBuildah(command: string, last = "exec") {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-buildah-"));
  const [held, gate] = [join(folder, "held"), join(folder, "gate")];
  execFileSync("mkfifo", [gate]);
  const script = `#!/bin/sh
PATH=\${PATH#*:}
case "$*" in "${command}"*) : > ${held}; read line < ${gate}; ${last === "exec" ? "" : "exit 1"} ;; esac
exec buildah "$@"
`;
  writeFileSync(join(folder, "buildah"), script, { mode: 0o755 });
  return {
    env: { PATH: `${folder}:${process.env.PATH}` },
    held: () => until(() => existsSync(held)),
    go: () => writeFileSync(gate, "go\n"),
  };
}

describe("a working container of a run that was killed", () => {
  test("is removed by the next run, of whatever image", async () => {
    const name = makeImage("echo 1 > one");
    const { env, held, go } = holdBuildah("rm claimcheck-", "exit");
    const running = start(["run", name, "true"], { env });
    await held();
    running.child.kill("SIGKILL");
    await running.finished;
    go();
    expect(containers()).toContain(`claimcheck-${idOf(name)}`);
    expect((await claimcheck(["run", local, "sh", "-c", "exit 0"])).code).toBe(0);
    expect(containers()).not.toContain(`claimcheck-${idOf(name)}`);
  });

  test("is removed also where buildah made it only after that", async () => {
    const name = makeImage("echo 1 > one");
    const { env, held, go } = holdBuildah("from ");
    const running = start(["run", name, "true"], { env });
    await held();
    running.child.kill("SIGKILL");
    await once(running.child, "exit");
    // Its buildah still runs: whoever looked for its container now would find none.
    expect((await claimcheck(["run", local, "sh", "-c", "exit 0"])).code).toBe(0);
    go();
    await until(() => containers().includes(`claimcheck-${idOf(name)}`));
    await running.finished;
    expect((await claimcheck(["run", local, "sh", "-c", "exit 0"])).code).toBe(0);
    expect(containers()).not.toContain(`claimcheck-${idOf(name)}`);
  });
});

test("an image whose run is just finding its layers is not removed, nor is its working container", async () => {
  const { image, login, env } = await startPublished();
  const { held, go, env: path } = holdBuildah("rm claimcheck-");
  const running = start(["run", ...login, image, "sh", "-c", "exit 0"], { env: { ...env, ...path } });
  await held();
  await claimcheck(["cache", "prune", "--images"]);
  expect(isThere(image)).toBe(true);
  expect(containers()).toContain(`claimcheck-${idOf(image)}`);
  go();
  expect(await running.finished).toMatchObject({ code: 0 });
  await claimcheck(["cache", "prune", "--images"]);
  expect(isThere(image)).toBe(false);
});

test("of two executors with one storage, neither removes the images and containers that the other one uses", {
  timeout: 180_000, // Three pulls.
}, async () => {
  const [first, second, third] = [await startPublished(), await startPublished(), await startPublished()];
  const host = await startHost({
    fields: "pulledImages: 1k",
    images: [first.image, second.image, third.image],
    environment: { FIRST: first.password, SECOND: second.password, THIRD: third.password },
    variables: withoutTls(first.address, second.address, third.address),
  });
  const pulled = join(host.state, "images", "pulled");
  expect(await run(host, first, "FIRST")).toBe(0);
  expect(await run(host, second, "SECOND")).toBe(0);
  // The command is the other executor: its state is another one's.
  const script = "echo up; read line; exit 0";
  const running = start(["run", "--interactive", first.image, "sh", "-c", script], { input: true });
  await printed(running, "up");
  const own = makeImage("echo 1 > one");
  const { held, go, env } = holdBuildah("rm claimcheck-");
  const asking = start(["run", own, "sh", "-c", "exit 0"], { env });
  await held();

  const firstId = idOf(first.image);
  for (const id of readdirSync(pulled)) utimesSync(join(pulled, id), 0, id === firstId ? 1 : 0);
  expect(await run(host, third, "THIRD")).toBe(0);
  // It goes by age, and has looked at the first one before.
  await until(() => host.executor.output.stderr.includes(`removed image ${second.image}:latest`));
  expect(isThere(first.image)).toBe(true);
  expect(containers()).toContain(`claimcheck-${idOf(own)}`);
  running.child.stdin?.end("go\n");
  go();
  expect((await running.finished).code).toBe(0);
  expect((await asking.finished).code).toBe(0);
  for (const each of [first, third]) each.forget();
});
