/**
 * Every way in which the broker says no, and the executor's service before a run begins. A code is wire contract,
 * metric label and audit value; its status and its public message are fixed here and nowhere else.
 */
const table = {
  invalid_request: [400, "The request is invalid."],
  invalid_uri: [400, "The secret URI is invalid."],
  unknown_scheme: [400, "No provider knows this URI scheme."],
  invalid_cache_key: [400, "The cache key is empty."],
  invalid_value: [400, "The value is not encrypted to this broker's key for this request."],
  unauthenticated: [401, "The broker does not accept the request's token."],
  invalid_proof: [401, "The proof of possession is invalid for this request."],
  token_not_confined: [
    401,
    "The policy requires that this principal's tokens name a key, and the token names none: request a token whose audience is the broker's URL, #jkt= and the thumbprint of your proof key.",
  ],
  proof_required: [
    401,
    "The request has no DPoP proof: sign it, with ath and bh, by a key that the token or the principal's `proofKeys` in the broker's policy name.",
  ],
  key_not_registered: [
    403,
    "The policy does not list the proof's key for this principal: add the thumbprint that `claimcheck executor key` prints to the principal's `proofKeys`.",
  ],
  forbidden: [403, "The policy does not allow this request."],
  not_permitted: [403, "The executor's configuration does not allow this plan."],
  not_found: [404, "Not found."],
  secret_not_found: [404, "The secret does not exist."],
  method_not_allowed: [405, "The route does not support this HTTP method."],
  invalid_handle: [400, "The broker did not issue this handle."],
  handle_expired: [410, "The handle has expired."],
  handle_outdated: [410, "An older version of Claimcheck made the handle; request a new one."],
  handle_newer: [410, "A newer version of Claimcheck made the handle; upgrade the program that reads it."],
  handle_spent: [410, "The handle has no uses left."],
  not_redeemed: [409, "This run did not redeem the handle."],
  handle_void: [410, "The handle is void; request a new one."],
  redemption_conflict: [409, "Another request used this redemption id."],
  request_timeout: [408, "The request took too long to arrive."],
  body_too_large: [413, "The request body is too large."],
  unsupported_media_type: [415, "The request body must be application/json."],
  quota_exceeded: [429, "The quota is used up; try again later."],
  headers_too_large: [431, "The request's headers are too large."],
  secrets_unavailable: [422, "The broker could not read some of the secrets."],
  values_too_large: [422, "The values together exceed the limit of one request."],
  secret_too_large: [422, "The secret exceeds the provider's size limit."],
  provider_failed: [502, "The secret's provider failed."],
  provider_denied: [502, "The provider denied the broker access to the secret."],
  provider_busy: [503, "The secret's provider limits the rate of requests; try again later."],
  provider_unreachable: [503, "The broker could not reach the secret's provider."],
  provider_timeout: [504, "The secret's provider did not answer in time."],
  issuer_unavailable: [
    503,
    "The broker could not fetch the keys of the token's issuer, so it could not verify the token.",
  ],
  audit_unavailable: [503, "The broker could not write the audit log, so it released nothing."],
  not_ready: [503, "The broker is not ready."],
  executor_busy: [503, "The executor's queue is full; try again."],
  executor_stopping: [503, "The executor is stopping."],
  store_unavailable: [503, "The handle store does not answer; try again."],
  internal: [500, "Claimcheck failed unexpectedly."],
} as const satisfies Record<string, readonly [status: number, message: string]>;

export type ErrorCode = keyof typeof table;

export const errorCodes = Object.keys(table) as [ErrorCode, ...ErrorCode[]];

/** One failure in a batch: the position of the item that failed, and why. */
export interface ItemFailure {
  index: number;
  code: ErrorCode;
  message: string;
  detail?: string;
  /** For the audit log, as in `Particulars`; not for the client. */
  reason: string;
  rule?: string | undefined;
}

interface Particulars {
  /** Shown to the client. Whoever writes it promises that it holds no value, token or full command. */
  detail?: string;
  /** For the operator's log only. */
  cause?: unknown;
  /** What a decision's audit record says where the public code is deliberately coarse. */
  reason?: string;
  /** The policy rule that decided so; for the audit record too. */
  rule?: string;
  failures?: readonly ItemFailure[];
}

/** A coded refusal. `message` is the table's; everything particular is in the other fields. */
export class ClaimcheckError extends Error {
  override readonly name = "ClaimcheckError";
  readonly code: ErrorCode;
  readonly status: number;
  readonly detail: string | undefined;
  readonly reason: string;
  readonly rule: string | undefined;
  readonly failures: readonly ItemFailure[];

  constructor(code: ErrorCode, { detail, cause, reason, rule, failures = [] }: Particulars = {}) {
    super(table[code][1], { cause });
    this.code = code;
    this.status = table[code][0];
    this.detail = detail;
    this.reason = reason ?? code;
    this.rule = rule;
    this.failures = failures;
  }

  /** The error as one item of a batch. */
  at(index: number): ItemFailure {
    const { code, message, detail, reason, rule } = this;
    return { index, code, message, ...(detail && { detail }), reason, rule };
  }

  /** The body that a client sees: RFC 9457 problem details. */
  problem() {
    return {
      type: `urn:claimcheck:error:${this.code}`,
      title: this.message,
      status: this.status,
      code: this.code,
      ...(this.detail && { detail: this.detail }),
      ...(this.failures.length > 0 && {
        failures: this.failures.map(({ index, code, message, detail }) => ({
          index,
          code,
          message,
          ...(detail && { detail }),
        })),
      }),
    };
  }
}

/** Anything thrown, as a coded error: what was not foreseen is `internal`, its text kept as the cause. */
export function asClaimcheckError(thrown: unknown): ClaimcheckError {
  return thrown instanceof ClaimcheckError ? thrown : new ClaimcheckError("internal", { cause: thrown });
}
