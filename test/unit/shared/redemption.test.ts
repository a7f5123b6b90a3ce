import { createHash } from "node:crypto";
import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { createKeys } from "../../../broker/keys/keys.ts";
import { createIdentity } from "../../../executor/broker-client/identity.ts";
import {
  importRecipient,
  openRedemption,
  type RedeemedValue,
  type RedemptionContext,
  sealRedemption,
} from "../../../shared/redemption.ts";
import { Secret } from "../../../shared/secret.ts";
import { rootKey } from "../../support/broker.ts";
import { refusalOf } from "../../support/refusal.ts";

const broker = await createKeys(rootKey());
const stranger = await createKeys(new Secret(Buffer.alloc(32, 0xff)));
const executor = await createIdentity();
const recipient = await importRecipient(executor.encryptionKey);

const context: RedemptionContext = {
  iss: "https://broker.example",
  tenant: "acme",
  redemption: "redemption-0000001",
  proof: "proof-000000000001",
};

const value = (jti: string, bytes: string | Uint8Array): RedeemedValue => ({
  jti,
  digest: `digest of ${jti}`,
  value: new Secret(Buffer.from(bytes)),
});

const seal = (values: readonly RedeemedValue[], key = broker.signingKey) =>
  sealRedemption(context, { values, heads: ["head.of.it"] }, key, recipient);

const open = (payload: string, expected = context, key = executor.decryptionKey) =>
  openRedemption(payload, key, broker.findKey, expected);

const plain = (values: readonly RedeemedValue[]) =>
  values.map((each) => ({ ...each, value: Buffer.from(each.value.expose()).toString("hex") }));

/** What an attacker can do who has the executor's public key, and perhaps an answer of another time. */
const encrypt = async (bytes: Uint8Array, enc = "A256GCM") =>
  new jose.CompactEncrypt(bytes).setProtectedHeader({ alg: "ECDH-ES", enc }).encrypt(recipient);

const decrypt = async (payload: string) =>
  Buffer.from((await jose.compactDecrypt(payload, executor.decryptionKey)).plaintext);

describe("an answer opens to the values that went in", () => {
  const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);

  test.each<[string, RedeemedValue[]]>([
    ["one", [value("a", "guessme")]],
    ["several, in their order", [value("a", "one"), value("b", "two"), value("c", "three")]],
    ["every byte there is", [value("a", everyByte)]],
    ["line breaks, as the manifest ends in one", [value("a", "\n"), value("b", "\n\n")]],
    ["an empty one", [value("a", "")]],
    ["an empty one between others", [value("a", "one"), value("b", ""), value("c", "three")]],
    ["one twice", [value("a", "one"), value("a", "one")]],
    ["512 KiB", [value("a", new Uint8Array(512 * 1024).fill(7))]],
  ])("%s", async (_, values) => {
    const expected = plain(values);
    const opened = await open(await seal(values));
    expect(plain(opened.values)).toEqual(expected);
    expect(opened.heads).toEqual(["head.of.it"]);
  });
});

