/**
 * The secrets of a run. Handles for all of them are asked for when it starts, each good for as many steps as use it;
 * the plaintext of a step is redeemed just before that step's container, and is in here until it is wiped.
 */
import type { Secret } from "../shared/secret.ts";
import type { BrokerClient, IssuedHandle, Membership } from "./broker-client.ts";
import { Failure } from "./failure.ts";
import { keyOf, type Plan, type SecretSource, type Step, secretsOf } from "./plan.ts";

export interface Secrets {
  /** Tokens and handles: worth as much as a secret to whoever reads them in a log. */
  credentials(): string[];

  /** Whose cached results these handles are for: to be believed after `prove`. */
  membership(): Promise<Membership>;

  /** What stands for the secret in the cache, by its present handle. */
  cacheIdOf(source: SecretSource): string;

  /**
   * Proves to the broker that the results of these steps may be had, in one call. Nothing is redeemed.
   *
   * @throws {Failure} the broker's refusal.
   */
  prove(steps: readonly Step[]): Promise<void>;

  /** A receipt for a result of these steps, whose handles were redeemed. */
  attest(made: readonly Step[], result: { readonly key: string; readonly manifest: string }): Promise<string>;

  /** The digest of the manifest that a receipt is about, if it is one for a result of these steps under this key. */
  readReceipt(receipt: string, made: readonly Step[], key: string): Promise<string | undefined>;

  /**
   * Trades the handles of a step for plaintext, all of them or none. Those of steps before it whose results came from
   * the cache belong to it: their values can be in the files that it finds, and have to be known to be masked.
   */
  redeem(step: Step): Promise<void>;

  /** The plaintext, once a step that uses it was redeemed. */
  valueOf(source: SecretSource): Secret;

  /** Whatever was redeemed so far, and what people call it. */
  known(): { readonly name: string; readonly value: Secret }[];

  wipe(): void;
}

/** A handle that ends sooner than this, in seconds, is asked for again rather than redeemed. */
const margin = 5;

/** Of a handle's `name`, in characters. */
const nameLimit = 256;

interface Use {
  readonly source: SecretSource;
  readonly name: string;
  readonly uses: number;
}

/** @param connect called only where there are secrets. */
export async function requestSecrets(
  { steps, masked }: Pick<Plan, "steps" | "masked">,
  connect: () => Promise<BrokerClient>,
): Promise<Secrets> {
  const uses = usesOf(steps);
  const handles = new Map<string, IssuedHandle>();
  const values = new Map<string, Secret>();
  const retired: string[] = [];
  let broker = uses.size > 0 ? await connect() : undefined;
  let confirmed: Membership | undefined;

  /** One request for all that have to be asked for; the others are only read. */
  async function acquire(wanted: ReadonlyMap<string, Use>, from: BrokerClient): Promise<void> {
    const entries = [...wanted];
    const asked = entries.flatMap(([key, { source, name, uses: times }]) =>
      "uri" in source ? [{ key, item: { ...source, name: name.slice(-nameLimit), uses: times } }] : [],
    );
    const given = entries.flatMap(([key, { source }]) =>
      "handle" in source ? [{ key, handle: source.handle }] : [],
    );
    const [issued, accepted] = await Promise.all([
      asked.length > 0 ? from.issue(asked.map(({ item }) => item)) : [],
      Promise.all(given.map(({ handle }) => from.accept(handle))),
    ]);
    for (const [index, { key }] of asked.entries()) handles.set(key, issued[index] as IssuedHandle);
    for (const [index, { key }] of given.entries()) handles.set(key, accepted[index] as IssuedHandle);
  }

  /** A plan may take longer than its handles live, and so may waiting for somebody else's. */
  async function renew(wanted: ReadonlyMap<string, Use>, from: BrokerClient): Promise<void> {
    const soon = Date.now() / 1000 + margin;
    const expired = [...wanted].filter(([key, { source }]) => {
      const { claims, handle } = handles.get(key) as IssuedHandle;
      if ("handle" in source || claims.exp > soon) return false;
      retired.push(handle);
      return true;
    });
    if (expired.length > 0) await acquire(new Map(expired), from);
  }

  const presentedFor = (some: readonly Step[]) =>
    [...usesOf(some).keys()].map((key) => handles.get(key) as IssuedHandle);

  async function check(wanted: ReadonlyMap<string, Use>): Promise<Membership> {
    broker ??= await connect();
    await renew(wanted, broker);
    confirmed = await broker.check([...wanted.keys()].map((key) => handles.get(key) as IssuedHandle));
    return confirmed;
  }

  async function membership(): Promise<Membership> {
    const [first] = handles.values();
    if (confirmed) return confirmed;
    return first ? { broker: first.claims.iss, tenant: first.claims.tenant } : check(new Map());
  }

  if (broker) await acquire(uses, broker);
  return {
    credentials: () => [
      ...(broker?.sentTokens() ?? []),
      ...retired,
      ...[...handles.values()].map(({ handle }) => handle),
    ],

    membership,

    cacheIdOf: (source) => (handles.get(keyOf(source)) as IssuedHandle).claims.cache_id,

    async prove(proven) {
      const claimed = await membership();
      const presented = usesOf(proven);
      if (confirmed && presented.size === 0) return;
      const { tenant } = await check(new Map([...uses].filter(([key]) => presented.has(key))));
      if (tenant !== claimed.tenant)
        throw new Failure("invalid_handle", { detail: "it is another tenant's" });
    },

    async attest(made, result) {
      broker ??= await connect();
      return broker.attest(presentedFor(made), result);
    },

    async readReceipt(receipt, made, key) {
      const { tenant } = await membership();
      broker ??= await connect();
      const secrets = presentedFor(made).map(({ claims }) => claims.cache_id);
      return broker.readReceipt(receipt, { key, tenant, secrets });
    },

    async redeem(step) {
      const index = steps.indexOf(step);
      const own = usesOf([step]);
      const keys = [...usesOf(steps.slice(0, index + 1)).keys()].filter(
        (key) => own.has(key) || !values.has(key),
      );
      if (!broker || keys.length === 0) return;
      const unknown = steps
        .slice(0, index)
        .filter((each) => [...usesOf([each]).keys()].some((key) => keys.includes(key)));
      await renew(usesOf([...unknown, ...steps.slice(index)]), broker);
      const redeemed = await broker.redeem(
        keys.map((key) => handles.get(key) as IssuedHandle),
        { masked },
      );
      for (const [index, key] of keys.entries()) {
        values.get(key)?.wipe();
        values.set(key, (redeemed[index] as { value: Secret }).value);
      }
    },

    valueOf(source) {
      const value = values.get(keyOf(source));
      if (!value) throw new Failure("internal");
      return value;
    },

    known: () => [...values].map(([key, value]) => ({ name: uses.get(key)?.name ?? "", value })),

    wipe() {
      for (const value of values.values()) value.wipe();
      values.clear();
    },
  };
}

/** Each secret once, with the number of steps that use it. */
function usesOf(steps: readonly Step[]): Map<string, Use> {
  const uses = new Map<string, Use>();
  for (const step of steps) {
    const ofStep = new Map(secretsOf(step).map((use) => [keyOf(use.source), use]));
    for (const [key, use] of ofStep) uses.set(key, { ...use, uses: (uses.get(key)?.uses ?? 0) + 1 });
  }
  return uses;
}
