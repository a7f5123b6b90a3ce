import * as jose from "jose";
import { describe, expect, test } from "vitest";
import * as z from "zod/mini";
import { createDerivation } from "../../../../broker/keys/derivation.ts";
import { createKeys, sha256Of } from "../../../../broker/keys/keys.ts";
import { Secret } from "../../../../shared/secret.ts";
import { Jwks } from "../../../../shared/wire.ts";
import { rootKey } from "../../../support/broker.ts";
import { readVectors } from "../../../support/vector.ts";

const secret = (value: string | Uint8Array = "guessme") => new Secret(Buffer.from(value));
const text = (value: Secret) => Buffer.from(value.expose()).toString();
const keys = await createKeys(rootKey());
const jti = "5f0c8f5e-3d0b-4c57-9d52-6b1c1f1a7f10";

const Vector = z.strictObject({
  comment: z.string(),
  "root-key": z.string(),
  tenant: z.string(),
  "wrapped-by": z.optional(z.string()),
  "cache-key": z.optional(z.string()),
  kid: z.string(),
  "encryption-kid": z.string(),
  "audit-kid": z.string(),
  jti: z.string(),
  digest: z.string(),
  "handle-digest": z.string(),
  "cache-id": z.string(),
});

describe("the published vector", () => {
  test.each(readVectors("keys", Vector))("%s", async (_, vector, plaintext) => {
    const { tenant, "cache-key": cacheKey, "wrapped-by": wrappedBy } = vector;
    const made = await createKeys(new Secret(Buffer.from(vector["root-key"], "hex")));
    const value = secret(plaintext);
    expect({
      kid: made.signingKey.kid,
      "encryption-kid": made.jwks.keys.find(({ use }) => use === "enc")?.kid,
      "audit-kid": made.auditKey.kid,
      digest: made.digest(tenant, value, wrappedBy),
      "handle-digest": made.handleDigest(tenant, vector.jti, sha256Of(value)),
      "cache-id": made.cacheId(tenant, cacheKey === undefined ? { value, wrappedBy } : { cacheKey }),
    }).toEqual({
      kid: vector.kid,
      "encryption-kid": vector["encryption-kid"],
      "audit-kid": vector["audit-kid"],
      digest: vector.digest,
      "handle-digest": vector["handle-digest"],
      "cache-id": vector["cache-id"],
    });
  });
});

describe("from one root key", () => {
  test("every replica and every restart makes the same keys", async () => {
    const replica = await createKeys(rootKey());
    expect(replica.jwks).toEqual(keys.jwks);
    expect(replica.digest("acme", secret())).toBe(keys.digest("acme", secret()));
    expect(replica.cacheId("acme", { value: secret() })).toBe(keys.cacheId("acme", { value: secret() }));
    expect(text(replica.unseal("acme", "jti", keys.seal("acme", "jti", secret())))).toBe("guessme");
  });

  test.each([0, 31, 33, 64])("of %i bytes none are made", async (length) => {
    await expect(createKeys(new Secret(new Uint8Array(length)))).rejects.toThrow("a root key has 32 bytes");
  });

  test("the public half is in the JWKS under its RFC 7638 thumbprint, and the private half is not", async () => {
    const [jwk] = Jwks.parse(keys.jwks).keys;
    expect(await jose.calculateJwkThumbprint(jwk as jose.JWK)).toBe(jwk?.kid);
    expect(jwk?.kid).toBe(keys.signingKey.kid);
    expect(jwk).not.toHaveProperty("d");
    expect(keys.signingKey.privateKey.extractable).toBe(false);
  });
});

describe("tenants and purposes share nothing", () => {
  test("equal values of two tenants have different digests, cache ids and redactions", () => {
    expect(keys.digest("acme", secret())).not.toBe(keys.digest("rival", secret()));
    expect(keys.cacheId("acme", { value: secret() })).not.toBe(keys.cacheId("rival", { value: secret() }));
    expect(keys.redact("acme", "guessme")).not.toBe(keys.redact("rival", "guessme"));
  });

  test("equal cache keys of two tenants have different cache ids", () => {
    const of = { cacheKey: "npm-token" };
    expect(keys.cacheId("acme", of)).not.toBe(keys.cacheId("rival", of));
  });

  test("digest, cache id and redaction of one value have nothing in common, so that one does not tell another", () => {
    const digest = keys.digest("acme", secret()).replace(/.*:/, "");
    const cacheId = keys.cacheId("acme", { value: secret() });
    const redacted = keys.redact("acme", "guessme");
    const tagged = keys.redact("acme", "vguessme");
    expect(new Set([digest, cacheId, redacted, tagged].map((each) => each.slice(0, 22))).size).toBe(4);
    expect(digest).not.toBe(keys.digest("acme", secret("vguessme")).replace(/.*:/, ""));
    expect(cacheId).not.toBe(keys.digest("acme", secret("vguessme")).replace(/.*:/, ""));
  });
});

test("two users' embedded brokers, each with a root key of its own, have no digest or cache id in common", async () => {
  const other = await createKeys(new Secret(Buffer.alloc(32, 0xcc)));
  const of = (each: typeof keys) => [
    each.digest("local", secret()),
    each.cacheId("local", { value: secret() }),
    each.cacheId("local", { cacheKey: "npm-token" }),
    each.digest("local", secret(), "user"),
    each.cacheId("local", { value: secret(), wrappedBy: "user" }),
  ];
  expect(new Set([...of(keys), ...of(other)]).size).toBe(10);
});