describe("an answer is refused", () => {
  const values = () => [value("a", "guessme"), value("b", "sesame!")];

  test("by another executor: only the key that was asked with opens it", async () => {
    const { decryptionKey } = await createIdentity();
    await expect(open(await seal(values()), context, decryptionKey)).rejects.toThrow();
  });

  test.each([0, 2, 3, 4])("when part %i of the JWE was changed", async (part) => {
    const parts = (await seal(values())).split(".");
    const text = parts[part] as string;
    parts[part] = (text.startsWith("A") ? "B" : "A") + text.slice(1);
    await expect(open(parts.join("."))).rejects.toThrow();
  });

  test("when another key signed its manifest, though it is encrypted well", async () => {
    await expect(open(await seal(values(), stranger.signingKey))).rejects.toThrow();
    const underOurKid = { ...stranger.signingKey, kid: broker.signingKey.kid };
    await expect(open(await seal(values(), underOurKid))).rejects.toThrow("signature verification failed");
  });

  test.each(["iss", "tenant", "redemption", "proof"] as const)(
    "when it answers another %s",
    async (claim) => {
      const expected = { ...context, [claim]: "another" };
      await expect(open(await seal(values()), expected)).rejects.toThrow(`another ${claim}`);
    },
  );

  test.each<[string, (bytes: Buffer) => Buffer]>([
    ["two values of one length were swapped", (bytes) => swapTail(bytes, 7)],
    ["a value was changed", (bytes) => Buffer.concat([bytes.subarray(0, -1), Buffer.from("?")])],
    ["a value was cut", (bytes) => bytes.subarray(0, -1)],
    ["a value is missing", (bytes) => bytes.subarray(0, -7)],
    ["something was added", (bytes) => Buffer.concat([bytes, Buffer.from("!")])],
    ["the manifest is not signed", unsign],
    ["there is no manifest", (bytes) => bytes.subarray(bytes.indexOf("\n"))],
    ["there is nothing", () => Buffer.alloc(0)],
  ])("when %s and it was encrypted anew", async (_, change) => {
    const changed = change(await decrypt(await seal(values())));
    await expect(open(await encrypt(changed))).rejects.toThrow();
  });

  test("when nothing was changed but it was encrypted anew it is taken, or the rows above would show nothing", async () => {
    const same = await decrypt(await seal(values()));
    expect(plain((await open(await encrypt(same))).values)).toEqual(plain(values()));
  });

  test("when what the broker signed is something else than a redemption", async () => {
    const payload = { ...context, values: [], heads: [] };
    const handle = await new jose.SignJWT(payload)
      .setProtectedHeader({ alg: "EdDSA", typ: "claimcheck+jwt", kid: broker.signingKey.kid })
      .sign(broker.signingKey.privateKey);
    await expect(open(await encrypt(Buffer.from(`${handle}\n`)))).rejects.toThrow("not a redemption");
  });

  test("when it is encrypted in another way than agreed", async () => {
    const same = await decrypt(await seal(values()));
    await expect(open(await encrypt(same, "A128CBC-HS256"))).rejects.toThrow();
  });
});

test("an answer's encryption is compact JWE as jose reads it, for values of any length", async () => {
  for (const length of [0, 1, 15, 16, 17, 1000, 1024 * 1024]) {
    const payload = await seal([value("a", Buffer.alloc(length, length))]);
    const { alg, enc, epk, ...header } = jose.decodeProtectedHeader(payload);
    expect({ alg, enc, header }).toEqual({
      alg: "ECDH-ES",
      enc: "A256GCM",
      header: { typ: "claimcheck-redemption" },
    });
    expect(epk).toEqual({ kty: "EC", crv: "P-256", x: expect.any(String), y: expect.any(String) });
    expect((await decrypt(payload)).indexOf("\n") + 1 + length).toBe((await decrypt(payload)).length);
  }
});

test("no two answers have an ephemeral key or a nonce in common", async () => {
  const sealed = await Promise.all(Array.from({ length: 50 }, () => seal([value("a", "guessme")])));
  expect(new Set(sealed.map((payload) => JSON.stringify(jose.decodeProtectedHeader(payload).epk))).size).toBe(
    50,
  );
  expect(new Set(sealed.map((payload) => payload.split(".")[2])).size).toBe(50);
});

describe("a key to encrypt to", () => {
  test("is refused when it is no point on its curve", async () => {
    const off = { ...executor.encryptionKey, y: executor.encryptionKey.x };
    expect(await refusalOf(() => importRecipient(off))).toMatchObject({ code: "invalid_request" });
  });
});

describe("an answer hides", () => {
  test("the values, their hashes, and whose handles they are", async () => {
    const payload = await seal([value("jti-of-a-handle", "guessme")]);
    const visible = payload.split(".").map((part) => Buffer.from(part, "base64url").toString("latin1"));
    const hash = createHash("sha256").update("guessme").digest("base64url");
    for (const hidden of ["guessme", hash, "jti-of-a-handle", "acme"]) {
      expect(visible.join("\n")).not.toContain(hidden);
    }
  });
});

/** Exchanges the last two stretches of `length` bytes. */
function swapTail(bytes: Buffer, length: number): Buffer {
  const [rest, one, two] = [
    bytes.subarray(0, -2 * length),
    bytes.subarray(-2 * length, -length),
    bytes.subarray(-length),
  ];
  return Buffer.concat([rest, two, one]);
}

function unsign(bytes: Buffer): Buffer {
  const end = bytes.indexOf("\n");
  const [header, payload] = bytes.subarray(0, end).toString().split(".");
  return Buffer.concat([Buffer.from(`${header}.${payload}.`), bytes.subarray(end)]);
}
