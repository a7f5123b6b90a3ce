/** Layers: from what overlayfs has to an OCI archive and back, with nothing lost and nothing followed. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { expect, test } from "vitest";
import { openLayerStore } from "../../executor/layers/layer-store.ts";
import { processesContaining, until } from "../parts/host.ts";
import { describe, inOverlay, scratch, setAttribute } from "../support/overlay.ts";

const environment = { PATH: process.env.PATH ?? "" };

function fixture() {
  const folder = scratch();
  for (const name of ["lower", "upper", "run"]) mkdirSync(`${folder}/${name}`);
  const store = openLayerStore(`${folder}/layers`, { environment });
  const upper = `${folder}/upper`;
  const run = `${folder}/run`;
  const commit = async () => (await store.draft(store.changes(upper), run)).keep();
  return { folder, lower: `${folder}/lower`, upper, run, store, commit };
}

/** Of an archive, as tar prints them. */
const names = (archive: string) =>
  execFileSync("tar", ["--list", "--quoting-style=literal", "--file", archive]).toString().trim().split("\n");

test("a layer that is unpacked shows what the container left", async () => {
  const { lower, upper, run, store, commit } = fixture();
  mkdirSync(`${lower}/replaced/inside`, { recursive: true });
  for (const name of ["changed", "gone", "replaced/old", "replaced/inside/old"])
    writeFileSync(`${lower}/${name}`, "of the image");
  inOverlay(
    `
    echo more >> changed; rm gone; rm -r replaced; mkdir replaced; echo new > replaced/new
    mkdir -p deep/$(printf 'd%.0s' {1..120})/$(printf 'e%.0s' {1..120}); : > empty
    echo linked > first; ln first second; ln -s /etc/shadow link; ln -s $(printf 'x/%.0s' {1..200}) long-link
    mkfifo fifo; : > $'new\\nline'; : > $'not-\\xff-text'; : > '\\back'; : > $(printf 'ü%.0s' {1..60})
    echo '#!/bin/sh' > setuid; chown 3000000:65534 setuid; chmod 6755 setuid; : > secret; chmod 0 secret
    touch -d '2001-02-03 04:05:06.789' first; touch -d '1960-01-01' empty; chmod 1777 deep; chmod 711 .`,
    [lower],
    upper,
  );
  setAttribute(`${upper}/setuid`, "user.note", "a=b\nc\n");
  setAttribute(`${upper}/setuid`, "user.with=and%", "x");
  setAttribute(`${upper}/deep`, "trusted.of-a-folder", "x");
  const { digest } = await commit();
  const unpacked = await store.unpacked(digest, run);
  const seen = inOverlay(describe, [unpacked, lower]);
  expect(seen).toBe(inOverlay(describe, [upper, lower]));
  expect(seen).toContain("replaced/new");
  expect(seen).not.toMatch(/gone|old/);
  expect(readdirSync(run)).toEqual([expect.stringMatching(/^layer-/)]);
});

test("whiteouts are OCI's, and nothing of overlayfs is in the archive", async () => {
  const { lower, upper, store, commit } = fixture();
  mkdirSync(`${lower}/folder`);
  writeFileSync(`${lower}/folder/old`, "");
  writeFileSync(`${lower}/gone`, "");
  inOverlay("rm gone; rm -r folder; mkdir folder; : > folder/new", [lower], upper);
  const archive = store.archiveOf((await commit()).digest);
  expect(names(archive).sort()).toEqual(["./", ".wh.gone", "folder/", "folder/.wh..wh..opq", "folder/new"]);
  expect(readFileSync(archive).includes("overlay")).toBe(false);
});