test("no more derived keys are kept than there is room for, and one that went is the same when it comes back", () => {
  const derivation = createDerivation(rootKey());
  const first = derivation.key("digest", "acme");
  expect(derivation.key("digest", "acme")).toBe(first);
  for (let nth = 0; nth < 10_000; nth++) derivation.key("digest", `tenant-${nth}`);
  const again = derivation.key("digest", "acme");
  expect(again).not.toBe(first);
  expect(again.equals(first)).toBe(true);
});

describe("a handle's digest", () => {
  const other = "6f0c8f5e-3d0b-4c57-9d52-6b1c1f1a7f10";
  const of = (made: typeof keys, tenant: string, id: string, value = secret()) =>
    made.handleDigest(tenant, id, sha256Of(value));

  test("is its own: for equal values that of another handle, tenant or root key has nothing in common with it", async () => {
    const stranger = await createKeys(new Secret(Buffer.alloc(32, 0xcc)));
    const made = [
      of(keys, "acme", jti),
      of(keys, "acme", other),
      of(keys, "rival", jti),
      of(stranger, "acme", jti),
    ];
    const digests = [...made, keys.digest("acme", secret())].map((digest) => digest.split(":")[2]);
    expect(new Set(digests).size).toBe(5);
    expect(of(keys, "acme", jti)).toBe(made[0]);
  });

  test("is of this value alone, also while root keys are exchanged", async () => {
    const after = await createKeys(new Secret(Buffer.alloc(32, 0xcc)), { previous: rootKey() });
    for (const made of [keys, after]) {
      expect(made.isHandleDigest(of(keys, "acme", jti), "acme", jti, secret())).toBe(true);
      expect(made.isHandleDigest(of(keys, "acme", jti), "acme", jti, secret("guessmf"))).toBe(false);
      expect(made.isHandleDigest(of(keys, "acme", jti), "acme", other, secret())).toBe(false);
      expect(made.isHandleDigest(of(keys, "acme", jti), "rival", jti, secret())).toBe(false);
    }
  });
});

describe("a cache id", () => {
  const cacheId = (of: { value: Secret } | { cacheKey: string }) => keys.cacheId("acme", of);

  test("is the value's, wherever it came from", () => {
    expect(cacheId({ value: secret() })).toBe(cacheId({ value: secret() }));
    expect(cacheId({ value: secret("guessme2") })).not.toBe(cacheId({ value: secret() }));
  });

  test.each([
    ["of the same bytes", "guessme", "guessme"],
    ["with the value's tag before it", "guessme", "vguessme"],
    ["that its own tag would complete", "kguessme", "guessme"],
    ["of nothing", "", ""],
    ["that is the value's cache id", "guessme", cacheId({ value: secret() })],
    ["that is the value's digest", "guessme", keys.digest("acme", secret())],
  ])("of a cache key %s is never that of the value", (_, value, cacheKey) => {
    expect(cacheId({ cacheKey })).not.toBe(cacheId({ value: secret(value) }));
  });
});

describe("a sealed value", () => {
  const sealed = keys.seal("acme", "jti-1", secret());

  test.each(["guessme", "", "\0\n\r\n"])(
    "opens to %j for the tenant and the jti that it was sealed for",
    (value) => {
      expect(text(keys.unseal("acme", "jti-1", keys.seal("acme", "jti-1", secret(value))))).toBe(value);
    },
  );

  test("never looks the same twice", () => {
    expect(keys.seal("acme", "jti-1", secret())).not.toEqual(sealed);
  });

  test("holds no plaintext", () => {
    expect(Buffer.from(sealed).includes("guessme")).toBe(false);
  });

  test.each([
    ["another jti", "acme", "jti-2"],
    ["no jti", "acme", ""],
    ["another tenant", "rival", "jti-1"],
  ])("does not open for %s", (_, tenant, jti) => {
    expect(() => keys.unseal(tenant, jti, sealed)).toThrow();
  });

  test("does not open under another root key", async () => {
    const other = await createKeys(new Secret(Buffer.alloc(32, 0xff)));
    expect(() => other.unseal("acme", "jti-1", sealed)).toThrow();
  });

  test("does not open when any one byte of it was changed", () => {
    for (let index = 0; index < sealed.length; index++) {
      const changed = Buffer.from(sealed);
      changed[index] = (changed[index] as number) ^ 1;
      expect(() => keys.unseal("acme", "jti-1", changed), `byte ${index}`).toThrow();
    }
  });

  test("does not open when it was cut, at whatever length", () => {
    for (let length = 0; length < sealed.length; length++) {
      expect(() => keys.unseal("acme", "jti-1", sealed.subarray(0, length)), `length ${length}`).toThrow();
    }
  });

  test.each([4, 8, 12])(
    "does not open with a tag cut short, which could be guessed: %i bytes in all",
    (length) => {
      const cut = sealed.subarray(0, length);
      expect(() => keys.unseal("acme", "jti-1", cut)).toThrow("Invalid authentication tag length");
    },
  );
});
