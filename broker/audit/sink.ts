/** Where a chain of audit lines is kept, and what it may promise. */
import { ClaimcheckError } from "../../shared/errors.ts";
import type { AuditFilter, AuditPage, PageRequest } from "./query.ts";
import type { Recovered } from "./record.ts";

/** The last line of a chain. */
export interface ChainEnd {
  readonly chain: string;
  readonly seq: number;
  readonly hash: string;
  /** Of the format that its lines are in. */
  readonly version: number;
}

export interface OpenedChain {
  /** Missing where none has begun. */
  readonly end?: ChainEnd;
  /** What had to be cut off to get there. */
  readonly recovered?: Pick<Recovered, "bytes" | "sha256" | "aside">;
}

/**
 * One sink holds one chain, for one writer: a second one is refused. Calls do not overlap. `append` and `begin`
 * resolve once the lines cannot be lost any more; after they reject it is not known whether they are there, and
 * `open` comes before the next.
 */
export interface AuditSink {
  /**
   * Finds the end of what is durable and whole.
   *
   * @throws what `append` failed with, where that is final.
   */
  open(): Promise<OpenedChain>;

  /** @param lines each with its line feed. */
  append(lines: string): Promise<void>;

  /** As `append`, for lines that begin with a chain line: the first ones, or those that `isFull` asked for. */
  begin(lines: string): Promise<void>;

  /** Whether the next lines should begin with a chain line, as the first of a new file. */
  isFull(): boolean;

  /** Whether `open` comes before the next line: a connection can be lost while nothing is written. */
  isLost(): boolean;

  /**
   * Whether what was written is still in its place, as far as that is cheap to tell; it writes nothing.
   *
   * @param end of what is durable.
   * @throws where it is not, or where nobody answers.
   */
  check(end: ChainEnd | undefined): Promise<void>;

  /** What is durable and fits, in the order in which it was written. May overlap with the other calls. */
  query(filter: AuditFilter, page: PageRequest): Promise<AuditPage>;

  close(): Promise<void>;
}

/** What keeps a log from being written, for its operator. */
export const unavailable = (detail: string) => new ClaimcheckError("audit_unavailable", { detail });