test("a file of a terabyte costs what is in it", async () => {
  const { lower, upper, run, store, commit } = fixture();
  const terabyte = 2 ** 40;
  inOverlay(
    `truncate -s ${terabyte} empty; echo start > sparse; truncate -s ${terabyte / 2} sparse; echo middle >> sparse
    truncate -s ${terabyte} sparse`,
    [lower],
    upper,
  );
  const layer = await commit();
  expect(layer.size).toBeLessThan(100_000);
  expect(layer.holes).toBeGreaterThan(2 * terabyte - 100_000);
  const unpacked = await store.unpacked(layer.digest, run);
  const script = `stat -c '%s' *; head -c 5 sparse; tail -c +${terabyte / 2 + 1} sparse | head -c 6; echo; du -s .`;
  const [lone, other, ends] = inOverlay(script, [unpacked, lower]).split("\n");
  expect([lone, other, ends]).toEqual([String(terabyte), String(terabyte), "startmiddle"]);
});

test("ten thousand files and one of 300 MB", async () => {
  const { lower, upper, run, store, commit } = fixture();
  inOverlay("seq 10000 | split -l 1 -a 4 - file-; head -c 300M /dev/urandom > large", [lower], upper);
  const { digest } = await commit();
  const unpacked = await store.unpacked(digest, run);
  const script = "stat -c '%n %s %a %y' * | sha256sum; cat * | sha256sum";
  expect(inOverlay(script, [unpacked, lower])).toBe(inOverlay(script, [upper, lower]));
});

test("equal changes are one layer", async () => {
  const { lower, upper, run, store, commit } = fixture();
  inOverlay("truncate -s 1G sparse; echo x >> sparse", [lower], upper);
  const first = await commit();
  expect(await commit()).toEqual(first);
  expect(await store.unpacked(first.digest, run)).toBe(await store.unpacked(first.digest, run));
});

test("a file that a layer would take for a whiteout is refused", async () => {
  const { lower, upper, commit } = fixture();
  inOverlay("mkdir etc; : > etc/.wh.passwd", [lower], upper);
  await expect(commit()).rejects.toMatchObject({ code: "invalid_layer" });
});

test("an archive that is not what its name says is neither unpacked nor taken over", async () => {
  const { folder, lower, upper, run, store, commit } = fixture();
  inOverlay("echo one > file", [lower], upper);
  const { digest, size } = await commit();
  const archive = readFileSync(store.archiveOf(digest));
  archive[archive.indexOf("one\n")] = 0x4f;
  writeFileSync(store.archiveOf(digest), archive);
  await expect(store.unpacked(digest, run)).rejects.toMatchObject({ code: "invalid_layer" });
  truncateSync(store.archiveOf(digest), size - 1024);
  await expect(store.unpacked(digest, run)).rejects.toThrow();

  const other = openLayerStore(`${folder}/other`, { environment });
  await expect(other.receive(chunks(archive), digest, run)).rejects.toMatchObject({ code: "invalid_layer" });
  archive[archive.indexOf("One\n")] = 0x6f;
  await other.receive(chunks(archive), digest, run);
  expect(readdirSync(await other.unpacked(digest, run))).toEqual(["file"]);
});

async function* chunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}

test("a file with very many holes is read in the time that it takes to read it once", async () => {
  const { upper, store, commit } = fixture();
  const [extents, distance] = [100_000, 8192];
  const file = openSync(`${upper}/sparse`, "w");
  for (let index = 0; index < extents; index++) writeSync(file, "x", index * distance);
  closeSync(file);
  const { digest } = await commit();
  // With each extent before it looked at again this takes minutes.
  expect(await store.find(digest)).toMatchObject({ holes: expect.any(Number) });
});

test("whoever stops reading what a container left has tar end too", async () => {
  const { upper, store } = fixture();
  // More than a pipe holds.
  writeFileSync(`${upper}/first`, Buffer.alloc(4 * 1024 * 1024));
  const programs = () => processesContaining("cmdline", upper);
  for await (const _ of store.changes(upper)) {
    expect(programs()).toHaveLength(1);
    break;
  }
  await until(() => programs().length === 0);
});
