/** What a plan made, as an image: tagged, pushed, pulled and run elsewhere, with nothing of the run in it. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { openLayerStore } from "../../executor/layers/layer-store.ts";
import { startSupervisor } from "../../executor/supervisor/supervisor.ts";
import { remains } from "../parts/host.ts";
import { startRegistry, withoutTls } from "../parts/oci-registry.ts";
import { claimcheck, image } from "../support/command.ts";
import { removeImageAfterwards } from "../support/made-image.ts";
import { inOverlay, scratch } from "../support/overlay.ts";

const value = "the-value-of-a-test";
const env = { API_TOKEN: value };
const folder = () => mkdtempSync(join(tmpdir(), "claimcheck-image-"));
const sh = (script: string, fields = {}) => ({ args: ["sh", "-c", script], ...fields });

function planFile(fields: object): string {
  const file = join(folder(), "plan.json");
  writeFileSync(file, JSON.stringify({ version: 1, image, ...fields }));
  return file;
}

const run = (flags: readonly string[], fields: object, more = {}) =>
  claimcheck(["run", ...flags, "--plan", planFile(fields)], { env: { ...env, ...more } });

const images = () => buildah("images", "--quiet", "--all").split("\n").sort();

function buildah(...args: string[]): string {
  return execFileSync("buildah", args, { stdio: ["ignore", "pipe", "pipe"] })
    .toString()
    .trim();
}

afterEach(() => {
  expect(remains()).toEqual([]);
});

const steps = [
  sh(
    "mkdir /app; echo built > /app/result; rm -r /root; adduser -D -u 77 app || echo app:x:77: >> /etc/passwd",
    {
      name: "build",
      secretEnv: { MY_TOKEN: "env://API_TOKEN" },
      secretFiles: [{ path: "/srv/deep/token", uri: "env://API_TOKEN" }],
    },
  ),
  sh("chown 77:77 /app/result; chmod 4750 /app/result; ln /app/result /app/again; mkdir /root"),
];

test("an image is pushed, pulled and run by podman and by claimcheck, and nothing of the run is in it", async () => {
  const registry = await startRegistry();
  const name = `${registry.host}/team/app:1`;
  const configured = withoutTls(registry.host);
  const made = await run(["--tag", "claimcheck-made:1", "--publish", name], { steps }, configured);
  expect(made).toMatchObject({ code: 0, stdout: "" });
  removeImageAfterwards("claimcheck-made:1");
  const look = "cat /app/result; stat -c '%a %u %h' /app/result; ls -A /root; ls /srv || echo no /srv";
  const expected = "built\n4750 77 2\nno /srv\n";
  expect(await claimcheck(["run", "claimcheck-made:1", "sh", "-c", look])).toMatchObject({
    stdout: expected,
  });

  // Away with it here; elsewhere is a storage of its own.
  const elsewhere = folder();
  const podman = (...args: string[]) =>
    execFileSync("podman", ["--root", `${elsewhere}/root`, "--runroot", `${elsewhere}/run`, ...args], {
      env: { ...process.env, ...configured },
      stdio: ["ignore", "pipe", "pipe"],
    }).toString();
  onTestFinished(() => void podman("rmi", "--all", "--force"));
  const limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024", "--network", "none"];
  expect(podman("--runtime", "runc", "run", "--rm", ...limits, name, "sh", "-c", look)).toBe(expected);

  const files = readdirSync(registry.data, { recursive: true, withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  const blobs = files.map(({ parentPath, name: file }) => readFileSync(join(parentPath, file))).map(opened);
  expect(blobs.length).toBeGreaterThan(4);
  const all = Buffer.concat(blobs);
  expect(all.includes("claimcheck: step 1 of 2 (build)")).toBe(true);
  for (const text of [
    value,
    Buffer.from(value).toString("base64").slice(0, -4),
    "MY_TOKEN",
    "API_TOKEN",
    "eyJhbGci",
  ])
    expect({ text, found: all.includes(text) }).toEqual({ text, found: false });
  // What was there to be mounted on.
  expect(all.includes("srv/deep")).toBe(false);
});

test("what the image says of how to run it stays, and each step is a layer with a line of history", async () => {
  const working = buildah("from", "--pull-never", image);
  const config = [
    "--entrypoint",
    '["/bin/echo","of"]',
    "--cmd",
    "the image",
    "--env",
    "A=b",
    "--workingdir",
    "/tmp",
  ];
  buildah("config", ...config, "--user", "nobody", "--label", "l=m", working);
  buildah("commit", "--quiet", "--rm", working, "localhost/claimcheck-first:1");
  removeImageAfterwards("localhost/claimcheck-first:1");
  const first = inspect("localhost/claimcheck-first:1");
  const made = await run(["--tag", "claimcheck-second:1"], {
    image: "localhost/claimcheck-first:1",
    steps: [
      { entrypoint: [], args: ["touch", "/tmp/a"] },
      { entrypoint: [], args: ["touch", "/tmp/b"] },
    ],
  });
  expect(made.code).toBe(0);
  removeImageAfterwards("claimcheck-second:1");
  const second = inspect("claimcheck-second:1");
  expect(second.config).toEqual(first.config);
  expect(second.rootfs.diff_ids.slice(0, -2)).toEqual(first.rootfs.diff_ids);
  expect(second.history.slice(-2).map(({ created_by }) => created_by)).toEqual([
    "claimcheck: step 1 of 2",
    "claimcheck: step 2 of 2",
  ]);
  expect((await claimcheck(["run", "claimcheck-second:1"])).stdout).toBe("of the image\n");
});

test("no image is made of a leak, unless somebody only wants to be warned", async () => {
  const before = images();
  const leaky = { steps: [sh("echo $T > /leak", { secretEnv: { T: "env://API_TOKEN" } }), sh("true")] };
  const failed = await run(["--tag", "claimcheck-leaky:1"], leaky);
  expect(failed).toMatchObject({ code: 125 });
  expect(failed.stderr).toContain("step 1 of 2: T in /leak, line 1 [secret_leaked]");
  const refused = await run(["--tag", "claimcheck-leaky:1", "--on-leak", "no-cache"], leaky);
  expect(refused).toMatchObject({ code: 125 });
  expect(refused.stderr).toContain("a secret is in it [image_not_made]");
  expect(images()).toEqual(before);

  const inHistory = { steps: [sh("true", { name: value, secretEnv: { T: "env://API_TOKEN" } })] };
  const named = await run(["--tag", "claimcheck-leaky:1"], inHistory);
  expect(named).toMatchObject({ code: 125 });
  expect(named.stderr).toContain("T in the image's configuration [secret_leaked]");
  expect(named.stderr).not.toContain(value);
  expect(images()).toEqual(before);

  const warned = await run(["--tag", "claimcheck-leaky:1", "--on-leak", "warn"], leaky);
  expect(warned).toMatchObject({ code: 0 });
  removeImageAfterwards("claimcheck-leaky:1");
});

test("no image is made of what failed, of what others could not unpack, or for a name that is none", async () => {
  const before = images();
  const failed = await run(["--tag", "claimcheck-failed:1"], { steps: [sh("exit 4")] });
  expect(failed.code).toBe(4);
  const sparse = await run(["--tag", "claimcheck-failed:1"], {
    steps: [sh("truncate -s 1099511627776 /sparse")],
  });
  expect(sparse.stderr).toMatch(/1099511627776 bytes of holes.* \[image_not_made\]/);
  const whiteout = await run(["--tag", "claimcheck-failed:1"], { steps: [sh(": > /.wh.etc")] });
  expect(whiteout.stderr).toContain("[invalid_layer]");
  for (const name of ["Upper", "-flag", "a b", "x@sha256:0", ""]) {
    const refused = await run(["--tag", name], { steps: [sh("echo ran")] });
    expect(refused).toMatchObject({ code: 125, stdout: "" });
    expect(refused.stderr).toMatch(/\[(invalid_plan|usage)\]/);
  }
  const unreachable = await run(["--publish", "127.0.0.1:1/a/b:1"], { steps: [sh("true")] });
  expect(unreachable.stderr).toContain("[image_not_made]");
  expect(images()).toEqual(before);
});

test("a layer of the store takes the place of a container, and is held as long", async () => {
  const state = scratch();
  for (const name of ["image", "upper", "run", "runs"]) mkdirSync(join(state, name));
  writeFileSync(join(state, "image", "gone"), "");
  inOverlay("echo made > file; rm gone", [join(state, "image")], join(state, "upper"));
  const environment = { PATH: process.env.PATH ?? "" };
  const store = openLayerStore(join(state, "layers"), { environment });
  const draft = await store.draft(store.changes(join(state, "upper")), join(state, "run"));
  const folder = await store.unpacked((await draft.keep()).digest, join(state, "run"));
  const supervisor = startSupervisor({
    runtime: "runc",
    userns: "own",
    runs: join(state, "runs"),
    layers: [join(state, "image")],
    environment,
  });
  await supervisor.ready();
  await supervisor.put(folder);
  expect(readdirSync(supervisor.rootfs())).toEqual(["file"]);
  const isFree = () => spawnSync("flock", ["--nonblock", "--exclusive", folder, "true"]).status === 0;
  expect(isFree()).toBe(false);
  supervisor.abandon();
  await supervisor.gone;
  expect(isFree()).toBe(true);
});

interface Configuration {
  readonly config: object;
  readonly rootfs: { readonly diff_ids: string[] };
  readonly history: { readonly created_by: string }[];
}

const inspect = (name: string): Configuration =>
  JSON.parse(JSON.parse(buildah("inspect", "--type", "image", name)).Config);

const opened = (blob: Buffer) => (blob[0] === 0x1f && blob[1] === 0x8b ? gunzipSync(blob) : blob);
