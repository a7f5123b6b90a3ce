/** The audit log of a broker that this process is, in a file. */
import { type AuditLog, openAuditLog, secretNames } from "../broker/audit/log.ts";
import type { BrokerKeys } from "../broker/keys.ts";
import type { Resolver } from "../broker/resolver.ts";
import { Failure } from "../executor/failure.ts";
import { ClaimcheckError } from "../shared/errors.ts";

/**
 * @param path undefined for a broker that keeps no log.
 * @throws {Failure} `state_unusable`.
 */
export async function openAudit(
  path: string | undefined,
  keys: BrokerKeys,
  resolver: Resolver,
): Promise<AuditLog> {
  const names = secretNames(resolver, keys);
  if (path === undefined) return openAuditLog([], keys.auditKey, names);
  const { fileSink } = await import("../broker/audit/file.ts");
  try {
    return await openAuditLog([fileSink(path, { findKey: keys.findAuditKey })], keys.auditKey, names);
  } catch (cause) {
    const why = cause instanceof ClaimcheckError ? cause.detail : (cause as NodeJS.ErrnoException).code;
    throw new Failure("state_unusable", { detail: `the audit log ${path} cannot be used: ${why}`, cause });
  }
}
