/**
 * What a handle's value is known by: in the audit log, and in executors' caches. It lies in the store sealed, as
 *
 *     digest LF cache id
 *
 * in base64url, under a name of the handle's own: who can read the store cannot see which values are equal.
 */
import { Secret } from "../../shared/secret.ts";
import type { BrokerKeys } from "./keys.ts";

export interface Marks {
  /** For audit records alone (`keys.digest`). */
  readonly digest: string;
  /** For checks alone (`keys.cacheId`); empty where the rule that the handle was issued by says `cache: never`. */
  readonly cacheId: string;
}

const nameOf = (jti: string) => `marks:${jti}`;

export function sealMarks(keys: BrokerKeys, tenant: string, jti: string, { digest, cacheId }: Marks): string {
  const text = new Secret(Buffer.from(`${digest}\n${cacheId}`));
  return Buffer.from(keys.seal(tenant, nameOf(jti), text)).toString("base64url");
}

/** @returns undefined for what none of the present keys has sealed for this handle. */
export function openMarks(keys: BrokerKeys, tenant: string, jti: string, marks: string): Marks | undefined {
  try {
    const opened = keys.unseal(tenant, nameOf(jti), Buffer.from(marks, "base64url"));
    const [digest = "", cacheId = ""] = Buffer.from(opened.expose()).toString().split("\n");
    return { digest, cacheId };
  } catch {
    return undefined;
  }
}
