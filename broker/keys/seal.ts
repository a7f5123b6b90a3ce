/** Values under a key (AES-256-GCM): nonce, ciphertext, tag. One opens only under the name that it was sealed under. */
import { createCipheriv, createDecipheriv, type KeyObject, randomBytes } from "node:crypto";
import { Secret } from "../../shared/secret.ts";

const nonceLength = 12;
const tagLength = 16;

/** By how much a sealed value is longer. */
export const sealOverhead = nonceLength + tagLength;

export type SealingKey = KeyObject | Uint8Array;

export function seal(key: SealingKey, name: string, value: Secret): Uint8Array {
  const nonce = randomBytes(nonceLength);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
  const text = cipher.update(value.expose());
  cipher.final();
  return joinExactly(nonce, text, cipher.getAuthTag());
}

/** @throws when the bytes were not sealed under this key and name. */
export function unseal(key: SealingKey, name: string, sealed: Uint8Array): Secret {
  const tag = sealed.length - tagLength;
  const decipher = createDecipheriv(
    "aes-256-gcm",
    key,
    sealed.subarray(0, nonceLength),
    // Or a store could present four bytes as the whole tag, and guess them.
    { authTagLength: tagLength },
  )
    .setAAD(Buffer.from(name))
    .setAuthTag(sealed.subarray(tag));
  const value = decipher.update(sealed.subarray(nonceLength, tag));
  try {
    decipher.final();
  } catch (error) {
    // Under the wrong key it is noise, but it was never ours to hand on.
    value.fill(0);
    throw error;
  }
  return new Secret(value);
}

/** In memory of its own: what Buffer lends from its pool keeps all of the pool alive, 64 KiB for 39 bytes. */
function joinExactly(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
