import type { ClaimcheckError } from "../../shared/errors.ts";
import type { Secret } from "../../shared/secret.ts";

/** A URI that its provider has parsed. */
export interface SecretReference {
  readonly scheme: string;
  /** The one spelling of this secret that policy, caches and audit know. */
  readonly canonical: string;
  /** As much of the URI as an error can show, even if somebody pasted a value into it. */
  readonly shown: string;
}

/** The code that reads one scheme. */
export interface Provider<Reference extends SecretReference = SecretReference> {
  readonly scheme: string;

  /**
   * Pure: no look at the world.
   *
   * @param rest what follows the "://".
   * @throws {ClaimcheckError} `invalid_uri`.
   */
  parse(rest: string): Reference;

  /**
   * Reads each once, without retry or cache; side by side or in one go where the source allows it.
   *
   * @returns a value or a coded error for each reference, in their order; it does not throw for one of them.
   */
  read(references: readonly Reference[]): Promise<readonly (Secret | ClaimcheckError)[]>;
}
