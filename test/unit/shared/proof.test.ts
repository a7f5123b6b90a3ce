import { createHash, randomUUID } from "node:crypto";
import * as jose from "jose";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createIdentity } from "../../../executor/broker-client/identity.ts";
import { makeProof, type ProvenRequest, proofWindow, verifyProof } from "../../../shared/proof.ts";
import { thumbprint } from "../../../shared/thumbprint.ts";
import { refusalOf } from "../../support/refusal.ts";

const executor = await createIdentity();
const other = await createIdentity();

const request = {
  method: "POST",
  url: "https://broker.example/v1/redemptions",
  accessToken: "token",
  body: '{"id":"…"}',
  encryptionKey: executor.encryptionKey,
} satisfies ProvenRequest;

const sha256 = (text: string) => createHash("sha256").update(text).digest("base64url");
const header = { alg: "EdDSA", typ: "dpop+jwt", jwk: executor.proofKey.publicJwk };
const now = () => Math.floor(Date.now() / 1000);
const claims = async (): Promise<jose.JWTPayload> => ({
  jti: randomUUID(),
  htm: request.method,
  htu: request.url,
  ath: sha256(request.accessToken),
  bh: sha256(request.body),
  ekt: await jose.calculateJwkThumbprint(request.encryptionKey),
  iat: now(),
});
const sign = (payload: jose.JWTPayload, changed: Partial<jose.JWTHeaderParameters> = {}) =>
  new jose.SignJWT(payload).setProtectedHeader({ ...header, ...changed }).sign(executor.proofKey.privateKey);

const reasonFor = async (proof: string | undefined, of: ProvenRequest = request) => {
  const refusal = await refusalOf(() => verifyProof(proof, of));
  expect(refusal).toMatchObject({ code: "invalid_proof", detail: undefined });
  return refusal.reason;
};

afterEach(() => {
  vi.useRealTimers();
});

describe("a proof", () => {
  test("for this very request tells its key, its jti and until when it has to be remembered", async () => {
    const { jwt, jti } = await makeProof(request, executor.proofKey);
    const proven = await verifyProof(jwt, request);
    expect(proven).toMatchObject({ jkt: executor.jkt, jti });
    // As long as a clock that is `proofWindow` ahead or behind still accepts it.
    expect(proven.expires).toBe((jose.decodeJwt(jwt).iat as number) + 2 * proofWindow);
  });

  test("is another one each time", async () => {
    const [one, two] = await Promise.all([
      makeProof(request, executor.proofKey),
      makeProof(request, executor.proofKey),
    ]);
    expect(one.jti).not.toBe(two.jti);
  });

  test("does not hold the token or the body", async () => {
    const { jwt } = await makeProof(
      { ...request, accessToken: "sesame", body: "guessme" },
      executor.proofKey,
    );
    expect(JSON.stringify([jose.decodeJwt(jwt), jose.decodeProtectedHeader(jwt)])).not.toMatch(
      /sesame|guessme/,
    );
  });

  test("holds no private key", async () => {
    const { jwt } = await makeProof(request, executor.proofKey);
    expect(jose.decodeProtectedHeader(jwt).jwk).toEqual(executor.proofKey.publicJwk);
    expect(executor.proofKey.publicJwk).not.toHaveProperty("d");
  });
});

describe("a proof for another request is refused, and the log says what was another", () => {
  test.each<[string, Partial<ProvenRequest>]>([
    ["proof_htm_mismatch", { method: "PUT" }],
    ["proof_htu_mismatch", { url: "https://broker.example/v1/handles" }],
    ["proof_htu_mismatch", { url: "https://broker.example.evil/v1/redemptions" }],
    ["proof_htu_mismatch", { url: "http://broker.example/v1/redemptions" }],
    ["proof_ath_mismatch", { accessToken: "another token" }],
    ["proof_bh_mismatch", { body: `${request.body} ` }],
    ["proof_ekt_mismatch", { encryptionKey: other.encryptionKey }],
  ])("%s: %j", async (reason, changed) => {
    const { jwt } = await makeProof({ ...request, ...changed }, executor.proofKey);
    expect(await reasonFor(jwt)).toBe(reason);
  });

  test("a proof with none of it changed is taken, or the rows above would show nothing", async () => {
    expect(await verifyProof(await sign(await claims()), request)).toMatchObject({ jkt: executor.jkt });
  });
});

