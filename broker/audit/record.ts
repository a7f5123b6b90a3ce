/**
 * A line of the audit log. Its bytes are JSON (RFC 8259) as JSON.stringify writes it: UTF-8, no white space between
 * tokens, the fields in the order below, those that do not apply left out. Its hash is SHA-256, base64url, over these
 * bytes without the line feed that follows them. The schema is closed, and no field takes a value.
 *
 *   seq         its number in the chain, from 0 without a gap
 *   prev        the hash of the line before; empty in the first
 *   time        when it was written, by the broker's clock (RFC 3339, UTC)
 *   type        what kind of line it is:
 *
 *   chain       the first line of a chain and of each of its files
 *     version     of this format: 2. Every change of the format is a new version, and every version reads all older ones.
 *                 A broker begins a newer form with a chain line of that version: in a file the first line of a new file.
 *                 The fields up to this one stay as they are for ever, so that an older reader knows where it has to stop;
 *                 and the head of every checkpoint says the version, so that the last line alone tells
 *                   1  as of 0.1.0, where no head says it
 *                   2  there are `accepted` lines
 *     chain       the chain's id, a UUID that its first line makes up
 *
 *   decision    what somebody asked for and what came of it; written before it takes effect
 *     action      issue, wrap, redeem, check, inspect, revoke, audit.read, attest (to a result, for a shared cache)
 *     outcome     issued, released (plaintext left), repeat (a release whose answer was requested again), confirmed,
 *                 attested, shown, revoked, denied, failed
 *     code        why, where the outcome is denied or failed; finer than the public code. `cache_never` where a check is
 *                 confirmed without a cache id, because a rule says so
 *     tenant      whose principals and secrets it is about
 *     principal   who asked: the issuer's prefix and the token's `sub`
 *     uri         which secret, canonical; `redacted:` and a keyed hash where no rule allowed it, and for commands,
 *                 because people paste values into URIs
 *     jti         which handle
 *     digest      keyed digest of the secret's value: equal values of a tenant have equal ones. No handle carries it
 *     rule        the name of the rule that decided
 *     run         what the requester calls the run
 *     subject     whose handles were revoked
 *     request     one id for all records of one HTTP request
 *     redemption  the redemption's id
 *     masked      false where the executor said that it will not mask the output
 *     manifest    digest of the manifest of the result that was attested to
 *
 *   summary     refusals that are counted and not written one by one, so that nobody can fill the disk with them; at
 *               most one line for each code and tenant in a minute
 *     code        why: the caller is not known, or asks more often than it may
 *     tenant      whose principals these are, where that is known
 *     count       how many of them there were
 *     since       when the first of them was
 *
 *   recovered   what followed the last checkpoint after a crash was cut off; nobody was ever told that it was written
 *     bytes       how many bytes that was
 *     sha256      their SHA-256, base64url
 *     aside       the name of the file beside the log that has them now
 *
 *   accepted    the log lacked lines that this broker had written, and an operator let the chain go on all the same
 *     head        the newest one that is known of what is missing
 *
 *   checkpoint  ends what one write brought to the disk
 *     head        all lines before it, signed at its time; see shared/audit-head.ts
 */
import { hash } from "node:crypto";
import * as z from "zod/mini";
import { actions } from "../../shared/actions.ts";
import { peekPayload } from "../../shared/jws-peek.ts";

/** What this program writes, and the newest that it reads. */
export const auditVersion = 2;

const sha256 = z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/));

const time = z.string().check(z.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/));

const place = {
  seq: z.int().check(z.nonnegative()),
  prev: z.union([sha256, z.literal("")]),
  time,
};

const Chain = z.strictObject({
  ...place,
  type: z.literal("chain"),
  version: z.int().check(z.gte(1), z.lte(auditVersion)),
  chain: z.uuid(),
});

export const Decision = z.strictObject({
  ...place,
  type: z.literal("decision"),
  action: z.enum([...actions, "attest"]),
  outcome: z.enum([
    "issued",
    "released",
    "repeat",
    "confirmed",
    "attested",
    "shown",
    "revoked",
    "denied",
    "failed",
  ]),
  code: z.optional(z.string()),
  tenant: z.optional(z.string()),
  principal: z.optional(z.string()),
  uri: z.optional(z.string()),
  jti: z.optional(z.string()),
  digest: z.optional(z.string()),
  rule: z.optional(z.string()),
  run: z.optional(z.string()),
  subject: z.optional(z.string()),
  request: z.string(),
  redemption: z.optional(z.string()),
  masked: z.optional(z.boolean()),
  manifest: z.optional(z.string()),
});

