/**
 * The executor's side of the broker's HTTP interface. It takes a `fetch`, so that a broker in the same process
 * and one across the network are spoken to in the same words.
 */
import { randomUUID } from "node:crypto";
import { openConfirmation } from "../../shared/confirmation.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";
import { type HandleClaims, verifyHandle } from "../../shared/handle.ts";
import { NewerStatement } from "../../shared/newer.ts";
import { OutdatedReceipt, verifyReceipt } from "../../shared/receipt.ts";
import { openRedemption, type RedeemedValue } from "../../shared/redemption.ts";
import type { Secret } from "../../shared/secret.ts";
import {
  CheckResponse,
  type EncryptionKey,
  type HandleTerms,
  type IssueItem,
  IssueResponse,
  ReceiptResponse,
  RedemptionResponse,
} from "../../shared/wire.ts";
import { wrapValue } from "../../shared/wrapping.ts";
import { createAuthorizedCall, type FindToken } from "./authorized-call.ts";
import { createBrokerCall, type Fetch, type Patience, understand } from "./call.ts";
import type { KeepHeads } from "./heads.ts";
import type { Identity } from "./identity.ts";
import { asUntrusted, type BrokerKeys, createBrokerKeys } from "./keys.ts";
import { type FindSourceTokens, sealSourceTokens } from "./source-tokens.ts";

interface Connection extends Patience {
  /** Where the broker is, as it says itself; no slash at the end. */
  readonly url: string;
  readonly fetch: Fetch;
  readonly findToken: FindToken;
  /** Whose name handles are asked for in, where that is not the executor itself. */
  readonly requester?: {
    readonly findToken: FindToken;
    /** The executor's principal, which handles have to be for. */
    readonly audience: string;
  };
  /** The requester's own, for sources that are read with them. */
  readonly findSourceTokens?: FindSourceTokens | undefined;
  /** RFC 7638 thumbprints of the broker's keys: no other key is believed, whoever sends it. */
  readonly pinnedKeys: readonly string[];
  /** Those that are known from before. */
  readonly keys?: BrokerKeys;
  readonly identity: Identity;
  /** Whether the broker is in this process. */
  readonly embedded?: boolean;
  /** Gets the heads of the broker's audit log that come with each redemption. */
  readonly keepHeads: KeepHeads;
}

export interface IssuedHandle {
  readonly handle: string;
  readonly claims: HandleClaims;
}

export interface Membership {
  /** The broker's name for itself. */
  readonly broker: string;
  readonly tenant: string;
}

export interface Checked extends Membership {
  /** What stands for the secrets in the cache, in the order of the handles; undefined where a rule says `cache: never`. */
  readonly cacheIds: readonly (string | undefined)[];
}

export type BrokerClient = ReturnType<typeof createBrokerClient>;

