/** What lies in the stand-in's account, encrypted as 1Password keeps it: every key under another, down to the token's. */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  publicEncrypt,
  randomBytes,
} from "node:crypto";
import * as jose from "jose";

export interface Field {
  readonly id?: string;
  readonly label: string;
  readonly section?: string;
  /** concealed, string, …; `username` and `password` are built in and have no section. */
  readonly kind?: string;
  readonly value: string;
}

/** Vault title → item title → fields. */
export type Account = Readonly<Record<string, Readonly<Record<string, readonly Field[]>>>>;

const alphabet = "abcdefghijklmnopqrstuvwxyz234567";

/** 16 bytes in base32, without padding. */
export function makeId(): string {
  let bits = BigInt(`0x${randomBytes(16).toString("hex")}`) << 2n;
  let id = "";
  for (let nth = 0; nth < 26; nth++, bits >>= 5n) id = alphabet[Number(bits & 31n)] + id;
  return id;
}

export const b64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
const fromB64 = (text: string) => Buffer.from(text, "base64url");

/** Encrypts as JSON Web Encryption does it, in 1Password's own wrapping. */
export function seal(value: unknown, key: Uint8Array, kid: string, more: object = {}) {
  const iv = randomBytes(12);
  const sealing = createCipheriv("aes-256-gcm", key, iv);
  const data = Buffer.concat([sealing.update(JSON.stringify(value)), sealing.final(), sealing.getAuthTag()]);
  return { kid, enc: "A256GCM", cty: "b5+jwk+json", iv: b64(iv), data: b64(data), ...more };
}

export function open({ iv, data }: { iv: string; data: string }, key: Uint8Array): unknown {
  const bytes = fromB64(data);
  const opening = createDecipheriv("aes-256-gcm", key, fromB64(iv)).setAuthTag(bytes.subarray(-16));
  return JSON.parse(Buffer.concat([opening.update(bytes.subarray(0, -16)), opening.final()]).toString());
}

export const symmetricKey = (kid: string) => {
  const bytes = randomBytes(32);
  const jwk = { kty: "oct", kid, alg: "A256GCM", ext: true, key_ops: ["decrypt", "encrypt"], k: b64(bytes) };
  return { bytes, jwk };
};

export type Keys = Awaited<ReturnType<typeof makeKeys>>;

/** The account's one key set: a symmetric key under the token's, and under that a pair to decrypt and one to sign. */
export async function makeKeys(
  master: Uint8Array,
  { iterations, salt }: { iterations: number; salt: string },
) {
  const uuid = makeId();
  const symmetric = symmetricKey(uuid);
  const [decrypting, signing] = await Promise.all([
    jose.generateKeyPair("RSA-OAEP", { modulusLength: 2048, extractable: true }),
    jose.generateKeyPair("ES256", { extractable: true }),
  ]);
  const jwk = async (key: jose.CryptoKey, alg: string, ...key_ops: string[]) => ({
    ...(await jose.exportJWK(key)),
    kid: uuid,
    alg,
    ext: true,
    key_ops,
  });
  const publicKey = await jwk(decrypting.publicKey, "RSA-OAEP", "encrypt");
  const keyset = {
    uuid,
    encryptedBy: "mp",
    sn: 1,
    encSymKey: seal(symmetric.jwk, master, "mp", { alg: "PBES2g-HS256", p2c: iterations, p2s: salt }),
    encPriKey: seal(await jwk(decrypting.privateKey, "RSA-OAEP", "decrypt"), symmetric.bytes, uuid),
    pubKey: publicKey,
    encSPriKey: seal(await jwk(signing.privateKey, "ES256", "sign"), symmetric.bytes, uuid),
    spubKey: await jwk(signing.publicKey, "ES256", "verify"),
  };
  return { uuid, keyset, publicKey: createPublicKey({ key: publicKey, format: "jwk" }) };
}

const since = "2024-01-01T00:00:00Z";

export function makeVault(
  title: string,
  items: Account[string],
  { uuid, publicKey }: Keys,
  accessorUuid: string,
) {
  const id = makeId();
  const key = symmetricKey(id);
  const wrapped = publicEncrypt(
    { key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: "sha1" },
    Buffer.from(JSON.stringify(key.jwk)),
  );
  const wire = {
    uuid: id,
    type: "U",
    createdAt: since,
    updatedAt: since,
    attrVersion: 1,
    contentVersion: 1,
    activeItemCount: Object.keys(items).length,
    clientAccess: 1,
    encAttrs: seal({ name: title, desc: "", type: "U" }, key.bytes, id),
    combinedAccess: {
      vaultUuid: id,
      accessorType: "user",
      accessorUuid,
      accessVersion: 1,
      acl: 0xffff,
      leaseTimeout: 0,
      vaultKeySN: 1,
      encryptedBy: uuid,
      encVaultKey: { kid: uuid, enc: "RSA-OAEP", cty: "b5+jwk+json", data: b64(wrapped) },
    },
  };
  return {
    id,
    title,
    wire,
    items: Object.entries(items).map(([name, fields]) => makeItem(name, fields, key.bytes, id)),
  };
}

function makeItem(title: string, fields: readonly Field[], key: Uint8Array, vault: string) {
  const id = makeId();
  const common = {
    uuid: id,
    templateUuid: "001",
    trashed: "N",
    createdAt: since,
    updatedAt: since,
    itemVersion: 1,
    encryptedBy: vault,
    changerUuid: makeId().toUpperCase(),
    faveIndex: 0,
    encOverview: seal({ title, ainfo: "", ps: 0, tags: [], url: "", URLs: [] }, key, vault),
  };
  const builtIn = fields.filter(({ label }) => label === "username" || label === "password");
  const rest = fields.filter((field) => !builtIn.includes(field));
  const details = {
    fields: builtIn.map(({ label, value }) => ({
      designation: label,
      name: label,
      type: label === "password" ? "P" : "T",
      value,
      id: label,
    })),
    notesPlain: "",
    sections: [...new Set(rest.map(({ section = "" }) => section))].map((section) => ({
      name: section === "" ? "add more" : section,
      title: section,
      fields: rest
        .filter((field) => (field.section ?? "") === section)
        .map(({ id: n = makeId(), label, kind = "concealed", value }) => ({
          k: kind,
          n,
          t: label,
          v: value,
        })),
    })),
  };
  const encDetails = seal(details, key, vault);
  return { id, title, overview: common, item: { ...common, encDetails } };
}
