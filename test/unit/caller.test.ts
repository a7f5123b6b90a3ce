import * as jose from "jose";
import { describe, expect, test } from "vitest";
import { createAuthenticator } from "../../broker/caller.ts";
import { refusalOf } from "../refusal.ts";

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
  ])("%s", async (_, reason, make) => {
    const token = await make();
    const refusal = await refusalOf(() => authenticate(`Bearer ${token}`));
    expect(refusal).toMatchObject({ code: "unauthenticated", reason, detail: undefined });
  });

  test.each([undefined, "", "Bearer", "Bearer ", "Basic eDp5", "Bearer a b"])("%j", async (authorization) => {
    expect(await refusalOf(() => authenticate(authorization))).toMatchObject({ code: "unauthenticated" });
  });
});
