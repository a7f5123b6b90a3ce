/** Looking into a log: which of its entries, in the order in which they were written, a page at a time. */
import * as z from "zod/mini";
import { ClaimcheckError } from "../../shared/errors.ts";
import type { AuditEntry, AuditLine } from "./record.ts";

/** What has to be so of an entry. Times are written as in the log, where they sort as text. */
export interface AuditFilter {
  readonly tenant?: string | undefined;
  readonly principal?: string | undefined;
  /** Any of these. */
  readonly uris?: readonly string[] | undefined;
  readonly since?: string | undefined;
  /** Up to here, and not at it. */
  readonly until?: string | undefined;
}

export interface PageRequest {
  /** The `next` of the page before. */
  readonly after?: string | undefined;
  /** How many entries at most. */
  readonly limit: number;
}

export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  /** Where the next page begins. Only who made it can read it. */
  readonly next: string;
  /** Whether the log had nothing behind it. A page can be empty and not be the last. */
  readonly isLast: boolean;
}

/** Of a page as JSON, in bytes. */
const pageSize = 1024 * 1024;

/** Whether a line is an entry that fits. */
export function fits(filter: AuditFilter, line: AuditLine): line is AuditEntry {
  if (line.type !== "decision" && line.type !== "summary") return false;
  const { tenant, principal, uris, since, until } = filter;
  const { principal: by, uri } = { principal: undefined, uri: undefined, ...line };
  return (
    (tenant === undefined || line.tenant === tenant) &&
    (principal === undefined || by === principal) &&
    (uris === undefined || (uri !== undefined && uris.includes(uri))) &&
    (since === undefined || line.time >= since) &&
    (until === undefined || line.time < until)
  );
}

/** The entries of one page, as many as it has room for. */
export function createPage({ limit }: PageRequest) {
  const entries: AuditEntry[] = [];
  let size = 0;
  return {
    entries,

    /** @param length of its line, in bytes. @returns false when it is for the next page. */
    add(entry: AuditEntry, length: number): boolean {
      if (entries.length >= limit || (size + length > pageSize && entries.length > 0)) return false;
      size += length;
      entries.push(entry);
      return true;
    },
  };
}

/** A place in a log as text: where it is, in numbers and words of whoever made it. */
export const writeCursor = (place: readonly (string | number)[]): string =>
  Buffer.from(JSON.stringify(place)).toString("base64url");

/** @throws {ClaimcheckError} `invalid_request` for what `writeCursor` did not make. */
export function readCursor<Place extends z.ZodMiniType>(cursor: string, place: Place): z.infer<Place> {
  try {
    return z.parse(place, JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch (cause) {
    throw wrongCursor(cause);
  }
}

export const wrongCursor = (cause?: unknown) =>
  new ClaimcheckError("invalid_request", { detail: "wrong or missing: after", cause });
