/**
 * The audit log: one JSON object a line, one line a decision. The schema below is closed; a value cannot enter
 * it, because no field takes one.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import type { Complaint } from "../broker.ts";

export interface AuditRecord {
  /** What was asked for. */
  readonly action: "issue" | "wrap" | "redeem" | "check" | "inspect" | "revoke";
  /** `repeat` is a release whose answer was asked for again. */
  readonly outcome:
    | "issued"
    | "released"
    | "repeat"
    | "confirmed"
    | "shown"
    | "revoked"
    | "denied"
    | "failed";
  /** Why, where the outcome is `denied` or `failed`; finer than the public code. */
  readonly code?: string;
  readonly tenant?: string;
  readonly principal?: string;
  /** Canonical; one that was refused is `redacted:` and a keyed hash, because people paste values into URIs. */
  readonly uri?: string;
  readonly jti?: string;
  readonly digest?: string;
  readonly rule?: string;
  readonly run?: string;
  /** Whose handles were revoked. */
  readonly subject?: string;
  /** One id for all records of one HTTP request. */
  readonly request: string;
  readonly redemption?: string;
  /** False where the executor said that it will not mask the output. */
  readonly masked?: boolean;
}

/** Where lines go. `append` resolves once they cannot be lost any more, and rejects when they may be. */
export interface AuditSink {
  append(lines: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export type AuditLog = ReturnType<typeof createAuditLog>;

/** How the log names a secret: as its canonical URI, or by a keyed hash of it. */
export type NameSecret = (tenant: string, uri: string) => string;

/** What an audit log of this broker calls its secrets. */
export function secretNames(
  resolver: { isConfidential(uri: string): boolean },
  keys: { redact(tenant: string, text: string): string },
): NameSecret {
  return (tenant, uri) => (resolver.isConfidential(uri) ? `redacted:${keys.redact(tenant, uri)}` : uri);
}

/**
 * @param sinks all of them have to take a record, or what it is about must not happen. Without a sink nothing is
 * recorded: only for an embedded broker whose user did not ask for a log.
 */
export function createAuditLog(sinks: readonly AuditSink[], nameSecret: NameSecret) {
  const named = (record: AuditRecord): AuditRecord =>
    record.uri === undefined || record.tenant === undefined || record.uri.startsWith("redacted:")
      ? record
      : { ...record, uri: nameSecret(record.tenant, record.uri) };
  let broken = false;

  return {
    complaints: (): Complaint[] =>
      broken ? [{ part: "audit log", message: "it cannot be written", serving: false }] : [],

    /** @throws {ClaimcheckError} `audit_unavailable`. */
    async record(records: readonly AuditRecord[]): Promise<void> {
      if (sinks.length === 0) return;
      const time = new Date().toISOString();
      const lines = records.map((record) => `${JSON.stringify({ time, ...named(record) })}\n`).join("");
      try {
        await Promise.all(sinks.map((sink) => sink.append(Buffer.from(lines))));
        broken = false;
      } catch (cause) {
        broken = true;
        throw new ClaimcheckError("audit_unavailable", { cause });
      }
    },

    async close(): Promise<void> {
      await Promise.all(sinks.map((sink) => sink.close()));
    },
  };
}
