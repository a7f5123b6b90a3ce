import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { fileProvider } from "../../../../broker/providers/file.ts";
import { createResolver } from "../../../../broker/resolve/resolver.ts";
import { reader } from "../../../support/provider.ts";
import { refusalOf } from "../../../support/refusal.ts";

const folder = mkdtempSync(join(tmpdir(), "claimcheck-file-"));
const [root, other] = [join(folder, "root"), join(folder, "other")];
for (const path of [root, other, join(root, "deep")]) mkdirSync(path);
const write = (path: string, value: string | Uint8Array) => {
  writeFileSync(join(folder, path), value);
  return `file://${join(folder, path)}`;
};
const token = write("root/token", "guessme\n");
const outside = write("other/secret", "sesame");

afterAll(() => rmSync(folder, { recursive: true }));

const settings = { home: root, workingDirectory: root };
const provider = (given: Partial<Parameters<typeof fileProvider>[0]>) =>
  fileProvider({ ...settings, roots: [], ...given });
const everywhere = reader(fileProvider({ ...settings, roots: "everywhere" }));
const confined = reader(fileProvider({ ...settings, roots: [{ folder: root }] }));

describe("file:// reads", () => {
  test.each([
    ["an absolute path", token],
    ["a path in the home folder", "file://~/token"],
    ["a path relative to the working directory", "file://token"],
  ])("%s, byte for byte and nothing trimmed: %s", async (_, uri) => {
    expect(await everywhere.read(uri)).toEqual(["guessme\n"]);
    expect(everywhere.parse(uri).canonical).toBe(token);
  });

  test("512 KiB of random bytes as they are", async () => {
    const bytes = randomBytes(512 * 1024);
    expect(await everywhere.read(write("root/binary", bytes))).toEqual([bytes.toString("latin1")]);
  });

  test("an empty file as an empty secret", async () => {
    expect(await everywhere.read(write("root/empty", ""))).toEqual([""]);
  });

  test("a file without a size", async () => {
    const [read] = await everywhere.read("file:///proc/self/cmdline");
    expect(read).toContain("node");
  });

  test("exactly 1 MiB, and not a byte more, of what has a size and of what has none", async () => {
    const uri = write("root/large", new Uint8Array(1024 * 1024));
    expect((await everywhere.read(uri))[0]).toHaveLength(1024 * 1024);
    truncateSync(join(root, "large"), 1024 * 1024 + 1);
    expect(await everywhere.read(`${uri}?ttl=0`, "file:///proc/kallsyms")).toMatchObject([
      { code: "secret_too_large" },
      { code: "secret_too_large" },
    ]);
  });
});

