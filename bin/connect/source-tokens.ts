/**
 * CLAIMCHECK_SOURCE_TOKENS: where the requester's own tokens are, for sources that log in with them.
 *
 *     SOURCE=env://VARIABLE or SOURCE=file://PATH, separated by white space or commas
 */
import { readFile } from "node:fs/promises";
import type { FindSourceTokens } from "../../executor/broker-client/source-tokens.ts";
import { Failure } from "../../shared/failure.ts";
import { sourceName } from "../../shared/source-name.ts";
import { checkToken } from "./token.ts";

const variable = "CLAIMCHECK_SOURCE_TOKENS";

/** @throws {Failure} `usage`. */
export function sourceTokensOf(environment: NodeJS.ProcessEnv): FindSourceTokens | undefined {
  const entries = (environment[variable] ?? "").split(/[,\s]+/).filter(Boolean);
  if (entries.length === 0) return undefined;
  const places = entries.map((entry): [name: string, uri: string] => {
    const at = entry.indexOf("=");
    const name = entry.slice(0, Math.max(at, 0));
    const uri = entry.slice(at + 1);
    if (sourceName.test(name) && /^(env|file):\/\/./.test(uri)) return [name, uri];
    throw new Failure("usage", {
      detail: `${variable}: write SOURCE=env://VARIABLE or SOURCE=file://PATH, never the token itself`,
    });
  });
  return async () =>
    new Map(
      await Promise.all(
        places.map(async ([name, uri]) => [name, await read(name, uri, environment)] as const),
      ),
    );
}

async function read(name: string, uri: string, environment: NodeJS.ProcessEnv): Promise<string> {
  const place = uri.slice(uri.indexOf("://") + 3);
  const text = uri.startsWith("env:")
    ? (environment[place] ?? "")
    : await readFile(place, "utf8").catch((cause: NodeJS.ErrnoException) => {
        throw new Failure("usage", { detail: `${variable}: ${uri} cannot be read (${cause.code})`, cause });
      });
  if (text.trim() === "")
    throw new Failure("usage", { detail: `${variable}: ${uri} holds no token for ${name}` });
  return checkToken(uri, text);
}
