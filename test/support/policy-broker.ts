/** A broker in memory whose policy is the text of a file, and the one issuer that such a text believes. */
import * as jose from "jose";
import { brokerUrl, startBroker } from "./broker.ts";
import { loadPolicy } from "./policy.ts";

export const issuerUrl = "https://ci.example";

/** A file with one tenant. @param principals and rules, in YAML, a line each. */
export const policyText = (principals: readonly string[], rules: readonly string[]) => `version: 1
issuers:
  ci: { issuer: "${issuerUrl}", algorithms: [ES256] }
tenants:
  acme:
    principals:
${principals.map((line) => `      - ${line}\n`).join("")}    rules:
${rules.map((line) => `      - ${line}\n`).join("")}`;

/** @throws where the text has faults, which are the message. */
export async function startPolicyBroker(text: string, environment: Readonly<Record<string, string>> = {}) {
  const { publicKey, privateKey } = await jose.generateKeyPair("ES256");
  const loaded = loadPolicy(text, ({ issuer }) => ({
    issuer,
    find: async () => publicKey,
    version: async () => 1,
    isFailing: () => false,
  }));
  if ("faults" in loaded) throw new Error(loaded.faults.map(({ message }) => message).join("\n"));
  const broker = await startBroker({
    environment,
    moreIssuers: loaded.issuers,
    rules: loaded.rules.map(({ rule }) => rule),
  });
  return {
    broker,
    /** A token for ten minutes. */
    sign: (claims: jose.JWTPayload): Promise<string> =>
      new jose.SignJWT({ iss: issuerUrl, aud: brokerUrl, ...claims })
        .setProtectedHeader({ alg: "ES256" })
        .setExpirationTime("10m")
        .sign(privateKey),
  };
}
