import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { createAuthenticator } from "../../../../broker/authn/authenticate.ts";
import { refusalOf } from "../../../support/refusal.ts";

const audience = "https://broker.example";
const [ci, deploy] = await Promise.all([jose.generateKeyPair("EdDSA"), jose.generateKeyPair("ES256")]);
const roles = ["requester"] as const;
const authenticate = createAuthenticator(
  [
    {
      issuer: "https://ci.example",
      keys: async () => ci.publicKey,
      algorithms: ["EdDSA"],
      skew: 0,
      prefix: "ci:",
      members: [{ tenant: "acme", who: {}, roles }],
    },
    {
      issuer: "https://deploy.example",
      keys: async () => deploy.publicKey,
      algorithms: ["ES256"],
      skew: 0,
      prefix: "deploy:",
      members: [{ tenant: "rival", who: {}, roles }],
    },
  ],
  audience,
);

const now = Math.floor(Date.now() / 1000);
const claims = { iss: "https://ci.example", sub: "repo:acme/site", aud: audience, exp: now + 60 };
const sign = (payload: jose.JWTPayload, alg = "EdDSA", { privateKey } = ci) =>
  new jose.SignJWT(payload).setProtectedHeader({ alg }).sign(privateKey);
const without = (claim: keyof typeof claims) => sign({ ...claims, [claim]: undefined });

describe("a caller", () => {
  test("is who the token's issuer says, of the tenant that the issuer is for", async () => {
    const accessToken = await sign(claims);
    expect(await authenticate(`Bearer ${accessToken}`)).toEqual({
      tenant: "acme",
      principal: "ci:repo:acme/site",
      accessToken,
      claims,
      roles,
      proofKeys: [],
      anyProofKey: false,
    });
    const other = await sign({ ...claims, iss: "https://deploy.example" }, "ES256", deploy);
    expect(await authenticate(`DPoP ${other}`)).toMatchObject({ tenant: "rival" });
  });

  test("may have a token for several audiences, of which this broker is one", async () => {
    const token = await sign({ ...claims, aud: ["https://other.example", audience] });
    expect(await authenticate(`Bearer ${token}`)).toMatchObject({ principal: "ci:repo:acme/site" });
  });
});

/** Signed as the text stands: an object of JavaScript has no such numbers. */
async function signText(text: string): Promise<string> {
  const head = Buffer.from(JSON.stringify({ alg: "EdDSA" })).toString("base64url");
  const signed = `${head}.${Buffer.from(text).toString("base64url")}`;
  const signature = await crypto.subtle.sign("Ed25519", ci.privateKey, Buffer.from(signed));
  return `${signed}.${Buffer.from(signature).toString("base64url")}`;
}

describe("a number in a token", () => {
  const asks = async (pattern: string, number: string) => {
    const issuer = {
      issuer: "https://ci.example",
      keys: async () => ci.publicKey,
      algorithms: ["EdDSA"],
      skew: 0,
      prefix: "ci:",
      members: [{ tenant: "acme", who: { repository: { id: pattern } }, roles }],
    };
    const text = `${JSON.stringify({ ...claims, repository: {} }).slice(0, -2)}"id":${number}}}`;
    const authorization = `Bearer ${await signText(text)}`;
    return createAuthenticator(
      [issuer],
      audience,
    )(authorization).then(
      () => true,
      () => false,
    );
  };
  test.each([
    ["9007199254740993", "9007199254740993", true],
    ["9007199254740993", "9007199254740992", false],
    ["9007199254740992", "9007199254740993", false],
    ["123456789012345678901234567890", "123456789012345678901234567891", false],
    ["-9007199254740993", "-9007199254740993", true],
    ["Infinity", "1e400", false],
    ["7", "7", true],
    ["7", "7.0", true],
  ])("%s in a policy is %s there: %j", async (pattern, number, same) => {
    expect(await asks(pattern, number)).toBe(same);
  });
});

describe("a token makes nobody a caller", () => {
  test.each<[string, string, () => Promise<string>]>([
    ["that never expires", "token_invalid", () => without("exp")],
    ["of nobody", "token_invalid", () => without("sub")],
    ["for nobody", "token_invalid", () => without("aud")],
    ["for another audience", "token_invalid", () => sign({ ...claims, aud: "https://other.example" })],
    ["that has expired", "token_expired", () => sign({ ...claims, exp: now - 1 })],
    ["that is not good yet", "token_invalid", () => sign({ ...claims, nbf: now + 60 })],
    [
      "in one issuer's name by another's key",
      "token_invalid",
      () => sign({ ...claims, iss: "https://deploy.example" }),
    ],
    ["of an unknown issuer", "issuer_unknown", () => sign({ ...claims, iss: "https://evil.example" })],
    ["of no issuer", "issuer_unknown", () => without("iss")],
    ...[
      7,
      true,
      null,
      {},
      [],
      ["repo:acme/site"],
      "",
      "a\u0000b",
      "a\nb",
      "a\u009bb",
      "a\ud800b",
      "x".repeat(1025),
    ].map((sub): [string, string, () => Promise<string>] => [
      `whose sub is ${JSON.stringify(sub).slice(0, 40)}`,
      "subject_invalid",
      () => sign({ ...claims, sub: sub as string }),
    ]),
  ])("%s", async (_, reason, make) => {
    const token = await make();
    const refusal = await refusalOf(() => authenticate(`Bearer ${token}`));
    expect(refusal).toMatchObject({ code: "unauthenticated", reason, detail: undefined });
  });

  test.each([undefined, "", "Bearer", "Bearer ", "Basic eDp5", "Bearer a b"])("%j", async (authorization) => {
    expect(await refusalOf(() => authenticate(authorization))).toMatchObject({ code: "unauthenticated" });
  });
});
