/** Root keys of a served broker: how they may be mounted, and how one is exchanged for another without surprises. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { directFetch } from "../../bin/connect/connection.ts";
import { createBrokerClient } from "../../executor/broker-client/client.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { startIssuer, type TestIssuer } from "../parts/issuer.ts";
import { claimcheck, entry } from "../support/command.ts";
import { anyVariable, makeFolder, policyOf, serve } from "../support/served.ts";

/** The user and the group that the image runs as. */
const nobody = 65532;

describe("as user and group 65532, a root key", () => {
  async function check(mode: number, uid: number, gid: number): Promise<string> {
    const folder = makeFolder({
      "policy.yaml": policyOf("https://issuer.example", anyVariable),
      "broker.yaml":
        "url: https://broker.example\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: audit.jsonl\n",
      "root-key": Buffer.alloc(32, 7),
    });
    for (const name of [".", "policy.yaml", "broker.yaml"]) chownSync(join(folder, name), nobody, nobody);
    chownSync(join(folder, "root-key"), uid, gid);
    chmodSync(join(folder, "root-key"), mode);
    const as = ["--reuid", String(nobody), "--regid", String(nobody), "--clear-groups"];
    const command = [process.execPath, entry, "broker", "check", join(folder, "broker.yaml")];
    const child = spawn("setpriv", [...as, ...command], {
      env: { PATH: process.env.PATH ?? "", HOME: folder },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        said += text;
      });
    }
    await once(child, "close");
    return said;
  }

  test.each<[string, number, number, number]>([
    ["of its own with mode 600", 0o600, nobody, nobody],
    ["that Kubernetes mounts: root's, of its group, mode 440", 0o440, 0, nobody],
  ])("%s is taken", async (_, mode, uid, gid) => {
    expect(await check(mode, uid, gid)).toContain("are in order");
  });

  test.each<[string, number, number, number]>([
    ["that all can read", 0o444, 0, nobody],
    ["that its group can write", 0o460, 0, nobody],
    ["of its own that its group can read", 0o640, nobody, nobody],
    ["of another user, readable for its group", 0o440, 1, nobody],
  ])("%s is not, and what to do is said for both", async (_, mode, uid, gid) => {
    const said = await check(mode, uid, gid);
    expect(said).toContain("owned by user 65532");
    expect(said).toContain("defaultMode: 0440 and an fsGroup");
  });
});

describe("an exchange of root keys", () => {
  async function printedKeys(args: readonly string[]): Promise<string[]> {
    const { code, stdout } = await claimcheck(["broker", "keys", ...args]);
    expect(code).toBe(0);
    return stdout.trim().split(",");
  }

  async function redeem(url: string, ci: TestIssuer, pinnedKeys: readonly string[]): Promise<number> {
    const token = await ci.sign({ sub: "job", aud: url });
    const client = createBrokerClient({
      url,
      fetch: directFetch,
      findToken: () => token,
      pinnedKeys,
      identity: await createIdentity(),
      keepHeads: async () => {},
      signal: new AbortController().signal,
    });
    const handles = await client.issue([{ uri: "env://API_TOKEN" }]);
    const values = await client.redeem(handles, { masked: true });
    for (const { value } of values) value.wipe();
    return values.length;
  }

  test("its thumbprints are known before it begins, and who lacks them is told so", async () => {
    const ci = await startIssuer("ES256");
    const folder = makeFolder({ "new-key": Buffer.alloc(32, 0xbb) });
    const broker = await serve(ci);
    const old = await printedKeys(["--config", join(broker.folder, "broker.yaml")]);
    const next = await printedKeys(["--root-key", join(folder, "new-key")]);
    expect(await redeem(broker.url, ci, old)).toBe(1);

    const rotated = await serve(ci, "previousRootKey: { file: old-key }\n", {}, {}, (made) => {
      writeFileSync(
        join(made, "old-key"),
        Uint8Array.from({ length: 32 }, (_, index) => index),
        { mode: 0o600 },
      );
      writeFileSync(join(made, "root-key"), Buffer.alloc(32, 0xbb), { mode: 0o600 });
    });
    expect(await printedKeys(["--config", join(rotated.folder, "broker.yaml")])).toEqual(
      expect.arrayContaining([...old, ...next]),
    );
    await expect(redeem(rotated.url, ci, old)).rejects.toMatchObject({
      code: "broker_untrusted",
      detail: expect.stringMatching(
        /it signs with the key \S+, and your pins lack that.*claimcheck broker keys/,
      ),
    });
    expect(await redeem(rotated.url, ci, next)).toBe(1);
  });

  test("a broker none of whose keys is pinned is told as that", async () => {
    const ci = await startIssuer("ES256");
    const broker = await serve(ci);
    await expect(redeem(broker.url, ci, ["A".repeat(43)])).rejects.toMatchObject({
      detail: expect.stringContaining("your pins lack"),
    });
  });
});

test("a broker says on which address it listens, whatever its clients call it", async () => {
  const broker = await serve(await startIssuer("ES256"), "", {}, {}, (folder) => {
    const path = join(folder, "broker.yaml");
    writeFileSync(path, readFileSync(path, "utf8").replace(/^url: .*$/m, "url: https://broker.example"));
  });
  expect(broker.output.stderr).toContain(`serving https://broker.example on 127.0.0.1:${broker.port}, keys`);
});
