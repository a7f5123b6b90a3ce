/** Where the audit log of a broker that this process is goes. */
import { type AuditLog, openAuditLog, secretNames } from "../broker/audit/log.ts";
import type { AuditSink } from "../broker/audit/sink.ts";
import type { BrokerKeys } from "../broker/keys.ts";
import type { Resolver } from "../broker/resolver.ts";
import { Failure } from "../executor/failure.ts";
import { ClaimcheckError } from "../shared/errors.ts";

/** All that are there count, but for standard output, which gets a copy. */
export interface AuditPlaces {
  readonly file?: string | undefined;
  readonly postgres?: { readonly url: string; readonly broker: string } | undefined;
  readonly stdout?: boolean | undefined;
}

/**
 * @param places none for a broker that keeps no log.
 * @throws {Failure} `state_unusable`.
 */
export async function openAudit(
  { file, postgres, stdout }: AuditPlaces,
  keys: BrokerKeys,
  resolver: Resolver,
): Promise<AuditLog> {
  const sinks: AuditSink[] = [];
  const { findAuditKey: findKey } = keys;
  if (file !== undefined) {
    const { fileSink } = await import("../broker/audit/file.ts");
    sinks.push(named(file, fileSink(file, { findKey })));
  }
  if (postgres) {
    const { postgresSink } = await import("../broker/audit/postgres.ts");
    sinks.push(named("in PostgreSQL", postgresSink({ ...postgres, findKey })));
  }
  const [first, ...others] = sinks;
  if (first && stdout) {
    const { copied } = await import("../broker/audit/copy.ts");
    sinks.splice(0, sinks.length, copied(first, process.stdout), ...others);
  }
  return openAuditLog(sinks, keys.auditKey, secretNames(resolver, keys));
}

/** Says which of them it is that cannot be opened when the broker starts. */
function named(name: string, sink: AuditSink): AuditSink {
  let started = false;
  return {
    ...sink,
    async open() {
      try {
        const opened = await sink.open();
        started = true;
        return opened;
      } catch (cause) {
        if (started) throw cause;
        const { code } = cause as NodeJS.ErrnoException;
        const why = cause instanceof ClaimcheckError ? cause.detail : code;
        throw new Failure("state_unusable", {
          detail: `the audit log ${name} cannot be used: ${why}`,
          cause,
        });
      }
    },
  };
}
