import { ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import type { Secret } from "../../shared/secret.ts";

/** The largest value that is accepted from a provider, in bytes. */
export const sizeLimit = 1024 * 1024;

/** A URI that its provider has parsed. */
export interface SecretReference {
  readonly scheme: string;
  /** The one spelling of this secret that policy, caches and audit know. */
  readonly canonical: string;
  /** As much of the URI as an error can show, even if somebody pasted a value into it. */
  readonly shown: string;
}

/**
 * The code that reads one scheme from one source: an account, a server, this host. What is around every source
 * (one read for many askers, batches, memory, time limit, retries, circuit) is in broker/resolve/shared-read.ts.
 */
export interface Provider<Reference extends SecretReference = SecretReference> {
  readonly scheme: string;

  /** The parameters that it knows. Missing where all that follows "://" is the path, whatever it looks like. */
  readonly parameters?: readonly string[];

  /** Whether it takes all others too. */
  readonly freeParameters?: boolean;

  /** How many references one `read` takes at most; all that arrive together where it is missing. */
  readonly batchSize?: number;

  /** How many reads run side by side. */
  readonly concurrency?: number;

  /** For one read, waiting and retries included, in milliseconds. */
  readonly timeLimit?: number;

  /**
   * Pure: no look at the world.
   *
   * @param path what follows the "://", without parameters.
   * @throws {ClaimcheckError} `invalid_uri`.
   */
  parse(path: string, parameters: ReadonlyMap<string, string>): Reference;

  /**
   * Finds out what a name stands for, where a name alone does not say it. Everything after it, the policy's decision and
   * the record too, is about what was found; a read refuses what is no longer there.
   */
  locate?(reference: Reference): Promise<Reference>;

  /**
   * Reads each once, without retry or cache; side by side or in one go where the source allows it.
   *
   * @param signal ends the read at its time limit; the answer has to come soon after.
   * @param tenant whose they are: what one tenant's reads wait for, those of another do not.
   * @returns a value or a coded error for each reference, in their order; it does not throw for one of them.
   */
  read(references: readonly Reference[], signal: AbortSignal, tenant: string): Promise<readonly ReadResult[]>;

  /** Whether a value is what one-time passwords are made of, which takes a rule with `totpSeeds`. */
  isTotpSeed?(value: Uint8Array): boolean;

  /** Logs in, where there is a log-in. Throws a ClaimcheckError that says why that fails. */
  logIn?(signal: AbortSignal): Promise<void>;

  /** Ends what it holds open. */
  close?(): Promise<void>;
}

/** What others have to know of a scheme: for help and documentation, for a policy's patterns, and for tests. */
export interface Scheme {
  readonly name: string;
  /** How its URIs look. */
  readonly form: string;
  /** Whether a URI may hold a secret itself. The audit log then gets a keyed hash of it. */
  readonly confidential?: boolean;
  /** What they ask of patterns; missing where their text is what counts. */
  readonly patterns?: PatternDemands;
}

export type ReadResult = Secret | ClaimcheckError;

interface Prospects {
  /** Never a value, a token or a full command. */
  readonly detail?: string;
  readonly cause?: unknown;
  /** The source itself says that it is a matter of time. */
  readonly again?: boolean;
  /** When it wants to be asked next, in milliseconds from now. */
  readonly after?: number | undefined;
}

/**
 * A failure of the source and not of one secret, so that other secrets of it would fail too. It counts against the
 * source's circuit, and nobody remembers it as an answer.
 */
export class SourceFailure extends ClaimcheckError {
  readonly again: boolean;
  readonly after: number | undefined;

  constructor(code: ErrorCode, { again = false, after, ...particulars }: Prospects = {}) {
    super(code, particulars);
    this.again = again;
    this.after = after;
  }
}
