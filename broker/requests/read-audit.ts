/**
 * What an auditor gets: the decisions about its own tenant, and nobody else's. That it looked is one of them. Digests of
 * values are for those alone who cannot ask for handles: who can set one secret and use another could guess its value.
 */
import * as z from "zod/mini";
import { AuditEntry } from "../audit/record.ts";
import type { Caller } from "../authn/caller.ts";
import type { Broker } from "../broker.ts";
import { refusalOf } from "../policy/decide.ts";
import { auditReason } from "./audit-reason.ts";

const time = z.iso.datetime({ offset: true });

/** The parameters of `GET /v1/audit`. */
export const AuditQuery = z.strictObject({
  uri: z.optional(z.string().check(z.maxLength(8192))),
  principal: z.optional(z.string().check(z.maxLength(1024))),
  since: z.optional(time),
  until: z.optional(time),
  limit: z.optional(z.string().check(z.regex(/^([1-9]\d{0,2}|1000)$/))),
  after: z.optional(z.string().check(z.maxLength(1024))),
});

export const AuditPage = z.strictObject({ records: z.array(AuditEntry), next: z.optional(z.string()) });

export type AuditQuery = z.infer<typeof AuditQuery>;
export type AuditPage = z.infer<typeof AuditPage>;

const defaultLimit = 100;

export async function readAudit(
  broker: Broker,
  caller: Caller,
  { uri, principal, since, until, limit, after }: AuditQuery,
  request: string,
): Promise<AuditPage> {
  const { tenant } = caller;
  const about = { action: "audit.read", tenant, principal: caller.principal, request } as const;
  const decision = broker.policy.decide(caller, "audit.read");
  if (!decision.allowed) {
    const refusal = refusalOf(broker.policy, caller, "audit.read");
    await broker.audit.record([{ ...about, outcome: "denied", ...auditReason(refusal) }]);
    throw refusal;
  }
  await broker.audit.record([{ ...about, outcome: "shown", rule: decision.rule }]);
  const { entries, next, isLast } = await broker.audit.query(
    {
      tenant,
      principal,
      uris: uri === undefined ? undefined : spellings(broker, tenant, uri),
      since: since && inLogForm(since),
      until: until && inLogForm(until),
    },
    { after, limit: limit === undefined ? defaultLimit : Number(limit) },
  );
  const records = mayAsk(broker, caller) ? entries.map(withoutDigest) : [...entries];
  return { records, ...(!isLast && { next }) };
}

const mayAsk = ({ policy }: Broker, caller: Caller): boolean =>
  (["issue", "wrap"] as const).some((action) => policy.decideForAny(caller, action).allowed);

function withoutDigest(entry: AuditEntry): AuditEntry {
  if (entry.type !== "decision") return entry;
  const { digest, ...rest } = entry;
  return rest;
}

/** All of the log until now, for who may read in it: how it grows tells what others do. */
export async function readHeads(
  broker: Broker,
  caller: Caller,
  request: string,
): Promise<{ heads: string[] }> {
  const decision = broker.policy.decide(caller, "audit.read");
  if (decision.allowed) return { heads: await broker.audit.heads() };
  const { tenant, principal } = caller;
  const refusal = refusalOf(broker.policy, caller, "audit.read");
  const about = { action: "audit.read", tenant, principal, request, outcome: "denied" } as const;
  await broker.audit.record([{ ...about, ...auditReason(refusal) }]);
  throw refusal;
}

/** Under all of these the log can have a secret: as it is, or by a keyed hash of what was asked for. */
function spellings({ resolver, keys }: Broker, tenant: string, uri: string): string[] {
  const texts = new Set([uri]);
  try {
    texts.add(resolver.parse(tenant, uri).canonical);
  } catch {
    // What is no URI can have been asked for all the same.
  }
  return [...texts].flatMap((text) => [
    text,
    ...keys.redactions(tenant, text).map((hash) => `redacted:${hash}`),
  ]);
}

const inLogForm = (text: string): string => new Date(text).toISOString();
