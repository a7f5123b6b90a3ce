/** Results in a registry that anybody may write to, against Debian's docker-registry. */
import { createSecretKey } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { encodeBody } from "../../executor/cache/entry.ts";
import { indexType, manifestType, openRegistry } from "../../executor/cache/registry.ts";
import { openStore } from "../../executor/cache/store.ts";
import { digestOf } from "../../shared/digest.ts";
import { Secret } from "../../shared/secret.ts";
import { signStatement } from "../../shared/statement.ts";
import { filesContaining } from "../parts/host.ts";
import { startRegistry } from "../parts/oci-registry.ts";
import { type Executor, startBroker } from "../support/broker.ts";
import { begin, env, run, step } from "../support/cached.ts";

afterEach(() => {
  vi.useRealTimers();
});

const newStore = () =>
  openStore(mkdtempSync(join(tmpdir(), "claimcheck-cache-")), { macKey: createSecretKey(Buffer.alloc(32)) });

const none = new Uint8Array();

/** Without what anybody may say in it. */
const index = { schemaVersion: 2, mediaType: indexType, manifests: [] };

const environment = { TOKEN: "the-value", SAME: "the-value", OTHER: "another" };

async function setUp() {
  const server = await startRegistry();
  const broker = await startBroker({ environment });
  const repository = `${server.host}/acme/results`;
  const open = () => openRegistry(repository, { findLogin: () => undefined });
  /** A run on a host of its own. */
  const runElsewhere = async (executor: Executor, what = step(env("TOKEN")), print?: string) =>
    run(newStore(), executor, what, { sharing: { from: open(), to: open() }, ...(print && { print }) });
  /** What anybody can do: read and write tags. */
  const api = `http://${server.host}/v2/acme/results`;
  const tags = async () => ((await (await fetch(`${api}/tags/list`)).json()) as { tags: string[] }).tags;
  const tagged = async (tag: string) =>
    (await fetch(`${api}/manifests/${tag}`, { headers: { accept: indexType } })).text();
  const retag = async (tag: string, index: string) => {
    const headers = { "content-type": indexType };
    expect((await fetch(`${api}/manifests/${tag}`, { method: "PUT", headers, body: index })).status).toBe(
      201,
    );
  };
  const executor = await broker.executor();
  const unbelieved = (code = "result_untrusted") =>
    `a result at ${repository} cannot be used (${code}); the step runs again`;
  return { server, broker, repository, runElsewhere, tags, tagged, retag, executor, unbelieved };
}

describe("a result is taken", () => {
  test("from another host, for a check and no redemption", async () => {
    const { broker, executor, runElsewhere, server } = await setUp();
    expect(await runElsewhere(executor)).toEqual({ hit: false, stdout: "made\n", told: [] });
    const other = await broker.executor();
    expect(await runElsewhere(other, step(env("SAME")), "made again\n")).toEqual({
      hit: true,
      stdout: "made\n",
      told: [],
    });
    expect(broker.audit.records.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      "issue issued",
      "check confirmed",
      "redeem released",
      "attest attested",
      "issue issued",
      "check confirmed",
      "check confirmed",
    ]);
    expect(await filesContaining(["the-value"], [server.data])).toEqual([]);
  });

  test("also where no secret was used", async () => {
    const { broker, executor, runElsewhere } = await setUp();
    await runElsewhere(executor, step());
    expect((await runElsewhere(await broker.executor(), step())).hit).toBe(true);
  });

  test("once: after that it is on this host", async () => {
    const { broker, executor, runElsewhere, repository, server } = await setUp();
    await runElsewhere(executor);
    const store = newStore();
    const other = await broker.executor();
    const from = openRegistry(repository, { findLogin: () => undefined });
    await run(store, other, step(env("TOKEN")), { sharing: { from, to: undefined } });
    await server.stop();
    expect((await run(store, other, step(env("TOKEN")))).hit).toBe(true);
  });
});

