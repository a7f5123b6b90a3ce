/** An OIDC issuer on loopback: a real HTTP server with a JWKS and a discovery document, and tokens signed by jose. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as jose from "jose";
import { onTestFinished } from "vitest";

interface Key {
  readonly kid: string;
  readonly alg: string;
  readonly privateKey: jose.CryptoKey;
  readonly publicJwk: jose.JWK;
}

export type TestIssuer = Awaited<ReturnType<typeof openIssuer>>;

/** It ends with the test. */
export async function startIssuer(alg?: string): Promise<TestIssuer> {
  const issuer = await openIssuer(alg);
  onTestFinished(issuer.stop);
  return issuer;
}

async function makeKey(alg: string, kid: string): Promise<Key> {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { kid, alg, privateKey, publicJwk: { ...(await jose.exportJWK(publicKey)), kid, alg, use: "sig" } };
}

export async function openIssuer(alg = "RS256") {
  let key = await makeKey(alg, "1");
  const state = {
    /** How often its keys were asked for. */
    fetches: 0,
    /** What it does instead of answering, if anything. */
    trouble: undefined as "error" | "silence" | "nonsense" | "redirect" | "flood" | undefined,
    /** The discovery document's, where it is to differ. */
    discovered: {} as Record<string, string>,
  };

  const server = createServer((request, response) => {
    if (request.url === "/.well-known/openid-configuration") {
      response.end(JSON.stringify({ issuer: url, jwks_uri: `${url}/keys`, ...state.discovered }));
      return;
    }
    state.fetches += 1;
    if (state.trouble === "silence") return;
    if (state.trouble === "error") response.statusCode = 500;
    if (state.trouble === "redirect") response.writeHead(302, { location: `${url}/elsewhere` });
    if (state.trouble === "flood") response.write(`{"keys":[],"more":"${"x".repeat(2 ** 20)}`);
    response.end(state.trouble === "nonsense" ? '{"keys":1}' : JSON.stringify({ keys: [key.publicJwk] }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.closeAllConnections();
    server.close();
  };

  return {
    url,
    state,
    stop,

    /** A new key in the place of the old one. */
    async rotate(): Promise<void> {
      key = await makeKey(alg, String(Number(key.kid) + 1));
    },

    /** A token for ten minutes, unless the claims say otherwise. */
    sign(claims: jose.JWTPayload, header: { alg?: string; kid?: string } = {}): Promise<string> {
      const now = Math.floor(Date.now() / 1000);
      return new jose.SignJWT({ iss: url, iat: now, exp: now + 600, ...claims })
        .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: "JWT", ...header })
        .sign(key.privateKey);
    },

    get publicJwk(): jose.JWK {
      return key.publicJwk;
    },
  };
}
