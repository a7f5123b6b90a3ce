/**
 * What a broker does with its keys: signing, digests, cache ids, sealing. While a root key is exchanged there are
 * two: the current one signs, digests and seals, the one before still verifies, decrypts and opens.
 */
import { createHash, createHmac, type KeyObject, timingSafeEqual } from "node:crypto";
import * as jose from "jose";
import { findAuditKeys } from "../../shared/audit-head.ts";
import type { Secret } from "../../shared/secret.ts";
import type { FindKey } from "../../shared/statement.ts";
import type { Jwks } from "../../shared/wire.ts";
import type { OpenHandle, StoredFields } from "../store/store.ts";
import { createDerivation, type Derivation } from "./derivation.ts";
import { seal, unseal } from "./seal.ts";

export interface Rotation {
  /** The root key before the current one, until the last handle under it has expired. */
  readonly previous?: Secret;
  /**
   * Root keys for sealing alone, the current one first: they can be exchanged without a change of any digest.
   * Without them the root keys seal too.
   */
  readonly sealing?: readonly [Secret, ...Secret[]];
}

export type BrokerKeys = Awaited<ReturnType<typeof createKeys>>;

/** Takes the root keys over; they live as long as the broker. */
export async function createKeys(root: Secret, { previous, sealing }: Rotation = {}) {
  const current = createDerivation(root);
  const roots = [current, ...(previous ? [createDerivation(previous)] : [])] as const;
  const seals = sealing ? [...sealing.map(createDerivation), ...roots] : roots;
  const signing = await Promise.all(roots.map((each) => each.signingKeys()));
  const encryption = await Promise.all(roots.map((each) => each.encryptionKeys()));
  const auditing = await Promise.all(roots.map((each) => each.auditKeys()));
  const signatureKeys = signing.map(({ jwk }) => jwk);
  const jwks: Jwks = { keys: [...signing, ...encryption, ...auditing].map(({ jwk }) => jwk) };

  const redacted = (root: Derivation, tenant: string, text: string) =>
    mac(root.key("redact", tenant), text).slice(0, 22);
  const mac = (key: KeyObject, ...parts: (string | Uint8Array)[]): string => {
    const hmac = createHmac("sha256", key);
    for (const part of parts) hmac.update(part);
    return hmac.digest("base64url");
  };

  const handleDigest = (root: Derivation, tenant: string, jti: string, sha256: Uint8Array) => {
    const key = createHmac("sha256", root.key("handle", tenant)).update(jti).digest();
    const digest = createHmac("sha256", key).update(sha256).digest("base64url");
    return `hmac-sha256:${root.id}:${digest}`;
  };

  return {
    signingKey: (signing[0] as (typeof signing)[0]).signingKey,
    jwks,
    findKey: jose.createLocalJWKSet({ keys: signatureKeys }) as FindKey,

    /** Signs the heads of the audit log, and nothing else. */
    auditKey: (auditing[0] as (typeof auditing)[0]).signingKey,
    findAuditKey: findAuditKeys(jwks),

    /** Finds the private half for the `kid` that a value was encrypted to. */
    findDecryptionKey: (kid: string | undefined): jose.CryptoKey | undefined =>
      encryption.find(({ jwk }) => jwk.kid === kid)?.decryptionKey,

    /**
     * What the audit log calls a value, and nobody else hears: `hmac-sha256:`, the id of the root key, ":", the MAC.
     * Equal values of a tenant have equal ones. A value that a requester brought is digested under a key of that
     * requester, so that bringing values and reading the log tells about its own alone.
     */
    digest(tenant: string, value: Secret, wrappedBy?: string): string {
      const purpose = wrappedBy === undefined ? "digest" : "digest-wrapped";
      return `hmac-sha256:${current.id}:${mac(current.key(purpose, tenant, wrappedBy), value.expose())}`;
    },

    /**
     * The handle's `digest`, in the same form, under a key for its `jti`: it compares with no other handle's. The MAC
     * is over the value's SHA-256, because one value may have a thousand handles.
     */
    handleDigest: (tenant: string, jti: string, sha256: Uint8Array): string =>
      handleDigest(current, tenant, jti, sha256),

    /** Whether this value is the one that the handle was issued for, under whichever root key. */
    isHandleDigest: (digest: string, tenant: string, jti: string, value: Secret): boolean =>
      roots.some((root) => isEqual(digest, handleDigest(root, tenant, jti, sha256Of(value)))),

    /**
     * What stands for a secret in caches; executors get it from a check. A tag byte keeps cache keys and values apart, so that neither can be made to
     * collide with the other; a value that a requester brought has that requester's key, as in `digest`, also under
     * a cache key: otherwise anybody could bring a value that counts as somebody else's.
     */
    cacheId(
      tenant: string,
      { wrappedBy, ...of }: ({ value: Secret } | { cacheKey: string }) & { wrappedBy?: string | undefined },
    ): string {
      const key = current.key(wrappedBy === undefined ? "cache" : "cache-wrapped", tenant, wrappedBy);
      return "cacheKey" in of ? mac(key, "k", of.cacheKey) : mac(key, "v", of.value.expose());
    },

    /** A URI that no rule allowed may be a pasted value: the audit log gets this instead. */
    redact: (tenant: string, text: string): string => redacted(current, tenant, text),

    /** The same under each root key: what the audit log may have instead. */
    redactions: (tenant: string, text: string): string[] => roots.map((root) => redacted(root, tenant, text)),

    /** What makes a record in the store this broker's own. */
    recordMac: (record: StoredFields): string => mac(current.key("record", record.tenant), fieldsOf(record)),

    isOwnRecord: (record: StoredFields & Pick<OpenHandle, "mac">): boolean =>
      roots.some((root) => isEqual(record.mac, mac(root.key("record", record.tenant), fieldsOf(record)))),

    /** As seal.ts says. Opens only under the same name. */
    seal(tenant: string, name: string, value: Secret): Uint8Array {
      return seal(seals[0].key("seal", tenant), name, value);
    },

    /** @throws when the bytes were not sealed under this tenant and name. */
    unseal(tenant: string, name: string, sealed: Uint8Array): Secret {
      const failures: unknown[] = [];
      for (const each of seals) {
        try {
          return unseal(each.key("seal", tenant), name, sealed);
        } catch (error) {
          failures.push(error);
        }
      }
      throw failures[0];
    },
  };
}

function fieldsOf({
  tenant,
  jti,
  subject,
  run,
  uri,
  marks,
  uses,
  expires,
  value,
  size,
  ...others
}: StoredFields): string {
  // A field that is added is one that a store could change, as long as this does not compile.
  others satisfies Record<string, never>;
  return JSON.stringify([tenant, jti, subject, run ?? null, uri, marks, uses, expires, value, size]);
}

/** For `handleDigest`; it never leaves the broker as it is. */
export const sha256Of = (value: Secret): Uint8Array => createHash("sha256").update(value.expose()).digest();

function isEqual(given: string, expected: string): boolean {
  const [left, right] = [Buffer.from(given), Buffer.from(expected)];
  return left.length === right.length && timingSafeEqual(left, right);
}
