/** JSON in which numbers stay as they were written, and a field of it as a secret. */
import { ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import { Secret } from "../../shared/secret.ts";

/** @throws {SyntaxError} */
export function parseJson(text: string): unknown {
  return JSON.parse(text, keepNumbers as (key: string, value: unknown) => unknown);
}

/** A number that JavaScript cannot hold stays the text that it is, where Node.js is new enough to tell. */
function keepNumbers(_: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source;
  if (typeof value !== "number" || source === undefined || String(value) === source) return value;
  const { rawJSON } = JSON as { rawJSON?: (text: string) => unknown };
  return rawJSON ? rawJSON(source) : value;
}

/**
 * A field of a secret that is a JSON object: a text as it is, `null` as nothing, everything else as JSON.
 *
 * @param shown what errors call the secret.
 */
export function fieldOf(json: Buffer, field: string, shown: string): Secret | ClaimcheckError {
  const fail = (code: ErrorCode, why: string) => new ClaimcheckError(code, { detail: `${shown} ${why}` });
  let data: unknown;
  try {
    data = parseJson(json.toString());
  } catch {
    return fail("provider_failed", "has no fields, because it is not JSON: leave out ?field=");
  }
  if (typeof data !== "object" || data === null || Array.isArray(data)) {
    return fail("provider_failed", "is not a JSON object and has no fields: leave out ?field=");
  }
  if (!Object.hasOwn(data, field)) return fail("secret_not_found", "does not have this field");
  const value = (data as Record<string, unknown>)[field];
  const text = typeof value === "string" ? value : value === null ? "" : JSON.stringify(value);
  // A copy of its own: short texts share memory with others.
  return new Secret(Uint8Array.from(Buffer.from(text)));
}
