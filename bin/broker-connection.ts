/** How `claimcheck run` reaches its broker: one in this process, or one at a URL. */
import type { KeepHeads } from "../executor/audit-heads.ts";
import type { Fetch } from "../executor/broker-call.ts";
import type { BrokerClient } from "../executor/broker-client.ts";
import { Failure } from "../shared/failure.ts";
import type { Secret } from "../shared/secret.ts";
import { headsFolder, stateFolder } from "./environment.ts";

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
  const proofKey = keepsProofKey
    ? await import("./root-key.ts").then(({ loadProofKey }) => loadProofKey(stateFolder(environment)))
    : undefined;
  return connectRemote(url, tokenFile, environment, signal, proofKey);
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
    { inProcessFetch },
    { loadRootKey },
    { createIdentity },
    { createBrokerClient },
  ] = await Promise.all([
    import("./local-broker.ts"),
    import("./providers.ts"),
    import("./in-process.ts"),
    import("./root-key.ts"),
    import("../executor/identity.ts"),
    import("../executor/broker-client.ts"),
  ]);
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
    fetch: inProcessFetch(broker.app),
    findToken: () => broker.accessToken,
    pinnedKeys: broker.keyThumbprints,
    identity,
    keepHeads: keepHeadsOf(environment),
    signal,
  });
}

async function connectRemote(
  url: string,
  tokenFile: string | undefined,
  environment: NodeJS.ProcessEnv,
  signal: AbortSignal,
  proofKey: Secret | undefined,
): Promise<BrokerClient> {
  const origin = brokerUrl(url);
  const [{ createIdentity }, { createBrokerClient }, { tokenSource }] = await Promise.all([
    import("../executor/identity.ts"),
    import("../executor/broker-client.ts"),
    import("./token.ts"),
  ]);
  const identity = await createIdentity(proofKey);
  const findToken = tokenSource(tokenFile, environment, origin, identity.jkt);
  const pinnedKeys = pinnedKeysOf(environment);
  return createBrokerClient({
    url: origin,
    fetch: directFetch,
    findToken,
    pinnedKeys,
    identity,
    sealsTokens: true,
    keepHeads: keepHeadsOf(environment),
    signal,
    onWait: sayThatWeWait,
  });
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
  process.stderr.write(`claimcheck: the broker's quota is used up; asking again in ${seconds} s
`);
}

/** An embedded broker has heads only where a log was asked for: no other run loads what keeps them. */
const keepHeadsOf =
  (environment: NodeJS.ProcessEnv): KeepHeads =>
  async (heads) => {
    if (heads.length === 0) return;
    const { headsIn } = await import("../executor/audit-heads.ts");
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