export function createBrokerClient(connection: Connection) {
  const { url, fetch, findToken, requester, pinnedKeys, identity, keepHeads, signal } = connection;
  const call = createBrokerCall({ url, fetch, signal });
  const keys = connection.keys ?? createBrokerKeys(call, pinnedKeys);
  const { findKeys, wrappingKey } = keys;
  const { ask, sentTokens } = createAuthorizedCall({ ...connection, call, keys });

  const sentForSources = new Set<string>();
  const findSourceTokens = async () => {
    const tokens = (await connection.findSourceTokens?.()) ?? new Map<string, string>();
    for (const token of tokens.values()) sentForSources.add(token);
    return tokens;
  };

  /** What handles that are asked for here have in common. */
  const bound = { jkt: identity.jkt, ...(requester && { audience: requester.audience }) };

  /**
   * Asks in the requester's name.
   *
   * @param names what the user calls the secrets.
   * @param describe a request with this token, for as many secrets as there are names.
   * @returns handles in the order of the secrets, their signatures checked.
   */
  async function askForHandles(
    path: string,
    names: readonly (string | undefined)[],
    describe: (accessToken: string) => Promise<{ readonly secrets: object[] }>,
  ): Promise<IssuedHandle[]> {
    const asking = ask(requester?.findToken ?? findToken, {
      method: "POST",
      path,
      body: async (accessToken) => JSON.stringify(await describe(accessToken)),
      tokenIsEnough: true,
    }).catch((thrown) => {
      if (thrown instanceof Failure) thrown.nameItems(names);
      throw thrown;
    });
    const [find, { answer }] = await Promise.all([findKeys(), asking]);
    const { handles } = understand(IssueResponse, answer);
    if (handles.length !== names.length)
      throw new Failure("broker_untrusted", { detail: "handles are missing" });
    return Promise.all(
      handles.map(async ({ handle }) => {
        const claims = await verifyHandle(handle, find, url).catch((cause) => {
          throwOtherVersion(cause, {
            handle_outdated: "the broker is of an older version; upgrade it",
            handle_newer: "the broker is of a newer version",
          });
          const detail =
            "the broker did not issue one of the handles, or its own configuration has another URL";
          throw asUntrusted(cause, new Failure("broker_untrusted", { detail, cause }));
        });
        return { handle, claims };
      }),
    );
  }

  const post = (path: string, body: string, encryptionKey?: EncryptionKey) =>
    ask(findToken, { method: "POST", path, body, ...(encryptionKey && { encryptionKey }) });

  return {
    /** Those of the requester for sources among them. */
    sentTokens: () => [...sentTokens(), ...sentForSources],

    /**
     * Asks for handles, bound to this executor's key.
     *
     * @returns them in the order of the secrets, their signatures checked.
     */
    issue: (secrets: readonly IssueItem[]): Promise<IssuedHandle[]> =>
      askForHandles(
        "/v1/handles",
        secrets.map(({ name }) => name),
        async (accessToken) => ({
          secrets: secrets.map((secret) => ({ ...secret, ...bound })),
          ...(await sealSourceTokens(findSourceTokens, { iss: url, accessToken }, keys)),
        }),
      ),

    /** Asks for handles for values of the requester's own, encrypted to the broker; bound in the same way. */
    wrap: (
      items: readonly (Omit<HandleTerms, "audience" | "jkt"> & { readonly value: Secret })[],
    ): Promise<IssuedHandle[]> =>
      askForHandles(
        "/v1/handles/wrap",
        items.map(({ name }) => name),
        async (accessToken) => {
          const key = await wrappingKey();
          const context = { iss: url, accessToken, ...bound };
          const secrets = items.map(async ({ value, ...terms }) => ({
            ...terms,
            ...bound,
            value: await wrapValue(value, context, key),
          }));
          return { secrets: await Promise.all(secrets) };
        },
      ),

    /** Reads a handle that somebody else was given. Whether it may be redeemed here, the broker says. */
    async accept(handle: string): Promise<IssuedHandle> {
      const claims = await verifyHandle(handle, await findKeys(), url).catch((cause) => {
        throwOtherVersion(cause);
        const detail = "it has expired, or is not this broker's";
        throw asUntrusted(cause, new Failure("invalid_handle", { detail, cause }));
      });
      return { handle, claims };
    },

    /**
     * Asks whether a result that was made with these handles' values may be used again, and what it is kept under.
     * Nothing is redeemed.
     *
     * @returns also the broker's signed word for whose principal this executor is; that without any handle, too.
     * @throws {Failure} the broker's refusal, when any of them is not good.
     */
    async check(handles: readonly IssuedHandle[], { run }: { run?: string } = {}): Promise<Checked> {
      const { encryptionKey, decryptionKey } = identity;
      const presented = handles.map(({ handle }) => handle);
      const body = JSON.stringify({ handles: presented, key: encryptionKey, run });
      const { answer, proof } = await post("/v1/handles/check", body, encryptionKey);
      const { confirmation } = understand(CheckResponse, answer);
      const expected = { iss: url, proof, handles: handles.map(({ claims }) => claims.jti) };
      const find = await findKeys();
      const said = await openConfirmation(confirmation, decryptionKey, find, expected).catch((cause) => {
        const detail = "the confirmation is not the broker's";
        throw asUntrusted(cause, new Failure("broker_untrusted", { detail, cause }));
      });
      return { broker: url, tenant: said.tenant, cacheIds: said.handles.map(({ cacheId }) => cacheId) };
    },

    /**
     * Asks for a receipt for a result that these handles, and no others, were redeemed for.
     *
     * @param result its key, and the digest of its manifest.
     */
    async attest(
      handles: readonly IssuedHandle[],
      result: { readonly key: string; readonly manifest: string },
    ): Promise<string> {
      const body = JSON.stringify({ handles: handles.map(({ handle }) => handle), ...result });
      const { answer } = await post("/v1/receipts", body);
      return understand(ReceiptResponse, answer).receipt;
    },

    /**
     * @returns the digest of the manifest that a receipt is about; undefined where it is no receipt for a result
     * under this key, of this tenant, made with these secrets.
     * @throws {Failure} `receipt_outdated`, `receipt_newer`.
     */
    async readReceipt(
      receipt: string,
      {
        tenant,
        ...result
      }: { readonly key: string; readonly tenant: string; readonly secrets: readonly string[] },
    ): Promise<string | undefined> {
      const expected = { iss: url, tenant, key: result.key, secrets: [...result.secrets] };
      return verifyReceipt(receipt, await findKeys(), expected).catch((cause) => {
        if (cause instanceof OutdatedReceipt) throw new Failure("receipt_outdated", { cause });
        if (cause instanceof NewerStatement) throw new Failure("receipt_newer", { cause });
        return undefined;
      });
    },

    /**
     * Trades handles for plaintext: all of them, or none.
     *
     * @returns values to be wiped by the caller, in the order of the handles.
     */
    async redeem(
      handles: readonly IssuedHandle[],
      { masked, run }: { masked: boolean; run?: string },
    ): Promise<RedeemedValue[]> {
      const first = handles[0];
      if (!first) return [];
      const id = randomUUID();
      const body = JSON.stringify({
        id,
        handles: handles.map(({ handle }) => handle),
        key: identity.encryptionKey,
        run,
        masked,
      });
      const redeem = () => post("/v1/redemptions", body, identity.encryptionKey);
      // The uses may be spent although the answer was lost: under the same id it is had again, and costs nothing.
      const { answer, proof } = await redeem().catch((failure) => {
        if (signal.aborted || !isWorthRepeating(failure)) throw failure;
        return redeem();
      });
      const { payload } = understand(RedemptionResponse, answer);
      const context = { iss: url, tenant: first.claims.tenant, redemption: id, proof };
      const opened = await openRedemption(payload, identity.decryptionKey, await findKeys(), context).catch(
        (cause) => {
          throw asUntrusted(cause, foreign(cause));
        },
      );
      const { values, heads } = opened;
      try {
        const same = handles.every(
          ({ claims }, index) => values[index]?.jti === claims.jti && values[index]?.digest === claims.digest,
        );
        if (!same || values.length !== handles.length) throw foreign();
        await keepHeads(heads);
        return values;
      } catch (thrown) {
        for (const { value } of values) value.wipe();
        throw thrown;
      }
    },
  };
}

const foreign = (cause?: unknown) =>
  new Failure("broker_untrusted", { detail: "the values are not what the handles stand for", cause });

/** @param details what the user is told besides. @throws {Failure} for a handle of another version. */
function throwOtherVersion(cause: unknown, details: Partial<Record<OtherVersion, string>> = {}): void {
  const code = cause instanceof ClaimcheckError && otherVersions.find((each) => each === cause.code);
  if (!code) return;
  const detail = details[code];
  throw new Failure(code, { ...(detail !== undefined && { detail }), cause });
}

const otherVersions = ["handle_outdated", "handle_newer"] as const;
type OtherVersion = (typeof otherVersions)[number];

const isWorthRepeating = ({ code }: Failure) => code === "broker_unreachable" || code === "store_unavailable";
