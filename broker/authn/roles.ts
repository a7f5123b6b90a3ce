import type { Action, Role } from "../../shared/actions.ts";

/** What each kind of principal can be allowed at all; a rule has to allow it as well. */
export const roles = {
  /** A pipeline, which asks for handles. */
  requester: ["issue", "wrap", "inspect", "revoke"],
  /** What redeems handles and runs containers. */
  executor: ["redeem", "check", "inspect"],
  /** A person or a program that looks after the broker. */
  operator: ["inspect", "revoke", "audit.read"],
} as const satisfies Record<Role, readonly Action[]>;

/** Who ties a confined principal's token to a key: the issuer, by its signature; or the client, who seals it to the broker. The strictest first. */
export const confinements = ["issuer", "sealed"] as const;

export type Confinement = (typeof confinements)[number];
