/** What `claimcheck issue`, `inspect`, `revoke` and `whoami` share: a broker at a URL, and the ids of handles. */
import type { Command } from "commander";
import { Option } from "commander";
import { createAuthorizedCall } from "../../executor/broker-client/authorized-call.ts";
import { createBrokerCall, understand } from "../../executor/broker-client/call.ts";
import { createIdentity } from "../../executor/broker-client/identity.ts";
import { createBrokerKeys } from "../../executor/broker-client/keys.ts";
import { sealSourceTokens } from "../../executor/broker-client/source-tokens.ts";
import { Failure } from "../../shared/failure.ts";
import { peekPayload } from "../../shared/jws-peek.ts";
import {
  HandleStatus,
  type IssueRequest,
  IssueResponse,
  type RevocationRequest,
  Revoked,
  WhoAmI,
} from "../../shared/wire.ts";
import { stateFolder } from "../host/environment.ts";
import { loadProofKey } from "../host/key-files.ts";
import { limits, readNamed } from "../host/read.ts";
import { brokerUrl, directFetch, pinnedKeysOf, sayThatWeWait } from "./connection.ts";
import { sourceTokensOf } from "./source-tokens.ts";
import { tokenSource } from "./token.ts";

export interface BrokerAddress {
  readonly broker?: string;
  readonly tokenFile?: string;
}

export interface RequesterOptions extends BrokerAddress {
  readonly format: "text" | "json";
}

/** Gives a command the options that all of these have. */
export function withBroker(command: Command): Command {
  return command
    .option("--broker <URL>", "the broker's URL (CLAIMCHECK_BROKER)")
    .option(
      "--token-file <FILE>",
      "the file with the token for the broker (CLAIMCHECK_TOKEN, CLAIMCHECK_TOKEN_FILE)",
    )
    .addOption(
      new Option("--format <FORMAT>", "text for people, json for programs")
        .choices(["text", "json"])
        .default("text"),
    );
}

/**
 * @param state where the key lies that proves who we are; the user's own folder unless it is somebody else's.
 * @throws {Failure} `usage` when nothing says which broker, or who we are.
 */
export async function connectRequester(
  { broker, tokenFile }: BrokerAddress,
  environment: NodeJS.ProcessEnv,
  state = stateFolder(environment),
) {
  const given = broker ?? environment.CLAIMCHECK_BROKER;
  if (!given)
    throw new Failure("usage", { detail: "--broker or CLAIMCHECK_BROKER must give the broker's URL" });
  const url = brokerUrl(given);
  const identity = await createIdentity(await loadProofKey(state));
  const findToken = tokenSource(tokenFile, environment, url, identity.jkt);
  const { signal } = new AbortController();
  const call = createBrokerCall({ url, fetch: directFetch, signal });
  // They are needed for tokens that name no key alone.
  const keys = { wrappingKey: () => createBrokerKeys(call, pinnedKeysOf(environment)).wrappingKey() };
  const authorized = createAuthorizedCall({ url, call, keys, identity, signal, onWait: sayThatWeWait });
  const findSourceTokens = sourceTokensOf(environment);
  const ask = async (
    method: string,
    path: string,
    asked?: object,
    more?: (accessToken: string) => object,
  ) => {
    const body = async (accessToken: string) => JSON.stringify({ ...asked, ...(await more?.(accessToken)) });
    const request = { method, path, ...(asked && { body }) };
    return (await authorized.ask(findToken, request)).answer;
  };

  return {
    async issue(asked: IssueRequest) {
      const answer = await ask("POST", "/v1/handles", asked, (accessToken) =>
        sealSourceTokens(findSourceTokens, { iss: url, accessToken }, keys),
      ).catch((thrown) => {
        if (thrown instanceof Failure) thrown.nameItems(asked.secrets.map(({ name }) => name));
        throw thrown;
      });
      return understand(IssueResponse, answer).handles;
    },
    inspect: async (jti: string) => understand(HandleStatus, await ask("GET", `/v1/handles/${jti}`)),
    revoke: async (asked: RevocationRequest) =>
      understand(Revoked, await ask("POST", "/v1/revocations", asked)),
    whoAmI: async () => understand(WhoAmI, await ask("GET", "/v1/whoami")),
  };
}

const idForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * The ids that arguments name: each is one, or `@FILE`, in which every line is a handle, as `claimcheck issue` prints
 * it. A handle is never an argument itself: others on the host can read those.
 */
export function readIds(args: readonly string[]): string[] {
  const ids: string[] = [];
  for (const arg of args) {
    if (arg.startsWith("@")) ids.push(...readHandles(arg.slice(1)));
    else if (idForm.test(arg)) ids.push(arg);
    else throw new Failure("usage", { detail: "name handles by their id, or by @FILE with handles in it" });
  }
  return ids;
}

function readHandles(path: string): string[] {
  const text = Buffer.from(readNamed(path, path, limits.script)).toString("latin1");
  const ids = text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map(idOf);
  if (ids.length === 0 || ids.includes(undefined))
    throw new Failure("usage", { detail: `${path} does not hold handles` });
  return ids as string[];
}

/** Who signed it is the broker's to check: here it only names what is asked about. */
function idOf(line: string): string | undefined {
  try {
    const { jti } = peekPayload(line.slice(line.indexOf("=") + 1));
    return typeof jti === "string" && idForm.test(jti) ? jti : undefined;
  } catch {
    return undefined;
  }
}
