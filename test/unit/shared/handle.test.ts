import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import * as z from "zod/mini";
import { createKeys } from "../../../broker/keys/keys.ts";
import { type HandleClaims, signHandle, verifyHandle } from "../../../shared/handle.ts";
import { Secret } from "../../../shared/secret.ts";
import { brokerUrl, rootKey } from "../../support/broker.ts";
import { refusalOf } from "../../support/refusal.ts";
import { readVectors } from "../../support/vector.ts";

const { signingKey, findKey, jwks } = await createKeys(rootKey());
const stranger = await createKeys(new Secret(Buffer.alloc(32, 0xff)));

const now = Math.floor(Date.now() / 1000);
const claims: HandleClaims = {
  iss: brokerUrl,
  aud: "ci",
  sub: "ci",
  jti: "8d7f1f0c-6a3a-4f0e-9d84-0d1f6f2f5a11",
  iat: now,
  exp: now + 900,
  tenant: "acme",
  run: "1842",
  name: "API_TOKEN",
  scheme: "env",
  digest: "hmac-sha256:x",
  uses: 1,
  cnf: { jkt: "z" },
};

const verify = (handle: string) => verifyHandle(handle, findKey, brokerUrl);
const sign = (
  header: jose.JWTHeaderParameters,
  payload: jose.JWTPayload = claims,
  key = signingKey.privateKey,
) => new jose.SignJWT(payload).setProtectedHeader(header).sign(key);
const header = { alg: "EdDSA", typ: "claimcheck+jwt", kid: signingKey.kid };
const encode = (json: unknown) => Buffer.from(JSON.stringify(json)).toString("base64url");

afterEach(() => {
  vi.useRealTimers();
});

const Vector = z.strictObject({
  comment: z.string(),
  "root-key": z.string(),
  issuer: z.string(),
  time: z.string(),
  expect: z.enum(["accepted", "invalid_handle", "handle_expired", "handle_outdated"]),
  handle: z.string(),
});

describe("the published vector", () => {
  test.each(readVectors("handles", Vector))("%s", async (_, vector, payload) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Number(vector.time) * 1000 });
    const keys = await createKeys(new Secret(Buffer.from(vector["root-key"], "hex")));
    const said = verifyHandle(vector.handle, keys.findKey, vector.issuer);
    if (vector.expect !== "accepted") {
      expect((await refusalOf(() => said)).code).toBe(vector.expect);
      return;
    }
    const claims: HandleClaims = JSON.parse(payload.toString());
    expect(await said).toEqual(claims);
    expect(await signHandle(claims, keys.signingKey)).toBe(vector.handle);
  });
});

describe("a handle", () => {
  test("gives back the claims that the broker signed", async () => {
    expect(await verify(await signHandle(claims, signingKey))).toEqual(claims);
  });

  test("is good until the second in which it expires, and not in it", async () => {
    const handle = await signHandle(claims, signingKey);
    vi.useFakeTimers({ toFake: ["Date"], now: (claims.exp - 1) * 1000 });
    expect((await verify(handle)).jti).toBe(claims.jti);
    vi.setSystemTime(claims.exp * 1000);
    expect(await refusalOf(() => verify(handle))).toMatchObject({ code: "handle_expired" });
  });
});

test("a handle of an older version is refused for that, and somebody else's is not called one", async () => {
  const old = { ...claims, cache_id: "y" };
  expect(await refusalOf(() => sign(header, old).then(verify))).toMatchObject({ code: "handle_outdated" });
  const forged = () => sign(header, old, stranger.signingKey.privateKey).then(verify);
  expect(await refusalOf(forged)).toMatchObject({ code: "invalid_handle" });
});

describe("a handle is not the broker's", () => {
  const without = (claim: keyof HandleClaims) => {
    const { [claim]: _, ...rest } = claims;
    return sign(header, rest as jose.JWTPayload);
  };
  const withPart = async (part: 0 | 1 | 2, change: (text: string) => string) => {
    const parts = (await signHandle(claims, signingKey)).split(".");
    parts[part] = change(parts[part] as string);
    return parts.join(".");
  };
  const symmetric = new TextEncoder().encode(jwks.keys[0]?.x);

  const forgeries: Record<string, () => Promise<string>> = {
    "when another key signed it under the broker's kid": () =>
      sign(header, claims, stranger.signingKey.privateKey),
    "when another key signed it under its own kid": () => signHandle(claims, stranger.signingKey),
    "when a claim was changed": () => withPart(1, () => encode({ ...claims, uses: 1000 })),
    "when the signature was changed": () =>
      withPart(2, (signature) => (signature.startsWith("A") ? "B" : "A") + signature.slice(1)),
    "when the signature was cut off": () => withPart(2, () => ""),
    "when it says that nothing signed it": async () =>
      `${encode({ ...header, alg: "none" })}.${encode(claims)}.`,
    "when the public key was used as a shared one": () =>
      new jose.SignJWT(claims).setProtectedHeader({ ...header, alg: "HS256" }).sign(symmetric),
    "when it brings its own key": async () => {
      const { privateKey, publicKey } = await jose.generateKeyPair("EdDSA");
      return sign({ ...header, jwk: await jose.exportJWK(publicKey) }, claims, privateKey);
    },
    "when it is of another type": () => sign({ ...header, typ: "JWT" }),
    "when it is of no type": () => sign({ alg: "EdDSA", kid: signingKey.kid }),
    "when another issuer is in it": () => sign(header, { ...claims, iss: "https://other.example" }),
    "when it never expires": () => without("exp"),
    "when it has no digest": () => without("digest"),
    "when it has no uses": () => without("uses"),
    "when it has no tenant": () => without("tenant"),
    "when it is for several": () =>
      sign(header, { ...claims, aud: ["ci", "other"] } as unknown as jose.JWTPayload),
    "when it is no JWS": async () => "claim.check.please",
    "when it is nothing": async () => "",
  };

  test.each(Object.entries(forgeries))("%s", async (_, forge) => {
    const handle = await forge();
    expect(await refusalOf(() => verify(handle))).toMatchObject({ code: "invalid_handle" });
  });

  test("when it has expired and somebody else signed it: then it says nothing of expiry", async () => {
    const handle = await sign(header, { ...claims, exp: now - 1 }, stranger.signingKey.privateKey);
    expect(await refusalOf(() => verify(handle))).toMatchObject({ code: "invalid_handle" });
  });
});
