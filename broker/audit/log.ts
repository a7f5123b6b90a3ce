/** The audit log, as the broker uses it: what is to be recorded goes to every sink, or it does not happen. */
import { ClaimcheckError } from "../../shared/errors.ts";
import type { SigningKey } from "../../shared/handle.ts";
import type { Complaint } from "../broker.ts";
import type { AuditFilter, AuditPage, PageRequest } from "./query.ts";
import type { AuditRecord, Unplaced } from "./record.ts";
import type { AuditSink } from "./sink.ts";
import { createTally } from "./tally.ts";

export type AuditLog = Awaited<ReturnType<typeof openAuditLog>>;

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
 * @param sinks each keeps a chain of its own, and all of them have to take a record, or what it is about must not
 * happen. Without a sink nothing is recorded: only for an embedded broker whose user did not ask for a log.
 * @param key what signs the chains' heads.
 * @throws what opening a sink throws.
 */
export async function openAuditLog(sinks: readonly AuditSink[], key: SigningKey, nameSecret: NameSecret) {
  const chains = sinks.length > 0 ? await openChains(sinks, key) : [];
  let broken = false;
  let retrying = false;

  const line = (record: AuditRecord): Unplaced => {
    const { tenant, uri } = record;
    if (tenant === undefined || uri === undefined || uri.startsWith("redacted:")) {
      return { type: "decision", ...record };
    }
    return { type: "decision", ...record, uri: nameSecret(tenant, uri) };
  };

  /** Nobody sends requests to a broker that is not ready, so it finds out by itself that it is again. */
  async function retry(): Promise<void> {
    if (retrying) return;
    retrying = true;
    try {
      await Promise.all(chains.map((chain) => chain.recover()));
      broken = false;
    } catch {
      // It is as it was.
    } finally {
      retrying = false;
    }
  }

  async function record(records: readonly AuditRecord[]): Promise<readonly string[]> {
    try {
      const lines = records.map(line);
      const heads = await Promise.all(chains.map((chain) => chain.append(lines)));
      broken = false;
      return heads;
    } catch (cause) {
      broken = true;
      throw new ClaimcheckError("audit_unavailable", { cause });
    }
  }

  const tally = createTally((lines) => Promise.all(chains.map((chain) => chain.append(lines))));

  return {
    complaints(): Complaint[] {
      if (!broken) return [];
      void retry();
      return [{ part: "audit log", message: "it cannot be written", serving: false }];
    },

    /**
     * @returns the heads that the records are part of, one a sink, once they are durable everywhere.
     * @throws {ClaimcheckError} `audit_unavailable`.
     */
    record,

    /** Counts a refusal that gets no record of its own; see broker/audit/tally.ts. */
    count: tally.count,

    /** All that is durable, signed now: one head a sink. */
    async heads(): Promise<string[]> {
      const heads = await Promise.all(chains.map((chain) => chain.head()));
      return heads.filter((head) => head !== undefined);
    },

    /**
     * What the first sink has.
     *
     * @throws {ClaimcheckError} `not_found` where no log is kept, `invalid_request` for a page that there is none of,
     * and `audit_unavailable`.
     */
    async query(filter: AuditFilter, page: PageRequest): Promise<AuditPage> {
      const [chain] = chains;
      if (!chain) throw new ClaimcheckError("not_found");
      try {
        return await chain.query(filter, page);
      } catch (cause) {
        if (cause instanceof ClaimcheckError) throw cause;
        throw new ClaimcheckError("audit_unavailable", { cause });
      }
    },

    async close(): Promise<void> {
      await tally.close().catch(() => {});
      await Promise.all(chains.map((chain) => chain.close()));
    },
  };
}

/** A run without a log does not load what writes one. */
async function openChains(sinks: readonly AuditSink[], key: SigningKey) {
  const { openChain } = await import("./chain.ts");
  return Promise.all(sinks.map((sink) => openChain(sink, key)));
}
