/** An error as a whole HTTP answer, for what goes wrong below the level at which a server has a response object. */
import { ClaimcheckError, type ErrorCode } from "./errors.ts";

/** What Node.js calls it when a request does not get as far as a route. */
const codes: Record<string, ErrorCode> = {
  ERR_HTTP_REQUEST_TIMEOUT: "request_timeout",
  HPE_HEADER_OVERFLOW: "headers_too_large",
};

/** @param code of Node's error. */
export function rawErrorResponse(code: string | undefined): string {
  const error = new ClaimcheckError(codes[code ?? ""] ?? "invalid_request");
  const body = JSON.stringify(error.problem());
  return [
    `HTTP/1.1 ${error.status} ${error.code}`,
    "content-type: application/problem+json",
    "cache-control: no-store",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}
