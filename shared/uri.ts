/**
 * What all secret URIs have in common:
 *
 *     secret-uri = scheme "://" rest
 *     rest       = path [ "?" parameter *( "&" parameter ) ]     ; but cmd:// takes rest as it is
 *     parameter  = name "=" value                                ; value is percent-decoded once
 *
 * The first "://" splits. What path and parameters mean is the provider's to say.
 */
import { ClaimcheckError } from "./errors.ts";

const scheme = /^[a-z][a-z0-9]*$/;
// People paste values where a URI belongs, so a refused one is named by as little of it as helps.
const shownLength = 3;

/** As much of a text that may turn out to be a value as an error can show. */
export function head(text: string): string {
  // A character has at most two code units; cutting between the two would show half of one.
  const shown = [...text.slice(0, 2 * shownLength)].slice(0, shownLength).join("");
  return text.length > shown.length ? `${shown}…` : shown;
}

/** What tokens of well-known services begin with, and JSON in base64. */
const tokenStarts = /^(eyJ|gh[pousr]_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|hv[sb]\.|ops_|npm_)/;

/** So long, in characters, a part of a name may be in which letters and digits are mixed. */
const mixedLimit = 15;

/**
 * A name as an error shows it: whole if it looks like one, such as DEPLOY_KEY or ci/npm-token. A text in the shape of a token
 * may be a value that somebody pasted, and is shown as `head` has it.
 */
export function shownName(text: string): string {
  const isLikeName =
    /^[\w./-]{1,200}$/.test(text) &&
    !tokenStarts.test(text) &&
    text
      .split(/[/._-]+/)
      .every((part) => part.length <= mixedLimit || /^([A-Z]+|[a-z]+)[0-9]{0,3}$/.test(part));
  return isLikeName ? text : head(text);
}

/** @throws {ClaimcheckError} `invalid_uri` without "://" or with an ill-formed scheme. */
export function splitUri(uri: string): { scheme: string; rest: string } {
  const at = uri.indexOf("://");
  if (at < 0) {
    throw new ClaimcheckError("invalid_uri", { detail: `"${head(uri)}" has no "://"; write scheme://…` });
  }
  const name = uri.slice(0, at);
  if (!scheme.test(name)) {
    throw new ClaimcheckError("invalid_uri", {
      detail: `"${head(name)}" is not a scheme; a scheme is lower-case letters and digits`,
    });
  }
  return { scheme: name, rest: uri.slice(at + 3) };
}

/**
 * Splits a URI's rest into its path and its parameters.
 *
 * @throws {ClaimcheckError} `invalid_uri` for a parameter that is not in `known`, twice there, or ill-formed.
 */
export function splitParameters(rest: string, known: readonly string[]) {
  const at = rest.indexOf("?");
  const path = at < 0 ? rest : rest.slice(0, at);
  const parameters = new Map<string, string>();
  if (at < 0) return { path, parameters };
  for (const part of rest.slice(at + 1).split("&")) {
    const equals = part.indexOf("=");
    const name = equals < 0 ? part : part.slice(0, equals);
    if (equals < 0 || !known.includes(name)) {
      throw new ClaimcheckError("invalid_uri", {
        detail: `unknown parameter "${head(name)}"; known here: ${known.join(", ")}`,
      });
    }
    if (parameters.has(name)) throw new ClaimcheckError("invalid_uri", { detail: `"${name}" appears twice` });
    parameters.set(name, decodeParameter(name, part.slice(equals + 1)));
  }
  return { path, parameters };
}

function decodeParameter(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch (cause) {
    throw new ClaimcheckError("invalid_uri", { detail: `"${name}" is not percent-encoded well`, cause });
  }
}

/** Takes `cacheKey=K` out of a URI's parameters: front ends accept it there and send it as a field of its own. */
export function takeCacheKey(uri: string): { uri: string; cacheKey?: string } {
  const { uri: rest, value } = takeParameter(uri, "cacheKey");
  return value === undefined ? { uri: rest } : { uri: rest, cacheKey: value };
}

/**
 * Takes one parameter out of a URI. A `cmd://` URI comes back as it is, because everything in it is the command.
 *
 * @throws {ClaimcheckError} `invalid_uri` where the parameter appears twice or is ill-formed.
 */
export function takeParameter(uri: string, name: string): { uri: string; value?: string } {
  const at = uri.indexOf("?");
  if (at < 0 || uri.startsWith("cmd://")) return { uri };
  const start = `${name}=`;
  const parts = uri.slice(at + 1).split("&");
  const found = parts.filter((part) => part.startsWith(start));
  if (found.length === 0) return { uri };
  if (found.length > 1) throw new ClaimcheckError("invalid_uri", { detail: `"${name}" appears twice` });
  const rest = parts.filter((part) => part !== found[0]);
  return {
    uri: uri.slice(0, at) + (rest.length > 0 ? `?${rest.join("&")}` : ""),
    value: decodeParameter(name, (found[0] as string).slice(start.length)),
  };
}