describe("a request without an encryption key", () => {
  const { encryptionKey: _, ...keyless } = request;

  test("is proven without one", async () => {
    const { jwt } = await makeProof(keyless, executor.proofKey);
    expect(await verifyProof(jwt, keyless)).toMatchObject({ jkt: executor.jkt });
  });

  test.each<[string, ProvenRequest, ProvenRequest]>([
    ["with one does not prove it", request, keyless],
    ["without one does not prove a request that has one", keyless, request],
  ])("a proof %s", async (_, proven, sent) => {
    const { jwt } = await makeProof(proven, executor.proofKey);
    expect(await reasonFor(jwt, sent)).toBe("proof_ekt_mismatch");
  });
});

describe("a proof without one of its claims is malformed", () => {
  test.each(["jti", "htm", "htu", "ath", "bh", "iat"])("%s", async (claim) => {
    const { [claim]: _, ...rest } = await claims();
    expect(await reasonFor(await sign(rest))).toBe("proof_malformed");
  });
});

describe("a proof is good for a minute around its making", () => {
  test.each([
    ["a minute old", -proofWindow, true],
    ["older", -proofWindow - 1, false],
    ["a minute ahead", proofWindow, true],
    ["further ahead", proofWindow + 1, false],
  ])("%s", async (_, age, good) => {
    vi.useFakeTimers({ toFake: ["Date"], now: 1_800_000_000_000 });
    const proof = await sign({ ...(await claims()), iat: now() + age });
    if (good) expect(await verifyProof(proof, request)).toMatchObject({ jkt: executor.jkt });
    else expect(await reasonFor(proof)).toBe("proof_stale");
  });
});

describe("no proof", () => {
  test.each([undefined, ""])("at all: %j", async (proof) => {
    expect(await reasonFor(proof)).toBe("proof_missing");
  });

  const forgeries: Record<string, () => Promise<string>> = {
    "that is no JWT": async () => "not.a.jwt",
    "that nothing signed": async () => {
      const parts = [{ ...header, alg: "none" }, await claims()];
      return `${parts.map((part) => Buffer.from(JSON.stringify(part)).toString("base64url")).join(".")}.`;
    },
    "that a shared secret signed": async () =>
      new jose.SignJWT(await claims())
        .setProtectedHeader({ ...header, alg: "HS256" })
        .sign(new TextEncoder().encode(header.jwk.x)),
    "that another key signed than it names": async () =>
      sign(await claims(), { jwk: other.proofKey.publicJwk }),
    "that names no key": async () =>
      new jose.SignJWT(await claims())
        .setProtectedHeader({ alg: "EdDSA", typ: "dpop+jwt" })
        .sign(executor.proofKey.privateKey),
    "that names a private key": async () => {
      const { privateKey } = await jose.generateKeyPair("EdDSA", { extractable: true });
      const jwk = await jose.exportJWK(privateKey);
      return new jose.SignJWT(await claims()).setProtectedHeader({ ...header, jwk }).sign(privateKey);
    },
    "of another algorithm": async () => {
      const { privateKey, publicKey } = await jose.generateKeyPair("ES384");
      const jwk = await jose.exportJWK(publicKey);
      return new jose.SignJWT(await claims())
        .setProtectedHeader({ ...header, alg: "ES384", jwk })
        .sign(privateKey);
    },
    "of another type": async () => sign(await claims(), { typ: "JWT" }),
    "whose jti is too short to be random": async () => sign({ ...(await claims()), jti: "1" }),
    "whose jti would fill the store": async () => sign({ ...(await claims()), jti: "x".repeat(65) }),
  };

  test.each(Object.entries(forgeries))("%s", async (_, forge) => {
    expect(await reasonFor(await forge())).toBe("proof_malformed");
  });
});

describe("a thumbprint", () => {
  test("is that of RFC 8037, appendix A.3", () => {
    const key = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" };
    expect(thumbprint(key)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
  });

  test.each(["Ed25519", "P-256"])("of a key on %s is jose's, whatever else the key says", async (crv) => {
    const { publicKey } = await jose.generateKeyPair(crv === "P-256" ? "ES256" : "EdDSA", {
      extractable: true,
    });
    const jwk = await jose.exportJWK(publicKey);
    expect(thumbprint({ use: "sig", ...jwk })).toBe(await jose.calculateJwkThumbprint(jwk));
  });
});
