import { describe, expect, test } from "vitest";
import { asClaimcheckError, ClaimcheckError, errorCodes } from "../../../shared/errors.ts";
import { Problem } from "../../../shared/wire.ts";

/** Wire contract: a change here is a change for every client. */
const statuses = {
  invalid_request: 400,
  invalid_uri: 400,
  unknown_scheme: 400,
  invalid_cache_key: 400,
  invalid_handle: 400,
  invalid_value: 400,
  unauthenticated: 401,
  invalid_proof: 401,
  token_not_confined: 401,
  proof_required: 401,
  key_not_registered: 403,
  forbidden: 403,
  not_permitted: 403,
  not_found: 404,
  secret_not_found: 404,
  method_not_allowed: 405,
  redemption_conflict: 409,
  handle_expired: 410,
  handle_outdated: 410,
  handle_newer: 410,
  handle_spent: 410,
  not_redeemed: 409,
  handle_void: 410,
  request_timeout: 408,
  body_too_large: 413,
  unsupported_media_type: 415,
  quota_exceeded: 429,
  headers_too_large: 431,
  secrets_unavailable: 422,
  values_too_large: 422,
  secret_too_large: 422,
  internal: 500,
  provider_failed: 502,
  provider_denied: 502,
  issuer_unavailable: 503,
  not_ready: 503,
  audit_unavailable: 503,
  provider_busy: 503,
  provider_unreachable: 503,
  provider_timeout: 504,
  executor_busy: 503,
  executor_stopping: 503,
  store_unavailable: 503,
};

describe("the table of errors", () => {
  test("gives every code the status that clients know", () => {
    const table = Object.fromEntries(errorCodes.map((code) => [code, new ClaimcheckError(code).status]));
    expect(table).toEqual(statuses);
  });

  test.each(errorCodes)("has one sentence for %s", (code) => {
    expect(new ClaimcheckError(code).message).toMatch(/^[A-Z].*[^.]\.$/);
  });
});

describe("a problem body", () => {
  test.each(errorCodes)("for %s is RFC 9457 problem details of the documented form", (code) => {
    const problem = new ClaimcheckError(code, { detail: "here", failures: [] }).problem();
    const { message: title, status } = new ClaimcheckError(code);
    expect(problem).toEqual({ type: `urn:claimcheck:error:${code}`, title, status, code, detail: "here" });
    expect(Problem.parse(JSON.parse(JSON.stringify(problem)))).toEqual(problem);
  });

  test("lists what failed in a batch by position, each with its own code", () => {
    const failures = [
      new ClaimcheckError("secret_not_found", { detail: "env://API… is not set" }).at(0),
      new ClaimcheckError("secret_too_large", { reason: "for the log", rule: "of the policy" }).at(2),
    ];
    const problem = new ClaimcheckError("secrets_unavailable", { failures }).problem();
    expect(Problem.parse(problem).failures).toEqual([
      {
        index: 0,
        code: "secret_not_found",
        message: "The secret does not exist.",
        detail: "env://API… is not set",
      },
      { index: 2, code: "secret_too_large", message: "The secret exceeds the provider's size limit." },
    ]);
  });

  test("keeps to itself what is for the operator: cause and reason", () => {
    const error = new ClaimcheckError("invalid_proof", { cause: new Error("sesame"), reason: "proof_stale" });
    expect(JSON.stringify(error.problem())).not.toMatch(/sesame|stale/);
  });
});

describe("what was not foreseen", () => {
  const thrown = [new Error("password=sesame"), "sesame", { sesame: 1 }, undefined, null];

  test.each(thrown.map((each) => [each]))("%o becomes internal, its text kept for the operator", (each) => {
    const error = asClaimcheckError(each);
    expect(error.problem()).toEqual({
      type: "urn:claimcheck:error:internal",
      title: "Claimcheck failed unexpectedly.",
      status: 500,
      code: "internal",
    });
    expect(error.cause).toBe(each);
    expect(error.message).not.toContain("sesame");
  });

  test("a coded error stays what it is", () => {
    const error = new ClaimcheckError("forbidden");
    expect(asClaimcheckError(error)).toBe(error);
  });

  test("the reason is the code where none is given", () => {
    expect(new ClaimcheckError("forbidden").reason).toBe("forbidden");
    expect(new ClaimcheckError("forbidden", { reason: "no_rule" }).reason).toBe("no_rule");
  });
});