describe("file:// refuses", () => {
  test("what is not there, with its path", async () => {
    expect(await everywhere.read("file:///etc/no-such-file", `${token}/below`)).toEqual([
      { code: "secret_not_found", detail: "file:///etc/no-such-file does not exist" },
      { code: "secret_not_found", detail: `${token}/below does not exist` },
    ]);
  });

  test("what is not a regular file, and waits for none of it", async () => {
    execFileSync("mkfifo", [join(root, "fifo")]);
    const server = createServer().listen(join(root, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    const paths = [join(root, "fifo"), join(root, "socket"), join(root, "deep"), "/dev/zero", "/dev/tty"];
    for (const result of await everywhere.read(...paths.map((path) => `file://${path}`))) {
      expect(result).toMatchObject({ code: "provider_failed" });
    }
    server.close();
  });

  test.each([
    "",
    "/",
    "//etc/hosts",
    "/etc//hosts",
    "/etc/hosts/",
    "/etc/./hosts",
    "/etc/../etc/hosts",
    "./token",
    "../token",
    "..",
    "~",
    "~/",
    "~root/token",
    "~/../token",
    "/etc/%2e%2e/hosts",
    "/etc/ho%73ts",
    "/etc/hosts\0",
    "/etc/hosts\n",
    "/etc/ho\u0085sts",
    "/etc/\ud800",
    "/etc/hosts?x=y",
  ])("the spelling %j", async (path) => {
    expect(await refusalOf(() => everywhere.parse(`file://${path}`))).toMatchObject({ code: "invalid_uri" });
  });
});

describe("within roots, file://", () => {
  const denied = { code: "provider_denied" };

  test("reads what lies there, also through a link that stays there, and names what it read", async () => {
    symlinkSync("token", join(root, "link"));
    symlinkSync(root, join(folder, "root-link"));
    const linked = reader(fileProvider({ ...settings, roots: [{ folder: join(folder, "root-link") }] }));
    expect(await confined.read(token, `file://${root}/link`)).toEqual(["guessme\n", "guessme\n"]);
    expect(await linked.read(`file://${folder}/root-link/token`)).toEqual(["guessme\n"]);
    for (const path of [`${root}/link`, `${folder}/root-link/token`]) {
      const located = await createResolver([
        provider({ roots: [{ folder: join(folder, "root-link") }] }) as never,
      ]).locate("acme", linked.parse(`file://${path}?ttl=0`));
      expect(located).toMatchObject({ canonical: token, maxAge: 0 });
    }
  });

  test("denies what lies elsewhere, there or not, also beside a root of a similar name", async () => {
    mkdirSync(join(folder, "root-2"));
    const beside = write("root-2/token", "sesame");
    expect(await confined.read(outside, "file:///no/such/file", beside, `file://${root}`)).toMatchObject(
      Array(4).fill(denied),
    );
  });

  test("denies what a link leads out to: of the file, of a folder, of /proc", async () => {
    symlinkSync(join(other, "secret"), join(root, "out"));
    symlinkSync(other, join(root, "folder-out"));
    symlinkSync("/proc/self/root", join(root, "proc"));
    const paths = ["out", "folder-out/secret", `proc${other}/secret`];
    expect(await confined.read(...paths.map((path) => `file://${root}/${path}`))).toMatchObject(
      Array(3).fill(denied),
    );
  });

  test("denies what a link leads to in another root, of the file and of a folder, also in a root within it", async () => {
    const inner = join(root, "inner");
    mkdirSync(inner);
    write("root/inner/key", "sesame");
    symlinkSync(join(other, "secret"), join(root, "to-other"));
    symlinkSync(other, join(root, "other-folder"));
    symlinkSync("inner/key", join(root, "to-inner"));
    symlinkSync("../token", join(inner, "to-outer"));
    const several = reader(provider({ roots: [root, other, inner].map((each) => ({ folder: each })) }));
    const paths = ["to-other", "other-folder/secret", "to-inner", "inner/to-outer"];
    expect(await several.read(...paths.map((path) => `file://${root}/${path}`))).toMatchObject(
      Array(4).fill(denied),
    );
    expect(await several.read(outside, `file://${inner}/key`)).toEqual(["sesame", "sesame"]);
  });

  test("denies a file with another name, unless its root allows that", async () => {
    linkSync(join(other, "secret"), join(root, "hard"));
    onTestFinished(() => unlinkSync(join(root, "hard")));
    const allowing = reader(provider({ roots: [{ folder: root, hardLinks: true }, { folder: other }] }));
    const [hard, own] = [`file://${root}/hard`, outside];
    expect(await allowing.read(hard, own)).toMatchObject(["sesame", denied]);
    const [refused] = await confined.read(hard);
    expect(refused).toMatchObject({
      ...denied,
      detail: expect.stringContaining("several names (hard links)"),
    });
  });

  test("never reads from a closed folder, nor from /proc, /sys and /dev", async () => {
    const all = reader(provider({ roots: [{ folder: "/" }], closed: [join(folder, "closed")] }));
    mkdirSync(join(folder, "keys"));
    symlinkSync(join(folder, "keys"), join(folder, "closed"));
    const key = write("keys/root-key", "sesame");
    const paths = ["/proc/self/environ", "/proc/self/cmdline", "/sys/kernel/uevent_seqnum", "/dev/shm/x"];
    const uris = [key, ...paths.map((path) => `file://${path}`)];
    writeFileSync("/dev/shm/x", "sesame");
    onTestFinished(() => unlinkSync("/dev/shm/x"));
    expect(await all.read(...uris)).toMatchObject(Array(5).fill(denied));
    expect(await all.read(outside)).toEqual(["sesame"]);
  });

  test("does not read what a located path has become a link to", async () => {
    const made = provider({ roots: [{ folder: root }] });
    const located = await made.locate!(made.parse(join(root, "token"), new Map()));
    renameSync(join(root, "token"), join(root, "away"));
    symlinkSync("away", join(root, "token"));
    const [read] = await made.read([located], AbortSignal.timeout(1000), "acme");
    unlinkSync(join(root, "token"));
    renameSync(join(root, "away"), join(root, "token"));
    expect(read).toMatchObject(denied);
  });

  test("denies everything where there is no root", async () => {
    expect(await reader(fileProvider({ ...settings, roots: [] })).read(token)).toMatchObject([denied]);
  });

  test("never gives out what lies elsewhere while somebody swaps a folder for a link", async () => {
    mkdirSync(join(root, "swap"));
    write("root/swap/secret", "inside");
    symlinkSync(other, join(root, "swap-link"));
    // renameat2 of both at once is not to be had from Node.js: two renames, as fast as they go.
    const swapper = new Worker(
      `const { renameSync } = require("node:fs");
       const { workerData: root, parentPort } = require("node:worker_threads");
       let over = false;
       parentPort.on("message", () => { over = true; });
       const swap = () => {
         for (let n = 0; n < 50; n++) {
           renameSync(root + "/swap", root + "/aside");
           renameSync(root + "/swap-link", root + "/swap");
           renameSync(root + "/swap", root + "/swap-link");
           renameSync(root + "/aside", root + "/swap");
         }
         over ? process.exit() : setImmediate(swap);
       };
       swap();`,
      { eval: true, workerData: root },
    );
    const seen = new Set<string>();
    for (let nth = 0; nth < 3000; nth++) {
      const [got] = await confined.read(`file://${root}/swap/secret?ttl=0`);
      seen.add(typeof got === "string" ? got : got!.code);
    }
    swapper.postMessage("stop");
    await new Promise((resolve) => swapper.once("exit", resolve));
    expect(seen).toContain("inside");
    expect(seen).not.toContain("sesame");
  });
});
