/**
 * Every way in which the broker says no, and the executor's service before a run begins. A code is wire contract,
 * metric label and audit value; its status and its public message are fixed here and nowhere else.
 */
const table = {
  invalid_request: [400, "The request does not have the documented form."],
  invalid_uri: [400, "The secret URI is not well formed."],
  unknown_scheme: [400, "No provider reads this scheme."],
  invalid_cache_key: [400, "A cache key cannot be empty."],
  invalid_value: [400, "The value is not encrypted to this broker for this request."],
  unauthenticated: [401, "The request carries no token that is accepted here."],
  invalid_proof: [401, "The proof of possession does not fit this request."],
  token_not_confined: [
    401,
    "The token names no key, and this principal's tokens have to: ask its issuer for one whose audience is the broker's URL, #jkt= and the thumbprint of your proof key.",
  ],
  proof_required: [
    401,
    "This request needs a DPoP proof, with ath and bh, by a key that the token or the principal's `proofKeys` in the broker's policy name.",
  ],
  key_not_registered: [
    403,
    "The proof's key is not registered for this principal: add what `claimcheck executor key` prints to its `proofKeys` in the broker's policy.",
  ],
  forbidden: [403, "The policy does not allow this."],
  not_permitted: [403, "This executor's configuration does not allow that."],
  not_found: [404, "There is no such thing here."],
  secret_not_found: [404, "The secret does not exist."],
  method_not_allowed: [405, "This route does not know that method."],
  invalid_handle: [400, "The handle is not one of this broker's."],
  handle_expired: [410, "The handle has expired."],
  handle_outdated: [410, "The handle has the form of an older version; ask for a new one."],
  handle_spent: [410, "The handle has no uses left."],
  not_redeemed: [409, "The handle was not redeemed by this run."],
  handle_void: [410, "The handle is not open any more; ask for a new one."],
  redemption_conflict: [409, "The redemption id was used for another request."],
  request_timeout: [408, "The request took too long to arrive."],
  body_too_large: [413, "The request body is too large."],
  unsupported_media_type: [415, "The request body has to be application/json."],
  quota_exceeded: [429, "The quota is used up; ask again later."],
  headers_too_large: [431, "The request's headers are too large."],
  secrets_unavailable: [422, "Some of the secrets could not be resolved."],
  values_too_large: [422, "The values are larger together than one request can carry."],
  secret_too_large: [422, "The secret is larger than the provider's limit."],
  provider_failed: [502, "The secret's provider failed."],
  provider_denied: [502, "The provider does not let this broker read the secret."],
  provider_busy: [503, "The secret's provider asks to be left alone for a while."],
  provider_unreachable: [503, "The secret's provider cannot be reached."],
  provider_timeout: [504, "The secret's provider did not answer in time."],
  issuer_unavailable: [503, "The keys of the token's issuer cannot be had, so the token cannot be checked."],
  audit_unavailable: [503, "The audit log cannot be written, so nothing is released."],
  not_ready: [503, "The broker cannot do its work."],
  executor_busy: [503, "The executor has no place for another run; ask again."],
  executor_stopping: [503, "The executor is stopping."],
  store_unavailable: [503, "The handle store does not answer; ask again."],
  internal: [500, "Claimcheck failed."],
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
