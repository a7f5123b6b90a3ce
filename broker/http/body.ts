/** A request's body: nothing of it is read before this is called, and nothing beyond the limit is kept. */
import type { Context } from "hono";
import { ClaimcheckError } from "../../shared/errors.ts";
import { bodyLimit } from "../../shared/wire.ts";
import type { Account } from "../quota/budget.ts";

/** What can be said of a body without reading it, whoever sends it. */
export function refuseUnread({ req }: Context): void {
  // A page in a browser can send any other type to any server without asking it first.
  if (!/^application\/json *(;|$)/i.test(req.header("content-type") ?? "")) {
    throw new ClaimcheckError("unsupported_media_type");
  }
  if (Number(req.header("content-length") ?? 0) > bodyLimit) throw new ClaimcheckError("body_too_large");
}

/**
 * @param account pays for it: at once where its length is announced, otherwise as it comes.
 * @throws {ClaimcheckError} `body_too_large`, or `invalid_request` where the client breaks off.
 */
export async function readBody({ req }: Context, account: Account | undefined): Promise<string> {
  const announced = req.header("content-length");
  const chunked = req.header("transfer-encoding") !== undefined;
  try {
    if (announced === undefined || chunked) return await readChunks(req.raw.body, account);
    account?.grow(Number(announced));
    // Node.js reads no more than was announced.
    return await req.text();
  } catch (cause) {
    if (cause instanceof ClaimcheckError) throw cause;
    throw new ClaimcheckError("invalid_request", {
      detail: "the body ended before it was whole",
      reason: "body_broken_off",
      cause,
    });
  }
}

async function readChunks(
  body: ReadableStream<Uint8Array> | null,
  account: Account | undefined,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body ?? []) {
    length += chunk.length;
    if (length > bodyLimit) throw new ClaimcheckError("body_too_large");
    account?.grow(chunk.length);
    // A copy: a small chunk is a view of as large a buffer as the socket reads into.
    chunks.push(Uint8Array.from(chunk));
  }
  return Buffer.concat(chunks).toString();
}
