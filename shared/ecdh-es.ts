/**
 * A compact JWE (RFC 7516): ECDH-ES on P-256 with direct key agreement (RFC 7518, section 4.6) and A256GCM. The sender's
 * half is here and not jose's because a redemption spent a third of its time in jose's way through the Web
 * Cryptography API, which takes more than twice as long; the receiver's half is jose's, and the tests hold the two
 * together.
 */
import {
  createCipheriv,
  createHash,
  createSecretKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import * as jose from "jose";

const enc = "A256GCM";
const nonceLength = 12;

export type Recipient = KeyObject;

export type PrivateKey = jose.CryptoKey;

/** @throws when it cannot be decrypted. */
export async function decryptWith(privateKey: PrivateKey, payload: string): Promise<Uint8Array> {
  const { plaintext } = await jose.compactDecrypt(payload, privateKey, {
    keyManagementAlgorithms: ["ECDH-ES"],
    contentEncryptionAlgorithms: ["A256GCM"],
  });
  return plaintext;
}

export function encryptTo(recipient: Recipient, plaintext: Uint8Array, typ: string): string {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { kty, crv, x, y } = publicKey.export({ format: "jwk" });
  const header = encode(JSON.stringify({ alg: "ECDH-ES", enc, typ, epk: { kty, crv, x, y } }));
  const bytes = contentKey(diffieHellman({ privateKey, publicKey: recipient }));
  const key = createSecretKey(bytes);
  bytes.fill(0);
  const nonce = randomBytes(nonceLength);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(header));
  // In this mode nothing is left for the end.
  const ciphertext = cipher.update(plaintext);
  cipher.final();
  // No encrypted key in the second place: the agreement is the key.
  return [header, "", encode(nonce), encode(ciphertext), encode(cipher.getAuthTag())].join(".");
}

const encode = (bytes: string | Buffer) =>
  (typeof bytes === "string" ? Buffer.from(bytes) : bytes).toString("base64url");

/** The Concat KDF (NIST SP 800-56A) with one round, and neither party named. */
function contentKey(shared: Buffer): Buffer {
  const round = uint32(1);
  const algorithm = [uint32(enc.length), Buffer.from(enc)];
  const [apu, apv, bits] = [uint32(0), uint32(0), uint32(256)];
  const hash = createHash("sha256");
  for (const part of [round, shared, ...algorithm, apu, apv, bits]) hash.update(part);
  shared.fill(0);
  return hash.digest();
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
