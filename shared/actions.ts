/** What there is to do at a broker, and what kinds of principals there are: broker/authn/roles.ts says which may do what. */
export const actions = ["issue", "wrap", "redeem", "check", "inspect", "revoke", "audit.read"] as const;

export type Action = (typeof actions)[number];

export const roleNames = ["requester", "executor", "operator"] as const;

export type Role = (typeof roleNames)[number];
