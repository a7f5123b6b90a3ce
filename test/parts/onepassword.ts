/**
 * A stand-in for the 1Password service: enough of its protocol that the unmodified SDK 0.5.0 logs in to it and reads.
 * It was written from what that SDK sends and accepts, and proves our code against that SDK, not against the live
 * service. Log-in is SRP-6a in the 4096-bit group of RFC 3526; what follows is encrypted with the session's key.
 */
import { createHash, createHmac, getDiffieHellman, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import {
  type Account,
  b64,
  makeId,
  makeKeys,
  makeVault,
  open,
  seal,
  symmetricKey,
} from "./onepassword-account.ts";

const email = "robot@1password.example";
const secretKey = "A3-ABCDEF-GHJKLM-NPQRS-TVWXY-Z2345-6789A";
const secretKeyId = "ABCDEF";

const sha256 = (...parts: (Uint8Array | string)[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

// The group, and SRP-6a in it.
const prime = BigInt(`0x${getDiffieHellman("modp16").getPrime("hex")}`);
const generator = 5n;
const padded = (number: bigint) => Buffer.from(number.toString(16).padStart(1024, "0"), "hex");
const minimal = (number: bigint) => {
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 ? `0${hex}` : hex, "hex");
};
const toNumber = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);

function power(base: bigint, exponent: bigint): bigint {
  let result = 1n;
  let square = base % prime;
  for (let left = exponent; left > 0n; left >>= 1n) {
    if (left & 1n) result = (result * square) % prime;
    square = (square * square) % prime;
  }
  return result;
}

const identity = Buffer.from(b64(sha256(sha256(secretKeyId), sha256(email.toLowerCase()))));

interface Session {
  readonly id: string;
  key: Buffer;
  proof?: { readonly A: bigint; readonly B: bigint };
}

export interface ServiceRequest {
  readonly method: string;
  /** Without its query; ids are replaced by `:id`. */
  readonly route: string;
}

export type ServiceFault = (request: ServiceRequest, response: ServerResponse) => boolean;

export type OnePassword = Awaited<ReturnType<typeof startOnePassword>>;

export async function startOnePassword(account: Account) {
  const x = randomBytes(32);
  const verifier = power(generator, toNumber(x));
  const salt = randomBytes(16);
  const userAuth = { method: "SRPg-4096", alg: "PBES2g-HS256", iterations: 100_000, salt: b64(salt) };
  const master = symmetricKey("mp");
  const sessions = new Map<string, Session>();
  const log: ServiceRequest[] = [];
  let fault: ServiceFault = () => false;
  let keysetsLost = false;
  let inReverse = false;
  const deviceUuid = makeId();
  const userUuid = makeId().toUpperCase();
  const keys = await makeKeys(master.bytes, userAuth);
  const vaults = Object.entries(account).map(([title, items]) => makeVault(title, items, keys, userUuid));

  function answerPlain(request: string, body: Record<string, string>, headers: IncomingMessage["headers"]) {
    const session = sessions.get(String(headers["x-agilebits-session-id"]));
    switch (request) {
      case "POST /api/v3/auth/start": {
        const id = makeId().toUpperCase();
        sessions.set(id, { id, key: Buffer.alloc(0) });
        return { status: "ok", sessionID: id, accountKeyFormat: "A3", accountKeyUuid: body.skid, userAuth };
      }
      case "POST /api/v2/auth": {
        if (!session) return undefined;
        const A = BigInt(`0x${body.userA}`);
        const b = toNumber(randomBytes(32));
        const k = toNumber(sha256(padded(prime), padded(generator)));
        const B = (k * verifier + power(generator, b)) % prime;
        const u = toNumber(sha256(padded(A), padded(B)));
        const S = power(A * power(verifier, u), b);
        session.key = sha256(S.toString(16));
        session.proof = { A, B };
        return { userB: minimal(B).toString("hex") };
      }
      case "POST /api/v2/auth/confirm-key": {
        if (!session?.proof) return undefined;
        const { A, B } = session.proof;
        const [n, g] = [sha256(minimal(prime)), sha256(minimal(generator))];
        const mixed = Buffer.from(n.map((byte, at) => byte ^ (g[at] as number)));
        const parts = [mixed, sha256(identity), salt, minimal(A), minimal(B), session.key];
        const M = sha256(...parts);
        if (b64(M) !== body.clientVerifyHash) return undefined;
        return { serverVerifyHash: b64(sha256(minimal(A), M, session.key)) };
      }
    }
    return undefined;
  }

  function answerSession(method: string, path: string, body: unknown): unknown {
    const [, , , kind, vaultId, , itemId] = path.split("/");
    const vault = vaults.find(({ id }) => id === vaultId);
    if (path === "/api/v2/auth/complete") return { userUuid, accountUuid: makeId().toUpperCase() };
    if (path === "/api/v2/account/keysets") return { version: 1, keysets: keysetsLost ? [] : [keys.keyset] };
    if (path === "/api/v1/vaults") return vaults.map(({ wire }) => wire);
    if (kind !== "vault" || !vault) return undefined;
    if (path === `/api/v3/vault/${vaultId}`) return vault.wire;
    const { items } = vault;
    if (path.endsWith("/items/overviews")) {
      return { contentVersion: 1, batchComplete: true, items: items.map(({ overview }) => overview) };
    }
    if (path.endsWith("/items/batch") && method === "POST") {
      const { itemUuids } = body as { itemUuids: string[] };
      // In the order of the question, twice what appears twice: the SDK pairs the answers by position.
      const asked = itemUuids.map((uuid) => items.find(({ id }) => id === uuid));
      if (inReverse) asked.reverse();
      return { contentVersion: 1, items: asked.map((found) => found?.item) };
    }
    const found = items.find(({ id }) => id === itemId);
    return found && { contentVersion: 1, item: found.item };
  }

  const server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const { method = "", headers } = incoming;
    const path = (incoming.url ?? "").replace(/\?.*$/, "");
    const request = { method, route: path.replace(/\/[a-z2-7]{26}(?=\/|$)/g, "/:id") };
    log.push(request);
    if (fault(request, response)) return;
    const reply = (status: number, body: unknown = {}) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(body));
    };
    const text = Buffer.concat(chunks).toString();
    const json = text === "" ? undefined : JSON.parse(text);
    if (path.includes("/auth") && !path.endsWith("/complete")) {
      const answer = answerPlain(`${method} ${path}`, json, headers);
      return answer ? reply(200, answer) : reply(401);
    }
    const session = sessions.get(String(headers["x-agilebits-session-id"]));
    if (!session || !isAuthentic(session, method, incoming)) return reply(401);
    const answer = answerSession(method, path, json && open(json, session.key));
    return answer === undefined ? reply(404) : reply(200, seal(answer, session.key, session.id));
  });
  // Between two requests of a log-in, the SDK computes for long, and on a busy machine for longer than Node.js waits.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    origin,
    /** A service account's token; parts of it can be exchanged. */
    token: (changed: object = {}) =>
      `ops_${b64(
        Buffer.from(
          JSON.stringify({
            signInAddress: origin,
            userAuth,
            email,
            secretKey,
            srpX: x.toString("hex"),
            muk: master.jwk,
            deviceUuid,
            ...changed,
          }),
        ),
      )}`,
    /** The ids of a vault and of an item in it. */
    idsOf(vaultTitle: string, itemTitle: string): { vault: string; item: string } {
      const vault = vaults.find(({ title }) => title === vaultTitle)!;
      return { vault: vault.id, item: vault.items.find(({ title }) => title === itemTitle)!.id };
    },
    takeLog: () => log.splice(0).map(({ method, route }) => `${method} ${route}`),
    breakWith(next: ServiceFault): void {
      fault = next;
    },
    /** Answers a batch in another order than that of the question. */
    answerInReverse(): void {
      inReverse = true;
    },
    /** An account without key sets, at which the SDK panics. */
    loseKeysets(): void {
      keysetsLost = true;
    },
    mend(): void {
      fault = () => false;
      keysetsLost = false;
      inReverse = false;
    },
    /** Forgets who is logged in, as the service does after a while. */
    endSessions: () => sessions.clear(),
    async close(): Promise<void> {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** X-AgileBits-MAC: `v1|n|mac` over session, method, address and n. */
function isAuthentic({ id, key }: Session, method: string, { headers, url = "" }: IncomingMessage): boolean {
  const [version, n, mac] = String(headers["x-agilebits-mac"]).split("|");
  const host = String(headers.host).replace(/:\d+$/, "");
  const address = `${host}${url.includes("?") ? url : `${url}?`}`;
  const hmac = (secret: Uint8Array, text: string) => createHmac("sha256", secret).update(text).digest();
  const motto = "He never wears a Mac, in the pouring rain. Very strange.";
  const expected = hmac(hmac(key, motto), `${id}|${method}|${address}|${version}|${n}`).subarray(0, 12);
  return b64(expected) === mac;
}
