import type { Role } from "../../shared/actions.ts";
import type { Claims } from "./claims.ts";
import type { Confinement } from "./roles.ts";

/** A principal, known. No path to plaintext goes without one. */
export interface Caller {
  readonly tenant: string;
  /** The issuer's prefix and the token's `sub`. */
  readonly principal: string;
  readonly accessToken: string;
  /** What the issuer says of it. */
  readonly claims: Claims;
  readonly roles: readonly Role[];
  /** Thumbprints of its registered proof keys: where there are any, it proves with no other. */
  readonly proofKeys: readonly string[];
  /** Thumbprint of the key that its token names: every request with the token needs a proof by it. */
  readonly boundKey?: string;
  /** Whether all tokens of this principal name a key, and who ties them to it. */
  readonly confined?: Confinement;
  /** Whether the one who ties the token to its key is whom the policy names. */
  readonly vouched?: boolean;
  /** Whether this request has a proof by a key that the token or the policy names. */
  readonly proven?: boolean;
  /** Whether its token alone is enough: it then proves with a key that nobody knows. */
  readonly anyProofKey: boolean;
}
