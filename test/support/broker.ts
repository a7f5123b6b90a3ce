/**
 * A whole broker in memory, for tests: put together as `bin/` does it, from real parts, with the seams that a
 * test needs. Clients reach it through its HTTP interface, as in production.
 */
import { randomUUID } from "node:crypto";
import { openAuditLog, secretNames } from "../../broker/audit/log.ts";
import {
  type AuditFilter,
  type AuditPage,
  createPage,
  fits,
  type PageRequest,
} from "../../broker/audit/query.ts";
import { type AuditEntry, type AuditLine, type Decision, hashLine } from "../../broker/audit/record.ts";
import type { AuditSink, OpenedChain } from "../../broker/audit/sink.ts";
import { createAuthenticator, type Issuer, throwawayIssuer } from "../../broker/authn/authenticate.ts";
import type { RequestEntry } from "../../broker/broker.ts";
import { createApp } from "../../broker/http/app.ts";
import { createKeys, type Rotation } from "../../broker/keys/keys.ts";
import type { Rule } from "../../broker/policy/decide.ts";
import { envProvider } from "../../broker/providers/env.ts";
import type { Provider } from "../../broker/providers/provider.ts";
import type { Budgets } from "../../broker/quota/budget.ts";
import type { Quotas } from "../../broker/quota/quota.ts";
import { createResolver } from "../../broker/resolve/resolver.ts";
import { memoryStore } from "../../broker/store/memory.ts";
import type { HandleStore } from "../../broker/store/store.ts";
import type { Fetch } from "../../executor/broker-client/call.ts";
import { type BrokerClient, createBrokerClient } from "../../executor/broker-client/client.ts";
import type { KeepHeads } from "../../executor/broker-client/heads.ts";
import { createIdentity, type Identity } from "../../executor/broker-client/identity.ts";
import { actions } from "../../shared/actions.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { makeProof, type ProvenRequest } from "../../shared/proof.ts";
import { Secret } from "../../shared/secret.ts";
import type { EncryptionKey, RedemptionRequest, WrapItem } from "../../shared/wire.ts";
import { wrapValue } from "../../shared/wrapping.ts";
import { findUndocumented } from "./openapi.ts";
import { createPolicy } from "./policy.ts";

export const brokerUrl = "https://broker.example";

/** The bytes 00 to 1f: the root key of every test broker, of the vectors and of the examples in openapi.yaml. */
export const rootKey = () => new Secret(Uint8Array.from({ length: 32 }, (_, index) => index));

/** A rule, its principals by the `sub` of their tokens. */
type Ruling = Partial<Rule> & { readonly principals?: readonly string[] };

/** A rule that allows the one principal of these tests what it names. */
export function allow(
  secrets: readonly string[] | undefined,
  { principals = ["**"], ...rule }: Ruling = {},
): Rule {
  return {
    name: `allow ${secrets?.join(" ") ?? "everything"}`,
    effect: "allow",
    actions,
    who: { sub: principals },
    ...(secrets && { secrets }),
    limits: { ttl: 3600, uses: 10, cacheKeys: ["**"] },
    ...rule,
  };
}

export function deny(secrets: readonly string[] | undefined, rule: Ruling = {}): Rule {
  return allow(secrets, { name: `deny ${secrets?.join(" ") ?? "everything"}`, effect: "deny", ...rule });
}

/** `fixed://NAME`: values that an environment could not hold. */
export function fixedProvider(values: Readonly<Record<string, Uint8Array>>): Provider {
  return {
    scheme: "fixed",
    parameters: [],
    parse: (name) => ({ scheme: "fixed", canonical: `fixed://${name}`, shown: "fixed://…" }),
    read: async (references) =>
      references.map(({ canonical }) => {
        const value = values[canonical.slice("fixed://".length)];
        return value ? new Secret(Uint8Array.from(value)) : new ClaimcheckError("secret_not_found");
      }),
  };
}

/** An audit sink in memory that a test can break. */
export class RecordingSink implements AuditSink {
  text = "";
  broken = false;

  get records(): Decision[] {
    return this.lines.filter((line) => line.type === "decision");
  }

  /** The records of what was asked for last. */
  get latest(): Decision[] {
    const { records } = this;
    return records.filter(({ request }) => request === records.at(-1)?.request);
  }

  get lines(): AuditLine[] {
    return this.text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
  }

  async open(): Promise<OpenedChain> {
    if (this.broken) throw new Error("no space left on device");
    const [first] = this.lines;
    const last = this.lines.at(-1);
    if (first?.type !== "chain" || !last) return {};
    const { chain, version } = first;
    const hash = hashLine(this.text.trimEnd().split("\n").at(-1)!);
    return { end: { chain, seq: last.seq, hash, version } };
  }

