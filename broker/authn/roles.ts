/** What there is to do, and who can be allowed to do it. */
export const actions = ["issue", "wrap", "redeem", "check", "inspect", "revoke", "audit.read"] as const;

export type Action = (typeof actions)[number];

/** What each kind of principal can be allowed at all; a rule has to allow it as well. */
export const roles = {
  /** A pipeline, which asks for handles. */
  requester: ["issue", "wrap", "inspect", "revoke"],
  /** What redeems handles and runs containers. */
  executor: ["redeem", "check", "inspect"],
  /** A person or a program that looks after the broker. */
  operator: ["inspect", "revoke", "audit.read"],
} as const satisfies Record<string, readonly Action[]>;

export type Role = keyof typeof roles;

/** Who ties a confined principal's token to a key: the issuer, by its signature; or the client, who seals it to the broker. The strictest first. */
export const confinements = ["issuer", "sealed"] as const;

export type Confinement = (typeof confinements)[number];
