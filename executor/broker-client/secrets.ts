/**
 * The secrets of a run. Handles for all of them are asked for when it starts, each good for as many steps as use it;
 * the plaintext of a step is redeemed just before that step's container, and is in here until it is wiped.
 */

import { Failure } from "../../shared/failure.ts";
import type { Secret } from "../../shared/secret.ts";
import { shownName } from "../../shared/uri.ts";
import {
  keyOf,
  loginsOf,
  type NamedSource,
  type Plan,
  type SecretSource,
  type Step,
  secretsOf,
} from "../plan/plan.ts";
import type { BrokerClient, IssuedHandle, Membership } from "./client.ts";

export interface Secrets {
  /** Tokens and handles: worth as much as a secret to whoever reads them in a log. */
  credentials(): string[];

  /**
   * Proves to the broker, in one call, that the results of these steps may be had. Nothing is redeemed.
   *
   * @returns whose results they are.
   * @throws {Failure} the broker's refusal.
   */
  check(steps: readonly Step[]): Promise<Membership>;

  /**
   * What stands for the secret in the cache, as a check of its present handle said: undefined before there was one, and
   * where a rule says `cache: never`.
   */
  cacheIdOf(source: SecretSource): string | undefined;

  /** A receipt for a result of these steps, whose handles were redeemed. */
  attest(made: readonly Step[], result: { readonly key: string; readonly manifest: string }): Promise<string>;

  /** The digest of the manifest that a receipt is about, if it is one for a result of these steps under this key. */
  readReceipt(receipt: string, made: readonly Step[], key: string): Promise<string | undefined>;

  /**
   * Trades the handles of a step for plaintext, all of them or none. Those of steps before it whose results came from
   * the cache belong to it: their values can be in the files that it finds, and have to be known to be masked.
   */
  redeem(step: Step): Promise<void>;

  /** The same for what registries ask for. */
  redeemLogins(): Promise<void>;

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

type Use = NamedSource & { readonly uses: number };

/**
 * @param connect called only where there are secrets.
 * @param brought values by the names that the plan has for them; the caller wipes them.
 */
export async function requestSecrets(
  { registries, steps, masked, hash }: Pick<Plan, "registries" | "steps" | "masked" | "hash">,
  connect: () => Promise<BrokerClient>,
  brought: ReadonlyMap<string, Secret> = new Map(),
): Promise<Secrets> {
  const logins = loginsOf(registries);
  const uses = usesOf([logins, ...steps.map(secretsOf)]);
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
    const wrapped = entries.flatMap(([key, { source, uses: times }]) =>
      "value" in source ? [{ key, item: { ...bring(source.value), uses: times } }] : [],
    );
    const [issued, accepted, wrappedHandles] = await Promise.all([
      asked.length > 0 ? from.issue(asked.map(({ item }) => item)) : [],
      Promise.all(given.map(({ handle }) => from.accept(handle))),
      wrapped.length > 0 ? from.wrap(wrapped.map(({ item }) => item)) : [],
    ]);
    checkBoundPlans(accepted);
    for (const [index, { key }] of asked.entries()) handles.set(key, issued[index] as IssuedHandle);
    for (const [index, { key }] of given.entries()) handles.set(key, accepted[index] as IssuedHandle);
    for (const [index, { key }] of wrapped.entries()) handles.set(key, wrappedHandles[index] as IssuedHandle);
  }

  function bring(name: string): { name: string; value: Secret } {
    const value = brought.get(name);
    if (!value) throw new Failure("invalid_plan", { detail: `no value is given for ${shownName(name)}` });
    return { name, value };
  }

  /** Where one handle is for this plan alone, all are: another handle in its place would make it another plan. */
  function checkBoundPlans(accepted: readonly IssuedHandle[]): void {
    if (accepted.every(({ claims }) => claims.plan === undefined)) return;
    const stray = accepted.find(({ claims }) => claims.plan === undefined || claims.plan !== hash);
    if (stray) throw new Failure("plan_mismatch", { detail: shownName(stray.claims.name) });
  }