  async append(lines: string): Promise<void> {
    if (this.broken) throw new Error("no space left on device");
    this.text += lines;
  }

  begin = this.append;

  isFull = () => false;

  isLost = () => false;

  async check(): Promise<void> {
    if (this.broken) throw new Error("no space left on device");
  }

  async query(filter: AuditFilter, asked: PageRequest): Promise<AuditPage> {
    const page = createPage(asked);
    const { lines } = this;
    let at = Number(asked.after ?? 0);
    while (at < lines.length && !(fits(filter, lines[at]!) && !page.add(lines[at] as AuditEntry, 0))) at += 1;
    return { entries: page.entries, next: String(at), isLast: at === lines.length };
  }

  async close(): Promise<void> {}
}

interface Seams {
  /** What `env://` finds. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Besides `env://`. */
  readonly providers?: readonly Provider[];
  readonly rules?: readonly Rule[];
  /** Whether it keeps a log at all. */
  readonly logged?: boolean;
  /** Besides the one that records. */
  readonly sinks?: readonly AuditSink[];
  readonly store?: HandleStore;
  readonly quotas?: Quotas;
  readonly budgets?: Budgets;
  /** Besides those of the tenants acme and rival. */
  readonly moreIssuers?: readonly Issuer[];
  /** Those registered for every principal of acme; where it is missing, any will do, as in an embedded broker. */
  readonly proofKeys?: readonly string[];
  /** Instead of the one that all others share. */
  readonly rootKey?: Secret;
  /** The root key before the current one, and others. */
  readonly rotation?: Rotation;
  /** Those of another broker, for one that is its replica. */
  readonly issuers?: readonly [acme: ThrowawayIssuer, rival: ThrowawayIssuer];
}

type ThrowawayIssuer = Awaited<ReturnType<typeof throwawayIssuer>>;

interface Token {
  readonly principal?: string;
  readonly tenant?: "acme" | "rival";
  /** In seconds. */
  readonly lifetime?: number;
  readonly audience?: string;
}

interface Who extends Pick<Token, "principal" | "tenant"> {
  readonly identity?: Identity;
  /** Where the heads that come with its redemptions go. */
  readonly keepHeads?: KeepHeads;
  /** Stands between the client and the broker. */
  readonly proxy?: (forward: Fetch) => Fetch;
}

/** An executor process: its keys, its token, its client. */
export interface Executor {
  readonly identity: Identity;
  readonly accessToken: string;
  readonly client: BrokerClient;
}

type Prover = Pick<Executor, "identity" | "accessToken">;

export const someResult = { key: "0".repeat(64), manifest: `sha256:${"1".repeat(64)}` };

export type TestBroker = Awaited<ReturnType<typeof startBroker>>;

