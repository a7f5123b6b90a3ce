/**
 * An issuer of tokens for trying out a deployment: node issuer.mjs PORT AUDIENCE FOLDER SUBJECT…
 * writes a token for each subject to FOLDER/SUBJECT.token, says that it serves, and publishes its key on loopback.
 */
import { generateKeyPairSync, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const [port, audience, folder, ...subjects] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");

for (const sub of subjects) {
  const now = Math.floor(Date.now() / 1000);
  const signed = `${encode({ alg: "ES256", kid: "one" })}.${encode({ iss: issuer, sub, aud: audience, iat: now, exp: now + 86_400 })}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, dsaEncoding: "ieee-p1363" });
  writeFileSync(join(folder, `${sub}.token`), `${signed}.${signature.toString("base64url")}\n`, {
    mode: 0o600,
  });
}

const answers = {
  "/.well-known/openid-configuration": { issuer, jwks_uri: `${issuer}/jwks` },
  "/jwks": { keys: [{ ...publicKey.export({ format: "jwk" }), kid: "one", alg: "ES256", use: "sig" }] },
};
createServer(({ url }, response) => {
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(answers[url] ?? {}));
}).listen(Number(port), "127.0.0.1", () => console.log("serving"));