export const Summary = z.strictObject({
  ...place,
  type: z.literal("summary"),
  code: z.string(),
  tenant: z.optional(z.string()),
  count: z.int().check(z.positive()),
  since: time,
});

const Recovered = z.strictObject({
  ...place,
  type: z.literal("recovered"),
  bytes: z.int().check(z.positive()),
  sha256,
  aside: z.string(),
});

const Accepted = z.strictObject({ ...place, type: z.literal("accepted"), head: z.string() });

const Checkpoint = z.strictObject({ ...place, type: z.literal("checkpoint"), head: z.string() });

const kinds = [Chain, Decision, Summary, Recovered, Accepted, Checkpoint] as const;

export const AuditLine = z.discriminatedUnion("type", kinds);

export type AuditLine = z.infer<typeof AuditLine>;
export type Decision = z.infer<typeof Decision>;
export type Summary = z.infer<typeof Summary>;
export type Recovered = z.infer<typeof Recovered>;

/** What people look for in a log; the other lines hold it together. */
export const AuditEntry = z.discriminatedUnion("type", [Decision, Summary]);

export type AuditEntry = z.infer<typeof AuditEntry>;

type PlaceField = keyof typeof place;

/** What a broker says of a decision; where it stands in the log is the log's to say. */
export type AuditRecord = Readonly<Omit<Decision, PlaceField | "type">>;

/** A line before it has its place. */
export type Unplaced = { [Kind in AuditLine as Kind["type"]]: Omit<Kind, PlaceField> }[AuditLine["type"]];

const order = [...new Set(kinds.flatMap((kind) => Object.keys(kind.shape)))];

/** Its bytes as text, without the line feed. What the schema does not name is left out. */
export const encodeLine = (line: AuditLine): string => JSON.stringify(line, order);

export const hashLine = (line: string | Uint8Array): string => hash("sha256", line, "base64url");

// Every byte counts: none is replaced, and a byte order mark is a character like any other.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @returns undefined for what is not a line in exactly the form above. */
export function decodeLine(bytes: Uint8Array): AuditLine | undefined {
  try {
    const line = utf8.decode(bytes);
    const { data } = AuditLine.safeParse(JSON.parse(line));
    return data && encodeLine(data) === line ? data : undefined;
  } catch {
    return undefined;
  }
}

const NewerChain = z.looseObject({
  ...place,
  type: z.literal("chain"),
  version: z.int().check(z.gt(auditVersion)),
});

/** A chain line of a version that is newer than what this program reads; undefined for every other line. */
export function decodeNewer(bytes: Uint8Array): z.infer<typeof NewerChain> | undefined {
  try {
    return NewerChain.safeParse(JSON.parse(utf8.decode(bytes))).data;
  } catch {
    return undefined;
  }
}

const AnyPlace = z.looseObject(place);

/** Where a line of any version stands, also of one that is newer than this program; undefined for what is no line. */
export function decodePlace(bytes: Uint8Array): z.infer<typeof AnyPlace> | undefined {
  try {
    return AnyPlace.safeParse(JSON.parse(utf8.decode(bytes))).data;
  } catch {
    return undefined;
  }
}

/**
 * The newer version that a chain line or a checkpoint is of; undefined for every other line. Nobody has verified it, so it
 * is only good for saying why a log is refused.
 */
export function newerVersionOf(bytes: Uint8Array): number | undefined {
  try {
    const { type, head } = JSON.parse(utf8.decode(bytes));
    if (type !== "checkpoint") return decodeNewer(bytes)?.version;
    const { version } = peekPayload(head);
    return typeof version === "number" && version > auditVersion ? version : undefined;
  } catch {
    return undefined;
  }
}

/** Why this program neither reads nor continues what a newer one wrote. */
export const newerForm = (version: number): string =>
  `a newer version of Claimcheck wrote the log (version ${version} of the log's format; this one knows up to ${auditVersion})`;
