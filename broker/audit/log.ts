/** The audit log, as the broker uses it: what is to be recorded goes to every sink, or it does not happen. */
import { ClaimcheckError } from "../../shared/errors.ts";
import type { SigningKey } from "../../shared/statement.ts";
import type { Complaint } from "../health.ts";
import type { HeadMemory } from "./heads.ts";
import type { AuditFilter, AuditPage, PageRequest } from "./query.ts";
import type { AuditRecord, Unplaced } from "./record.ts";
import { createRefusalCounts } from "./refusal-counts.ts";
import type { AuditSink } from "./sink.ts";

export type AuditLog = Awaited<ReturnType<typeof openAuditLog>>;

/** How often it is looked at while nothing is recorded, in milliseconds. */
const watchTime = 2_000;

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
 * @param memories what each sink had before a restart, in their order.
 * @throws what opening a sink throws.
 */
export async function openAuditLog(
  sinks: readonly AuditSink[],
  key: SigningKey,
  nameSecret: NameSecret,
  memories: readonly HeadMemory[] = [],
) {
  const chains = sinks.length > 0 ? await openChains(sinks, key, memories) : [];
  let trouble: unknown;
  let looking = false;

  const line = (record: AuditRecord): Unplaced => {
    const { tenant, uri } = record;
    if (tenant === undefined || uri === undefined || uri.startsWith("redacted:")) {
      return { type: "decision", ...record };
    }
    return { type: "decision", ...record, uri: nameSecret(tenant, uri) };
  };

  /** Nobody sends requests to a broker that is not ready, and idle ones have none: it finds out by itself how it stands. */
  async function look(): Promise<void> {
    if (looking) return;
    looking = true;
    try {
      await Promise.all(chains.map((chain) => chain.look()));
      trouble = undefined;
    } catch (cause) {
      trouble = cause;
    } finally {
      looking = false;
    }
  }

  const watching = chains.length > 0 ? setInterval(look, watchTime).unref() : undefined;

  async function record(records: readonly AuditRecord[]): Promise<readonly string[]> {
    try {
      const lines = records.map(line);
      const heads = await Promise.all(chains.map((chain) => chain.append(lines)));
      trouble = undefined;
      return heads;
    } catch (cause) {
      trouble = cause;
      throw new ClaimcheckError("audit_unavailable", { cause });
    }
  }

  const refusals = createRefusalCounts((lines) => Promise.all(chains.map((chain) => chain.append(lines))));

  return {
    complaints(): Complaint[] {
      if (trouble === undefined) return [];
      void look();
      const why = trouble instanceof ClaimcheckError && trouble.detail ? `: ${trouble.detail}` : "";
      return [{ part: "audit log", message: `it cannot be written${why}`, serving: false }];
    },

    /**
     * @returns the heads that the records are part of, one a sink, once they are durable everywhere.
     * @throws {ClaimcheckError} `audit_unavailable`.
     */
    record,

    /** Counts a refusal that gets no record of its own; see broker/audit/refusal-counts.ts. */
    count: refusals.count,

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
      clearInterval(watching);
      await refusals.close().catch(() => {});
      await Promise.all(chains.map((chain) => chain.close()));
    },
  };
}

/** A run without a log does not load what writes one. */
async function openChains(sinks: readonly AuditSink[], key: SigningKey, memories: readonly HeadMemory[]) {
  const { openChain } = await import("./chain.ts");
  const opening = await Promise.allSettled(
    sinks.map((sink, nth) => openChain(sink, key, { memory: memories[nth] })),
  );
  const opened = opening.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failed = opening.find((each) => each.status === "rejected");
  if (!failed) return opened;
  await Promise.all(opened.map((chain) => chain.close()));
  throw failed.reason;
}
