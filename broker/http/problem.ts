/** Errors as RFC 9457 has them. */
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { ClaimcheckError } from "../../shared/errors.ts";
import { budgetPause } from "../quota/budget.ts";

export function problem(c: Context, error: ClaimcheckError, headers: Record<string, string> = {}): Response {
  const status = error.status as ContentfulStatusCode;
  return c.body(JSON.stringify(error.problem()), status, {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    ...(error.code === "store_unavailable" && { "retry-after": "2" }),
    ...(error.reason === "bytes_exceeded" && { "retry-after": String(budgetPause) }),
    ...(error.code === "issuer_unavailable" && { "retry-after": "10" }),
    // The rest of the body is not read, so the connection is of no more use.
    ...(error.code === "body_too_large" && { connection: "close" }),
    ...(status === 401 && { "www-authenticate": 'DPoP algs="EdDSA Ed25519 ES256", Bearer' }),
    ...headers,
  });
}
