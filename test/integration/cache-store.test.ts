/** Results on this host: whole or not there, made once, and gone when others were used more lately. */
import { type ChildProcess, spawn } from "node:child_process";
import { createSecretKey } from "node:crypto";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import type { CachedResult } from "../../executor/cache/entry.ts";
import { openKeptLayers } from "../../executor/cache/kept-layers.ts";
import { prune } from "../../executor/cache/pruning.ts";
import { openStore } from "../../executor/cache/store.ts";
import { openLayerStore } from "../../executor/layers/layer-store.ts";

const macKey = createSecretKey(Buffer.alloc(32));
const forever = new AbortController().signal;
const key = "a".repeat(64);
const other = "b".repeat(64);

const result: CachedResult = {
  image: "build",
  layers: [`sha256:${"1".repeat(64)}`],
  stdout: Buffer.from([0, 10, 255, 13, 10]),
  stderr: Buffer.from("warning\n\n"),
};

function setUp() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-cache-"));
  const spoilt: string[] = [];
  const store = openStore(folder, { macKey, onSpoilt: (which) => spoilt.push(which) });
  const put = async (which: string, what: CachedResult = result) => {
    const lease = await store.claim(which, forever);
    await lease.put(what);
    await lease.release();
  };
  return { folder, spoilt, store, put, file: join(folder, "results", key) };
}

