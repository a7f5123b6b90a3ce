/**
 * Where a client's token comes from: --token-file, CLAIMCHECK_TOKEN, CLAIMCHECK_TOKEN_FILE, and in a job of GitHub
 * Actions with `id-token: write`, GitHub. The first of them that is there counts. White space around a token is no part
 * of it, wherever it comes from: variables that a shell reads from files have line breaks at their end.
 */

import { readFile } from "node:fs/promises";
import { boundAudience } from "../../shared/bound-token.ts";
import { Failure } from "../../shared/failure.ts";
import { peekPayload } from "../../shared/jws-peek.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import { readBounded } from "../../shared/read-bounded.ts";

/** A token from GitHub is used again until so little of its life is left, in seconds. */
const margin = 60;
const timeLimit = 10_000;
/** Of GitHub's answer, in bytes. */
const sizeLimit = 64 * 1024;

/** The token that the user brings; undefined where there is none. */
export function broughtToken(
  tokenFile: string | undefined,
  { CLAIMCHECK_TOKEN: token, CLAIMCHECK_TOKEN_FILE: path }: NodeJS.ProcessEnv,
): (() => Promise<string>) | undefined {
  if (tokenFile) return () => readToken("--token-file", tokenFile);
  if (token) {
    const checked = checkToken("CLAIMCHECK_TOKEN", token);
    return async () => checked;
  }
  // Kubernetes puts a new token into the file before the old one expires.
  return path ? () => readToken("CLAIMCHECK_TOKEN_FILE", path) : undefined;
}

/**
 * @param audience what a token that is made for us has to be for: the broker's URL, if it is known.
 * @param jkt the key that such a token has to name, so that it is worth nothing to those who see it.
 */
export function tokenSource(
  tokenFile: string | undefined,
  environment: NodeJS.ProcessEnv,
  audience: string | undefined,
  jkt?: string,
): () => Promise<string> {
  const brought = broughtToken(tokenFile, environment);
  if (brought) return brought;
  const { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: credential } = environment;
  if (url && credential) {
    if (audience === undefined)
      throw new Failure("usage", { detail: "GitHub has to know the broker: --broker" });
    const named = jkt === undefined ? audience : boundAudience(audience, jkt);
    return githubTokens(url.trim(), checkToken("ACTIONS_ID_TOKEN_REQUEST_TOKEN", credential), named);
  }
  throw new Failure("usage", {
    detail: "a broker needs a token: --token-file, CLAIMCHECK_TOKEN or CLAIMCHECK_TOKEN_FILE",
  });
}

async function readToken(origin: string, path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new Failure("usage", { detail: `${origin} ${path} cannot be read (${cause.code})`, cause });
  });
  return checkToken(`${origin} ${path}`, text);
}

/** @throws {Failure} `usage` for what a request cannot carry, under the name of where it comes from. */
export function checkToken(origin: string, text: string): string {
  const token = text.trim();
  if (token === "") throw new Failure("usage", { detail: `${origin} is empty` });
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new Failure("usage", {
    detail: `${origin} holds no token: it contains blanks, line breaks or characters outside ASCII`,
  });
}

function githubTokens(url: string, credential: string, audience: string): () => Promise<string> {
  if (!isTrustworthy(url)) {
    throw new Failure("usage", { detail: "ACTIONS_ID_TOKEN_REQUEST_URL is not https" });
  }
  let kept: { readonly token: string; readonly expires: number } | undefined;
  return async () => {
    if (!kept || kept.expires - margin < Date.now() / 1000) {
      const token = await requestToken(url, credential, audience);
      kept = { token, expires: expiryOf(token) };
    }
    return kept.token;
  };
}

async function requestToken(url: string, credential: string, audience: string): Promise<string> {
  try {
    const address = new URL(url);
    address.searchParams.set("audience", audience);
    const response = await fetch(address, {
      headers: { authorization: `Bearer ${credential}`, accept: "application/json" },
      // A redirect would carry the credential to wherever an answer says.
      redirect: "error",
      signal: AbortSignal.timeout(timeLimit),
    });
    if (!response.ok) throw new Error(`HTTP status ${response.status}`);
    const body = await readBounded(response.body, sizeLimit, () => new Error("the answer is too large"));
    const { value } = JSON.parse(body.toString()) as { value?: unknown };
    if (typeof value !== "string" || value === "") throw new Error("no token in the answer");
    return value;
  } catch (cause) {
    throw new Failure("token_unavailable", { detail: "GitHub's token request failed", cause });
  }
}

/** Seconds since 1970; a token that does not say is not used twice. */
function expiryOf(token: string): number {
  try {
    const { exp } = peekPayload(token);
    return typeof exp === "number" ? exp : 0;
  } catch {
    return 0;
  }
}