export async function startBroker(seams: Seams = {}) {
  const audit = new RecordingSink();
  const log: RequestEntry[] = [];
  /** Every answer that left the broker, headers included. */
  const answers: string[] = [];
  const [keys, acme, rival] = await Promise.all([
    createKeys(seams.rootKey ?? rootKey(), seams.rotation),
    seams.issuers?.[0] ?? throwawayIssuer("acme"),
    seams.issuers?.[1] ?? throwawayIssuer("rival"),
  ]);
  const store = seams.store ?? memoryStore();
  const { proofKeys } = seams;
  const registered = {
    ...acme.issuer,
    members: acme.issuer.members.map((member) => ({
      ...member,
      ...(proofKeys && { proofKeys, anyProofKey: false }),
    })),
  };
  const resolver = createResolver([envProvider(seams.environment ?? {}), ...(seams.providers ?? [])]);
  const sinks = seams.logged === false ? [] : [audit, ...(seams.sinks ?? [])];
  const auditLog = await openAuditLog(sinks, keys.auditKey, secretNames(resolver, keys));
  const app = createApp({
    url: brokerUrl,
    authenticate: createAuthenticator([registered, rival.issuer, ...(seams.moreIssuers ?? [])], brokerUrl),
    policy: createPolicy(seams.rules ?? [allow(undefined)]),
    resolver,
    keys,
    store,
    ...(seams.quotas && { quotas: seams.quotas }),
    ...(seams.budgets && { budgets: seams.budgets }),
    audit: auditLog,
    complaints: () => [...auditLog.complaints(), ...store.complaints()],
    log: (entry) => log.push(entry),
  });

  const fetch: Fetch = async (url, init) => {
    const response = await app.request(url, init);
    await expectDocumented(init.method, new URL(url).pathname, response.clone());
    answers.push(`${JSON.stringify([...response.headers])}\n${await response.clone().text()}`);
    return response;
  };

  const token = ({ principal = "ci", tenant = "acme", lifetime = 3600, audience = brokerUrl }: Token = {}) =>
    (tenant === "acme" ? acme : rival).token(principal, audience, lifetime);

  return {
    app,
    keys,
    store,
    audit,
    log,
    answers,
    fetch,
    issuers: [acme, rival] as const,
    token,

    /** One request over HTTP; a body that is no string is sent as JSON. */
    async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
      const text = typeof body === "string" ? body : JSON.stringify(body);
      const typed = { ...(body !== undefined && { "content-type": "application/json" }), ...headers };
      return fetch(`${brokerUrl}${path}`, {
        method,
        headers: typed,
        ...(body !== undefined && { body: text }),
      });
    },

    /** One redemption over HTTP; what is sent can be told apart from what was proven. */
    async redeem(
      executor: Pick<Executor, "identity" | "accessToken">,
      handles: readonly string[],
      changed: Partial<RedemptionRequest> = {},
    ) {
      const { body, prove, authorization } = await prepareRedemption(executor, handles, changed);
      return this.send("POST", route, body, { authorization, dpop: await prove() });
    },

    /** One check over HTTP, proven as it has to be. */
    check(who: Prover, handles: readonly string[], run?: string) {
      const { encryptionKey } = who.identity;
      const content = { handles, key: encryptionKey, run };
      return this.prove(who, "/v1/handles/check", content, { encryptionKey });
    },

    /** The same for a receipt. */
    attest(who: Prover, handles: readonly string[], run?: string) {
      return this.prove(who, "/v1/receipts", { handles, run, ...someResult });
    },

    async prove(
      { identity, accessToken }: Prover,
      path: string,
      content: object,
      encrypted: { readonly encryptionKey?: EncryptionKey } = {},
    ) {
      const body = JSON.stringify(content);
      const covered = { method: "POST", url: `${brokerUrl}${path}`, accessToken, body, ...encrypted };
      const { jwt: dpop } = await makeProof(covered, identity.proofKey);
      return this.send("POST", path, body, { authorization: `DPoP ${accessToken}`, dpop });
    },

    /** A value as a requester encrypts it. */
    wrapped(
      value: string | Uint8Array,
      accessToken: string,
      item: Pick<WrapItem, "audience" | "jkt"> = {},
    ): Promise<string> {
      const key = keys.jwks.keys.find(({ use }) => use === "enc")!;
      return wrapValue(new Secret(Buffer.from(value)), { iss: brokerUrl, accessToken, ...item }, key);
    },

    async executor({ identity, proxy, keepHeads = async () => {}, ...who }: Who = {}): Promise<Executor> {
      const own = identity ?? (await createIdentity());
      const accessToken = await token(who);
      const client = createBrokerClient({
        url: brokerUrl,
        fetch: proxy ? proxy(fetch) : fetch,
        findToken: () => accessToken,
        pinnedKeys: keys.jwks.keys.map(({ kid }) => kid),
        identity: own,
        keepHeads,
        signal: new AbortController().signal,
      });
      return { identity: own, accessToken, client };
    },
  };
}

/** Whatever a test is about, an answer that openapi.yaml does not know fails it. */
async function expectDocumented(method: string, path: string, response: Response): Promise<void> {
  const undocumented = findUndocumented(method, path, {
    status: response.status,
    body: await response.text(),
  });
  if (undocumented) throw new Error(`${undocumented} for ${method} ${path}`);
}

const route = "/v1/redemptions";

/** A redemption as the executor's client sends it, in the pieces that an attacker could exchange. */
export async function prepareRedemption(
  { identity, accessToken }: Pick<Executor, "identity" | "accessToken">,
  handles: readonly string[],
  changed: Partial<RedemptionRequest> = {},
) {
  const asked = { id: randomUUID(), handles, key: identity.encryptionKey, ...changed };
  const body = JSON.stringify(asked);
  const covered: ProvenRequest = {
    method: "POST",
    url: `${brokerUrl}${route}`,
    accessToken,
    body,
    encryptionKey: asked.key,
  };
  const prove = async (other: Partial<ProvenRequest> = {}) =>
    (await makeProof({ ...covered, ...other }, identity.proofKey)).jwt;
  return { id: asked.id, body, prove, authorization: `DPoP ${accessToken}` };
}