describe("what somebody put in a result's place is noticed, and the step runs again", () => {
  test("words of their own", async () => {
    const { broker, executor, runElsewhere, tags, tagged, retag, unbelieved } = await setUp();
    await runElsewhere(executor);
    const [tag = ""] = await tags();
    const index = JSON.parse(await tagged(tag));
    for (const annotations of [undefined, {}, { "dev.claimcheck.receipt": "e30.e30.e30" }]) {
      await retag(tag, JSON.stringify({ ...index, annotations }));
      const other = await broker.executor();
      expect(await runElsewhere(other, undefined, "made again\n")).toEqual({
        hit: false,
        stdout: "made again\n",
        told: [unbelieved()],
      });
    }
  });

  test("another key's result, with its receipt", async () => {
    const { broker, executor, runElsewhere, tags, tagged, retag, unbelieved } = await setUp();
    await runElsewhere(executor);
    const [tag = ""] = await tags();
    await runElsewhere(executor, step(env("TOKEN"), { args: ["make", "other"] }), "other\n");
    const other = (await tags()).find((each) => each !== tag) ?? "";
    await retag(tag, await tagged(other));
    const { hit, told } = await runElsewhere(await broker.executor());
    expect({ hit, told }).toEqual({ hit: false, told: [unbelieved()] });
  });

  test("a manifest of their own beside the receipt of another", async () => {
    const { broker, executor, runElsewhere, tags, tagged, retag } = await setUp();
    await runElsewhere(executor);
    const [tag = ""] = await tags();
    const genuine = JSON.parse(await tagged(tag));
    await runElsewhere(executor, step(env("TOKEN"), { args: ["make", "other"] }), "other\n");
    const other = (await tags()).find((each) => each !== tag) ?? "";
    const { manifests } = JSON.parse(await tagged(other));
    await retag(tag, JSON.stringify({ ...genuine, manifests }));
    // The receipt says which manifest it is about, whatever stands beside it.
    expect(await runElsewhere(await broker.executor())).toMatchObject({ hit: true, stdout: "made\n" });
  });

  test("a receipt that was had without the secrets", async () => {
    const { broker, executor, runElsewhere, tags, tagged, retag, unbelieved } = await setUp();
    await runElsewhere(executor);
    const [tag = ""] = await tags();
    const index = JSON.parse(await tagged(tag));
    const [{ digest: manifest }] = index.manifests;
    const forged = await executor.client.attest([], { key: tag, manifest });
    await retag(tag, JSON.stringify({ ...index, annotations: { "dev.claimcheck.receipt": forged } }));
    const { hit, told } = await runElsewhere(await broker.executor());
    expect({ hit, told }).toEqual({ hit: false, told: [unbelieved()] });
  });

  test("a receipt of an older version, which named the secrets by their cache ids", async () => {
    const { broker, executor, runElsewhere, tags, tagged, retag, unbelieved } = await setUp();
    await runElsewhere(executor);
    const [tag = ""] = await tags();
    const index = JSON.parse(await tagged(tag));
    const { mac, ...rest } = jose.decodeJwt(index.annotations["dev.claimcheck.receipt"]);
    expect(mac).toMatch(/^[\w-]{43}$/);
    const { signingKey } = broker.keys;
    const old = await signStatement("claimcheck-receipt", { ...rest, secrets: ["id"] }, signingKey);
    await retag(tag, JSON.stringify({ ...index, annotations: { "dev.claimcheck.receipt": old } }));
    const { hit, told } = await runElsewhere(await broker.executor());
    expect({ hit, told }).toEqual({ hit: false, told: [unbelieved("receipt_outdated")] });
  });

  test("a result that names other files, with a receipt for it", async () => {
    const { broker, executor, repository, runElsewhere, tags, tagged, retag, unbelieved } = await setUp();
    await runElsewhere(executor, step());
    const [tag = ""] = await tags();
    const registry = openRegistry(repository, { findLogin: () => undefined });
    const { manifests } = JSON.parse(await tagged(tag));
    const manifest = JSON.parse((await registry.getManifest(manifests[0].digest))?.toString() ?? "");
    for (const layer of ["../../elsewhere", `sha256:../${"0".repeat(61)}`, `sha256:${"0".repeat(63)}`]) {
      const output = encodeBody(tag, { image: "", layers: [layer], stdout: none, stderr: none });
      const forged = Buffer.from(
        JSON.stringify({ ...manifest, layers: [{ ...manifest.layers[0], digest: digestOf(output) }] }),
      );
      await registry.putBlob(output);
      await registry.putManifest(digestOf(forged), manifestType, forged);
      const receipt = await executor.client.attest([], { key: tag, manifest: digestOf(forged) });
      await retag(tag, JSON.stringify({ annotations: { "dev.claimcheck.receipt": receipt }, ...index }));
      const { hit, told } = await runElsewhere(await broker.executor(), step());
      expect({ hit, told }).toEqual({ hit: false, told: [unbelieved()] });
    }
  });

  test("other bytes under the same digest, where the registry itself is theirs", async () => {
    const { broker, executor, runElsewhere, server, unbelieved } = await setUp();
    await runElsewhere(executor);
    const blobs = join(server.data, "docker/registry/v2/blobs");
    const files = (readdirSync(blobs, { recursive: true }) as string[]).filter((name) =>
      name.endsWith("/data"),
    );
    const changed = files.filter((name) => {
      const text = readFileSync(join(blobs, name), "latin1");
      if (!text.includes("made\n")) return false;
      writeFileSync(join(blobs, name), text.replace("made\n", "MADE\n"), "latin1");
      return true;
    });
    expect(changed).toHaveLength(1);
    const { hit, told } = await runElsewhere(await broker.executor());
    expect({ hit, told }).toEqual({ hit: false, told: [unbelieved()] });
  });

  test("another broker's result", async () => {
    const { executor, runElsewhere, tags } = await setUp();
    await runElsewhere(executor);
    const stranger = await startBroker({ environment, rootKey: new Secret(Buffer.alloc(32, 7)) });
    expect((await runElsewhere(await stranger.executor(), step(env("TOKEN", "key")))).hit).toBe(false);
    await runElsewhere(executor, step());
    const { hit } = await runElsewhere(await stranger.executor(), step());
    expect({ hit, tags: (await tags()).length }).toEqual({ hit: false, tags: 3 });
  });
});

