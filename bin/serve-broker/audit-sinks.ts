/** Where the audit log of a broker that this process is goes. */
import { hostname } from "node:os";
import type { HeadMemory, HeadStore } from "../../broker/audit/heads.ts";
import { type AuditLog, openAuditLog, secretNames } from "../../broker/audit/log.ts";
import type { AuditSink } from "../../broker/audit/sink.ts";
import type { BrokerKeys } from "../../broker/keys/keys.ts";
import type { Resolver } from "../../broker/resolve/resolver.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";

/** All that are there count, but for standard output, which gets a copy. */
export interface AuditSinks {
  readonly file?: string | undefined;
  readonly postgres?: { readonly url: string; readonly broker: string } | undefined;
  readonly stdout?: boolean | undefined;
}

/**
 * @param places none for a broker that keeps no log.
 * @param heads where the newest head of each is kept for a restart, if there is somewhere.
 * @throws {Failure} `state_unusable`.
 */
export async function openAudit(
  places: AuditSinks,
  keys: BrokerKeys,
  resolver: Resolver,
  heads?: HeadStore,
): Promise<AuditLog> {
  const opened = await openSinks(places, keys.findAuditKey);
  const sinks = opened.map(({ name, sink }) => named(name, sink));
  const [first, ...others] = sinks;
  if (first && places.stdout) {
    const { copied } = await import("../../broker/audit/copy.ts");
    sinks.splice(0, sinks.length, copied(first, process.stdout), ...others);
  }
  const memories = heads ? await memoriesOf(opened, keys, heads) : [];
  return openAuditLog(sinks, keys.auditKey, secretNames(resolver, keys), memories).catch((cause) => {
    if (!(cause instanceof ClaimcheckError)) throw cause;
    const detail = `the audit log cannot be used: ${cause.detail ?? cause.message}`;
    throw new Failure("state_unusable", { detail, cause });
  });
}

export interface OpenSink {
  /** For people. */
  readonly name: string;
  /** The same after a restart, and no other broker's with the same store. */
  readonly place: string;
  readonly sink: AuditSink;
}

export async function openSinks(
  { file, postgres }: AuditSinks,
  findKey: BrokerKeys["findAuditKey"],
): Promise<OpenSink[]> {
  const places: OpenSink[] = [];
  if (file !== undefined) {
    const { fileSink } = await import("../../broker/audit/file.ts");
    places.push({ name: file, place: `file ${hostname()} ${file}`, sink: fileSink(file, { findKey }) });
  }
  if (postgres) {
    const { postgresSink } = await import("../../broker/audit/postgres.ts");
    const { broker } = postgres;
    places.push({
      name: "in PostgreSQL",
      place: `postgres ${broker}`,
      sink: postgresSink({ ...postgres, findKey }),
    });
  }
  return places;
}

export async function memoriesOf(
  places: readonly OpenSink[],
  { findAuditKey }: BrokerKeys,
  heads: HeadStore,
): Promise<HeadMemory[]> {
  const { rememberHeads } = await import("../../broker/audit/heads.ts");
  return places.map(({ place }) => rememberHeads(heads, place, findAuditKey));
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