  /** A plan may take longer than its handles live, and so may waiting for somebody else's. */
  async function renew(wanted: ReadonlyMap<string, Use>, from: BrokerClient): Promise<void> {
    const soon = Date.now() / 1000 + margin;
    const expired = [...wanted].filter(([key, { source }]) => {
      const { claims, handle } = handles.get(key) as IssuedHandle;
      if (!("uri" in source) || claims.exp > soon) return false;
      retired.push(handle);
      return true;
    });
    if (expired.length > 0) await acquire(new Map(expired), from);
  }

  const present = (keys: Iterable<string>) => [...keys].map((key) => handles.get(key) as IssuedHandle);

  /** Each by its handle: one that is asked for again may stand for another value. */
  const cacheIds = new Map<string, string | undefined>();

  const cacheIdOf = ({ handle }: IssuedHandle) => cacheIds.get(handle);

  const presentFor = (some: readonly Step[]) => present(usesOf(some.map(secretsOf)).keys());

  async function check(some: readonly Step[]): Promise<Membership> {
    const keys = new Set(usesOf(some.map(secretsOf)).keys());
    if (confirmed && keys.size === 0) return confirmed;
    broker ??= await connect();
    await renew(new Map([...uses].filter(([key]) => keys.has(key))), broker);
    const presented = present(keys);
    const { cacheIds: said, ...membership } = await broker.check(presented);
    if (confirmed && confirmed.tenant !== membership.tenant)
      throw new Failure("invalid_handle", { detail: "it is another tenant's" });
    for (const [index, { handle }] of presented.entries()) cacheIds.set(handle, said[index]);
    confirmed = membership;
    return membership;
  }

  async function redeemAll(wanted: readonly NamedSource[]): Promise<void> {
    const keys = [...usesOf([wanted]).keys()];
    if (!broker || keys.length === 0) return;
    const redeemed = await broker.redeem(present(keys), { masked });
    for (const [index, key] of keys.entries()) {
      values.get(key)?.wipe();
      values.set(key, (redeemed[index] as { value: Secret }).value);
    }
  }

  if (broker) await acquire(uses, broker);
  return {
    credentials: () => [
      ...(broker?.sentTokens() ?? []),
      ...retired,
      ...[...handles.values()].map(({ handle }) => handle),
    ],

    check,

    cacheIdOf: (source) => cacheIdOf(handles.get(keyOf(source)) as IssuedHandle),

    async attest(made, result) {
      broker ??= await connect();
      return broker.attest(presentFor(made), result);
    },

    async readReceipt(receipt, made, key) {
      const { tenant } = confirmed ?? (await check(made));
      broker ??= await connect();
      const secrets = presentFor(made).map((each) => cacheIdOf(each) ?? "");
      return broker.readReceipt(receipt, { key, tenant, secrets });
    },

    async redeem(step) {
      const index = steps.indexOf(step);
      const before = steps.slice(0, index).flatMap(secretsOf);
      const unknown = before.filter(({ source }) => !values.has(keyOf(source)));
      if (broker) await renew(usesOf([unknown, ...steps.slice(index).map(secretsOf)]), broker);
      await redeemAll([...unknown, ...secretsOf(step)]);
    },

    redeemLogins: () => redeemAll(logins),

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

/** Each secret once, with the number of redemptions that it is part of. */
function usesOf(redemptions: readonly (readonly NamedSource[])[]): Map<string, Use> {
  const uses = new Map<string, Use>();
  for (const redemption of redemptions) {
    const once = new Map(redemption.map((use) => [keyOf(use.source), use]));
    for (const [key, use] of once) uses.set(key, { ...use, uses: (uses.get(key)?.uses ?? 0) + 1 });
  }
  return uses;
}