test("another tenant's result is none, be it in the same repository", async () => {
  const { broker, executor, runElsewhere } = await setUp();
  await runElsewhere(executor, step());
  expect((await runElsewhere(await broker.executor({ tenant: "rival" }), step())).hit).toBe(false);
});

test("a registry that is down costs a warning", async () => {
  const { executor, runElsewhere, server, repository } = await setUp();
  await server.stop();
  expect(await runElsewhere(executor)).toEqual({
    hit: false,
    stdout: "made\n",
    told: [`the run continues without ${repository} (ECONNREFUSED)`],
  });
});

test("what took longer than its handles live is kept, and not shared", async () => {
  vi.useFakeTimers({ toFake: ["Date"] });
  const { executor, repository, tags } = await setUp();
  const store = newStore();
  const what = step(env("TOKEN"));
  const to = openRegistry(repository, { findLogin: () => undefined });
  const { cache, secrets, told } = await begin(store, executor, [what], { sharing: { from: undefined, to } });
  await cache.take({ index: 0, layers: [] });
  await secrets.redeem(what);
  vi.setSystemTime(Date.now() + 20 * 60 * 1000);
  await cache.keep(0, { layers: [], stdout: Buffer.from("made\n"), stderr: Buffer.of() });
  await cache.close();
  expect(told).toEqual(["the result was not shared (handle_expired)"]);
  expect(await store.list()).toHaveLength(1);
  expect(await tags().catch(() => undefined)).toBeUndefined();
});
