/** How `claimcheck run` reaches its broker: one in this process, or one at a URL. */

import type { Fetch } from "../../executor/broker-client/call.ts";
import type { BrokerClient } from "../../executor/broker-client/client.ts";
import type { KeepHeads } from "../../executor/broker-client/heads.ts";
import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import { headsFolder, stateFolder } from "../host/environment.ts";

/** Only a name: nothing listens there. */
const embeddedUrl = "http://claimcheck.embedded";

export interface BrokerOptions {
  /** A broker's URL; CLAIMCHECK_BROKER counts too. */
  readonly broker?: string;
  /** The embedded broker's audit log. */
  readonly audit?: string;
  /** Where the token for a broker's URL lies. */
  readonly tokenFile?: string;
  /** Whether the key that proves who we are is the one in the user's state folder, and not made for this process. */
  readonly keepsProofKey?: boolean;
}

/** @throws {Failure} `usage` when the options do not go together. */
export async function connect(
  { broker, audit, tokenFile, keepsProofKey = false }: BrokerOptions,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<BrokerClient> {
  const url = broker ?? environment.CLAIMCHECK_BROKER;
  if (!url) return connectEmbedded(audit, environment, signal);
  if (audit) {
    throw new Failure("usage", {
      detail: "--audit is for the embedded broker; the one at --broker has its own log",
    });
  }
  return connectRemote(url, tokenFile, environment, signal, keepsProofKey);
}

/** A broker of our own, for as long as this process lives; the user is trusted with this host's secrets. */
async function connectEmbedded(
  auditFile: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
): Promise<BrokerClient> {
  const [
    local,
    { userProviders },
    { createLightFetch, installLightHttp },
    { loadRootKey },
    { createIdentity },
    { createBrokerClient },
  ] = await Promise.all([
    import("../serve-broker/local-broker.ts"),
    import("../serve-broker/providers.ts"),
    import("./light-fetch.ts"),
    import("../host/key-files.ts"),
    import("../../executor/broker-client/identity.ts"),
    import("../../executor/broker-client/client.ts"),
  ]);
  installLightHttp();
  const [broker, identity] = await Promise.all([
    local.createLocalBroker({
      url: embeddedUrl,
      rootKey: await loadRootKey(stateFolder(environment)),
      providers: userProviders(environment),
      audit: { file: auditFile },
      rule: "embedded: this user's own secrets",
      tokenLifetime: 60 * 60,
      log: () => {},
    }),
    createIdentity(),
  ]);
  return createBrokerClient({
    url: embeddedUrl,
    fetch: createLightFetch(broker.app),
    findToken: () => broker.accessToken,
    pinnedKeys: broker.keyThumbprints,
    identity,
    embedded: true,
    keepHeads: keepHeadsOf(environment),
    signal,
  });
}

async function connectRemote(
  url: string,
  tokenFile: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
  keepsProofKey: boolean,
): Promise<BrokerClient> {
  const origin = brokerUrl(url);
  const [
    { createIdentity },
    { createBrokerClient },
    { broughtToken, tokenSource },
    { namesAnyKey },
    { sourceTokensOf },
  ] = await Promise.all([
    import("../../executor/broker-client/identity.ts"),
    import("../../executor/broker-client/client.ts"),
    import("./token.ts"),
    import("../../shared/bound-token.ts"),
    import("./source-tokens.ts"),
  ]);
  const brought = await broughtToken(tokenFile, environment)?.();
  // Whoever asked for a token that names a key can have known the kept one alone: `claimcheck executor key` prints it.
  const isKept = keepsProofKey || (brought !== undefined && namesAnyKey(brought));
  const identity = await createIdentity(isKept ? await keptProofKey(environment) : undefined);
  const findToken = tokenSource(tokenFile, environment, origin, identity.jkt);
  const pinnedKeys = pinnedKeysOf(environment);
  return createBrokerClient({
    url: origin,
    fetch: directFetch,
    findToken,
    findSourceTokens: sourceTokensOf(environment),
    pinnedKeys,
    identity,
    keepHeads: keepHeadsOf(environment),
    signal,
    onWait: sayThatWeWait,
  });
}

async function keptProofKey(environment: NodeJS.ProcessEnv): Promise<Secret> {
  const { loadProofKey } = await import("../host/key-files.ts");
  return loadProofKey(stateFolder(environment));
}

/** @throws {Failure} `usage` without any. */
export function pinnedKeysOf({ CLAIMCHECK_BROKER_KEYS: keys = "" }: NodeJS.ProcessEnv): string[] {
  const pinned = keys.split(/[,\s]+/).filter(Boolean);
  if (pinned.length > 0) return pinned;
  throw new Failure("usage", {
    detail: "set CLAIMCHECK_BROKER_KEYS to the thumbprints of the broker's keys, as its operator gives them",
  });
}

export function sayThatWeWait(seconds: number): void {
  process.stderr.write(`claimcheck: the broker's quota is used up; the next try is in ${seconds} s
`);
}

/** An embedded broker has heads only where a log was asked for: no other run loads what keeps them. */
const keepHeadsOf =
  (environment: NodeJS.ProcessEnv): KeepHeads =>
  async (heads) => {
    if (heads.length === 0) return;
    const { headsIn } = await import("../../executor/broker-client/heads.ts");
    await headsIn(headsFolder(environment))(heads);
  };

/** A redirect would carry the token to wherever an answer says. */
export const directFetch: Fetch = (address, init) => fetch(address, { ...init, redirect: "error" });

/** @throws {Failure} `usage` when it is not the URL of a whole server. */
export function brokerUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (!parsed || !["https:", "http:"].includes(parsed.protocol) || parsed.pathname !== "/") {
    throw new Failure("usage", { detail: "--broker takes a URL such as https://broker.example" });
  }
  return parsed.origin;
}
