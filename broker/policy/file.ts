/** A policy file's text, made into what the broker asks: whom to believe, and what they may do. */

import { type Fault, inOrder, readDocument } from "../../shared/yaml-document.ts";
import type { Issuer, Membership } from "../authn/authenticate.ts";
import type { Who } from "../authn/claims.ts";
import type { KeyLocation, KeySet } from "../authn/issuer-keys.ts";
import {
  buildPolicy,
  type CompiledRule,
  compileRule,
  type Limits,
  type Policy,
  type Rule,
} from "./decide.ts";
import { findFaults } from "./lint.ts";
import { atOnce } from "./paced.ts";
import { type LimitFields, PolicyFile, seconds } from "./schema.ts";
import type { SecretPatterns } from "./secret-pattern.ts";

const defaultLifetime = 15 * 60;

export interface LoadedPolicy {
  readonly issuers: readonly Issuer[];
  readonly policy: Policy;
  /** In the order of the file. */
  readonly rules: readonly CompiledRule[];
}

/** What a policy file says, in plain objects, or all of its faults at once. */
export type ReadPolicy = { readonly file: PolicyFile } | { readonly faults: readonly Fault[] };

export function readPolicy(text: string, patterns: SecretPatterns): ReadPolicy {
  const document = readDocument(text, PolicyFile);
  // The faults alone: the answer crosses the border of a thread, and functions cannot.
  if ("faults" in document) return { faults: document.faults };
  const { value: file, lineOf } = document;
  const compiled = new Map(Object.entries(atOnce(compile(file, patterns))));
  const faults = findFaults(file, compiled, lineOf, patterns);
  return faults.length > 0 ? { faults: inOrder(faults) } : { file };
}

export function loadPolicy(
  text: string,
  keysOf: (location: KeyLocation) => KeySet,
  patterns: SecretPatterns,
): LoadedPolicy | { readonly faults: readonly Fault[] } {
  const read = readPolicy(text, patterns);
  return "faults" in read ? read : atOnce(buildLoaded(read.file, keysOf, patterns));
}

/** In steps of a rule each. */
export function* buildLoaded(
  file: PolicyFile,
  keysOf: (location: KeyLocation) => KeySet,
  patterns: SecretPatterns,
): Generator<void, LoadedPolicy> {
  const rules = Object.values(yield* compile(file, patterns)).flat();
  const policy = yield* buildPolicy(rules);
  const members = membersOf(file);
  return {
    issuers: Object.entries(file.issuers).map(([name, entry]) => ({
      issuer: entry.issuer,
      ...keyFieldsOf(keysOf(entry)),
      algorithms: entry.algorithms,
      ...(entry.audience !== undefined && { audience: entry.audience }),
      skew: seconds(entry.skew),
      prefix: entry.prefix ?? `${name}:`,
      members: members.get(name) ?? [],
    })),
    policy,
    rules,
  };
}

const keyFieldsOf = ({ find, version }: KeySet) => ({ keys: find, keysVersion: version });

/** Each tenant's rules, in the order of the file. */
function* compile(
  { tenants }: PolicyFile,
  patterns: SecretPatterns,
): Generator<void, Record<string, CompiledRule[]>> {
  const compiled: Record<string, CompiledRule[]> = {};
  for (const [tenant, { rules, limits }] of Object.entries(tenants)) {
    const own: CompiledRule[] = [];
    compiled[tenant] = own;
    for (const [order, { secrets, tokenAlone, ...entry }] of rules.entries()) {
      const rule = {
        ...entry,
        tenant,
        ...(secrets && { secrets }),
        ...(tokenAlone && { tokenAlone }),
        limits: limitsOf({ ...limits, ...entry.limits }),
      };
      own.push(compileRule(rule satisfies Rule as Rule, order, patterns));
      yield;
    }
  }
  return compiled;
}

/** By the name of their issuer. */
function membersOf({ tenants }: PolicyFile): ReadonlyMap<string, readonly Membership[]> {
  const members = new Map<string, Membership[]>();
  for (const [tenant, { principals }] of Object.entries(tenants)) {
    for (const { issuer, claims, roles, proofKeys, confined, dangerouslyTokenAlone } of principals) {
      const own = members.get(issuer) ?? [];
      members.set(issuer, own);
      own.push({
        tenant,
        who: claims as Who,
        roles,
        ...(proofKeys && { proofKeys }),
        ...(confined && { confined }),
        ...(dangerouslyTokenAlone && { anyProofKey: true }),
      });
    }
  }
  return members;
}

function limitsOf({ ttl, uses = 1, audience, keyBinding, cacheKeys, cache, totpSeeds }: LimitFields): Limits {
  return {
    ttl: ttl === undefined ? defaultLifetime : seconds(ttl),
    uses,
    ...(audience && { audience }),
    ...(keyBinding !== undefined && { keyBinding }),
    ...(cacheKeys && { cacheKeys }),
    ...(cache && { cache }),
    ...(totpSeeds !== undefined && { totpSeeds }),
  };
}