/** A process that makes a result; it reads orders, and says one word after the other. */
function maker(folder: string, { size = 10, prefix = [] as string[] } = {}) {
  const script = fileURLToPath(new URL("../support/cache-maker.ts", import.meta.url));
  const [program = "", ...args] = [...prefix, process.execPath, script, folder, key, String(size)];
  const child: ChildProcess = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const words = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    child,
    order: () => child.stdin!.write("\n"),
    word: async () => (await words.next()).value as string | undefined,
    async kill() {
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}

test("what was put is found, byte for byte", async () => {
  const { store, put } = setUp();
  await put(key);
  expect(await store.find(key)).toEqual(result);
  expect(await store.find(other)).toBeUndefined();
});

test("both streams may be empty", async () => {
  const { store, put } = setUp();
  const silent = { ...result, layers: [], stdout: Buffer.of(), stderr: Buffer.of() };
  await put(key, silent);
  expect(await store.find(key)).toEqual(silent);
});

test("nobody else can read what is there, and nothing else is left", async () => {
  const { folder, put, file } = setUp();
  await put(key);
  expect([statSync(file).mode & 0o077, statSync(join(folder, "results")).mode & 0o077]).toEqual([0, 0]);
  expect([...readdirSync(join(folder, "drafts")), ...readdirSync(join(folder, "locks"))]).toEqual([]);
});

test.each<[string, (file: string) => void]>([
  ["cut by a byte", (file) => truncateSync(file, readFileSync(file).length - 1)],
  ["cut to nothing", (file) => truncateSync(file, 0)],
  ["cut in its first line", (file) => truncateSync(file, 20)],
  ["longer by a byte", (file) => writeFileSync(file, "x", { flag: "a" })],
  ["another in its output", (file) => change(file, "warning", "WARNING")],
  ["another in its layers", (file) => change(file, "111", "222")],
  ["cut elsewhere between its streams", (file) => change(file, '"stdout":5', '"stdout":6')],
])("a result that is %s is none, and is said to be spoilt", async (_, spoil) => {
  const { store, put, spoilt, file } = setUp();
  await put(key);
  spoil(file);
  expect(await store.find(key)).toBeUndefined();
  expect(spoilt).toEqual([key]);
  expect(existsSync(file)).toBe(false);
});

function change(file: string, from: string, to: string): void {
  const text = readFileSync(file, "latin1");
  expect(text).toContain(from);
  writeFileSync(file, text.replace(from, to), "latin1");
}

test("another key's result is none", async () => {
  const { store, put, spoilt, file } = setUp();
  await put(other);
  copyFileSync(file.replace(key, other), file);
  expect(await store.find(key)).toBeUndefined();
  expect(spoilt).toEqual([key]);
});

test("a result that somebody made without the key is none", async () => {
  const { folder, put, spoilt } = setUp();
  await put(key);
  const strange = openStore(folder, {
    macKey: createSecretKey(Buffer.alloc(32, 1)),
    onSpoilt: (which) => spoilt.push(which),
  });
  expect(await strange.find(key)).toBeUndefined();
  expect(spoilt).toEqual([key]);
});

test("looking at a result that another root key vouches for leaves it there", async () => {
  const { folder, put, store } = setUp();
  await put(key);
  const strange = openStore(folder, { macKey: createSecretKey(Buffer.alloc(32, 1)), onSpoilt: () => {} });
  expect(await strange.read(key)).toBeUndefined();
  expect(await store.find(key)).toEqual(result);
});

test("who comes second waits, and finds what the first has made", async () => {
  const { folder, store } = setUp();
  const first = maker(folder);
  expect(await first.word()).toBe("held");
  const second = store.claim(key, forever);
  first.order();
  expect(await first.word()).toBe("kept");
  const found = await store.find(key);
  expect(await Promise.race([second, Promise.resolve("waiting")])).toBe("waiting");
  first.child.stdin!.end();
  const lease = await second;
  expect(found?.image).toBe("made");
  await lease.release();
});

test("who waits for somebody who is killed has the right next", async () => {
  const { folder, store } = setUp();
  const first = maker(folder);
  expect(await first.word()).toBe("held");
  const second = store.claim(key, forever);
  await first.kill();
  const lease = await second;
  expect(await store.find(key)).toBeUndefined();
  await lease.put(result);
  await lease.release();
  expect(await store.find(key)).toEqual(result);
});

test("of many at once, one at a time has the right", async () => {
  const { store, folder } = setUp();
  let holding = 0;
  const turns = async () => {
    // Who comes again meets those who wait for a lock that was let go of meanwhile.
    for (let turn = 0; turn < 5; turn++) {
      const lease = await store.claim(key, forever);
      holding += 1;
      expect(holding).toBe(1);
      await lease.put(result);
      expect(holding).toBe(1);
      holding -= 1;
      await lease.release();
    }
  };
  await Promise.all(Array.from({ length: 4 }, turns));
  expect(readdirSync(join(folder, "locks"))).toEqual([]);
});

test("nobody waits for another key, and waiting can be ended", async () => {
  const { store } = setUp();
  const held = await store.claim(key, forever);
  await (await store.claim(other, forever)).release();
  const end = new AbortController();
  const waiting = store.claim(key, end.signal);
  end.abort();
  await expect(waiting).rejects.toThrow();
  await held.release();
  await (await store.claim(key, forever)).release();
});

test("a process that is killed at any moment leaves a whole result or none", async () => {
  const { folder, store, spoilt } = setUp();
  const size = 32 * 1024 * 1024;
  const begun = () => [`drafts/${key}`, `results/${key}`].some((name) => existsSync(join(folder, name)));
  for (let round = 0; round < 12; round++) {
    const writer = maker(folder, { size });
    expect(await writer.word()).toBe("held");
    writer.order();
    while (!begun()) await new Promise(setImmediate);
    // At another point of the writing each time.
    for (let turn = 0; turn < round * 20; turn++) await new Promise(setImmediate);
    await writer.kill();
    const found = await store.find(key);
    if (found) expect(found.stdout.length).toBe(size);
    await store.remove(key);
  }
  expect(spoilt).toEqual([]);
  await store.sweep();
  expect([...readdirSync(join(folder, "drafts")), ...readdirSync(join(folder, "locks"))]).toEqual([]);
});

test("a full disk keeps nothing, breaks nothing, and is said", async () => {
  const { folder } = setUp();
  const prefix = [
    "unshare",
    "--mount",
    "sh",
    "-c",
    `mount -t tmpfs -o size=64k tmpfs ${folder} && exec "$0" "$@"`,
  ];
  const writer = maker(folder, { size: 1024 * 1024, prefix });
  expect(await writer.word()).toBe("held");
  writer.order();
  expect(await writer.word()).toBe("ENOSPC");
  const small = maker(folder, { prefix });
  expect(await small.word()).toBe("held");
  small.order();
  expect(await small.word()).toBe("kept");
});

test("what was not used for the longest time goes first", async () => {
  const { folder, store, put } = setUp();
  const keys = ["1", "2", "3"].map((digit) => digit.repeat(64));
  for (const [index, each] of keys.entries()) {
    await put(each);
    utimesSync(join(folder, "results", each), index + 1, index + 1);
  }
  await store.find(keys[0]!);
  expect((await store.list()).map((stored) => stored.key)).toEqual([keys[0], keys[2], keys[1]]);
  const { size } = (await store.list())[0]!;
  const layers = openKeptLayers(join(folder, "layers"), { unpack: async () => {}, receive: async () => {} });
  const pruned = async (limit: number) => (await prune({ store, layers }, limit)).map((stored) => stored.key);
  expect(await pruned(2 * size)).toEqual([keys[1]]);
  expect(await pruned(0)).toEqual([keys[0], keys[2]]);
  expect(await store.list()).toEqual([]);
});

test("layers count, and go with the last result that has them, if no run uses them", async () => {
  const { folder, store, put } = setUp();
  const layers = openKeptLayers(join(folder, "layers"), { unpack: async () => {}, receive: async () => {} });
  const [shared, own, held, fresh] = ["1", "2", "3", "4"].map((digit) => digit.repeat(64)) as string[];
  const digests = (...names: (string | undefined)[]) => names.map((name) => `sha256:${name}`);
  const yesterday = Date.now() / 1000 - 24 * 60 * 60;
  for (const name of [shared, own, held, fresh]) {
    mkdirSync(join(folder, "layers", name!), { recursive: true });
    writeFileSync(join(folder, "layers", `${name}.tar`), Buffer.alloc(5000));
    if (name !== fresh) utimesSync(join(folder, "layers", `${name}.tar`), yesterday, yesterday);
  }
  await put(other, { ...result, layers: digests(shared, own, held, fresh) });
  utimesSync(join(folder, "results", other), yesterday, yesterday);
  await put(key, { ...result, layers: digests(shared) });
  const overlay = spawn("flock", ["--shared", join(folder, "layers", held!), "sh", "-c", "echo held; cat"]);
  onTestFinished(() => void overlay.kill());
  await once(overlay.stdout, "data");
  expect(await prune({ store, layers }, 1e6)).toEqual([]);
  expect((await prune({ store, layers }, 15_000)).map((stored) => stored.key)).toEqual([other]);
  expect(readdirSync(join(folder, "layers")).sort()).toEqual(
    [shared, held, fresh].flatMap((name) => [name, `${name}.tar`]),
  );
  expect(await layers.use(digests(own)[0]!)).toBe(false);
});

test("a layer that is not what its name says is no layer, and goes", async () => {
  const { folder } = setUp();
  const store = openLayerStore(folder, { environment: { PATH: process.env.PATH ?? "" } });
  const layers = openKeptLayers(folder, {
    unpack: (digest) => store.unpacked(digest, folder),
    receive: (archive, digest) => store.receive(archive, digest, folder),
  });
  writeFileSync(join(folder, `${key}.tar`), Buffer.alloc(1024));
  expect(await layers.use(`sha256:${key}`)).toBe(false);
  expect(existsSync(join(folder, `${key}.tar`))).toBe(false);
});

test("a sweep leaves alone what somebody is making", async () => {
  const { folder, store } = setUp();
  const lease = await store.claim(key, forever);
  await store.sweep();
  expect(readdirSync(join(folder, "locks"))).toEqual([key]);
  await lease.put(result);
  await lease.release();
});
