/** A policy file's text, made into what the broker asks: whom to believe, and what they may do. */
import type { Issuer, Membership } from "../caller.ts";
import {
  type CompiledRule,
  compileRule,
  createPolicy,
  type Limits,
  type Policy,
  type Rule,
} from "../policy.ts";
import type { Who } from "./claims.ts";
import { type Fault, inOrder, readDocument } from "./document.ts";
import { findFaults } from "./faults.ts";
import type { KeyLocation, KeySet } from "./key-set.ts";
import { type LimitFields, PolicyFile, seconds } from "./schema.ts";

const defaultLifetime = 15 * 60;

export interface LoadedPolicy {
  readonly issuers: readonly Issuer[];
  readonly policy: Policy;
  /** In the order of the file. */
  readonly rules: readonly CompiledRule[];
}

/** All faults of a file at once, or what it says. */
export function loadPolicy(
  text: string,
  keysOf: (location: KeyLocation) => KeySet,
): LoadedPolicy | { readonly faults: readonly Fault[] } {
  const document = readDocument(text, PolicyFile);
  if ("faults" in document) return document;
  const { value: file, lineOf } = document;
  const compiled = new Map(
    Object.entries(file.tenants).map(([tenant, { rules, limits }]) => [
      tenant,
      rules.map((entry, order) =>
        compileRule(
          { ...entry, tenant, limits: limitsOf({ ...limits, ...entry.limits }) } satisfies Rule as Rule,
          order,
        ),
      ),
    ]),
  );
  const faults = findFaults(file, compiled, lineOf);
  if (faults.length > 0) return { faults: inOrder(faults) };

  const rules = [...compiled.values()].flat();
  return {
    issuers: Object.entries(file.issuers).map(([name, entry]) => ({
      issuer: entry.issuer,
      ...keyFieldsOf(keysOf(entry)),
      algorithms: entry.algorithms,
      ...(entry.audience !== undefined && { audience: entry.audience }),
      skew: seconds(entry.skew),
      prefix: entry.prefix ?? `${name}:`,
      members: membersOf(file, name),
    })),
    policy: createPolicy(rules.map(({ rule }) => rule)),
    rules,
  };
}

const keyFieldsOf = ({ find, version }: KeySet) => ({ keys: find, keysVersion: version });

function membersOf(file: PolicyFile, issuer: string): Membership[] {
  return Object.entries(file.tenants).flatMap(([tenant, { principals }]) =>
    principals
      .filter((entry) => entry.issuer === issuer)
      .map(({ claims, roles, proofKeys }) => ({
        tenant,
        who: claims as Who,
        roles,
        ...(proofKeys && { proofKeys }),
      })),
  );
}

function limitsOf({ ttl, uses = 1, audience, keyBinding, cacheKeys, totpSeeds }: LimitFields): Limits {
  return {
    ttl: ttl === undefined ? defaultLifetime : seconds(ttl),
    uses,
    ...(audience && { audience }),
    ...(keyBinding !== undefined && { keyBinding }),
    ...(cacheKeys && { cacheKeys }),
    ...(totpSeeds !== undefined && { totpSeeds }),
  };
}
