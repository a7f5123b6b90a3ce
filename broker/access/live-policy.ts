/**
 * The policy that is in force. It is read again whenever somebody asks; a file that is wrong changes nothing but
 * what /readyz says, because a broker without its last good policy would serve nobody.
 */
import type { Complaint } from "../broker.ts";
import { type Authenticate, createAuthenticator } from "../caller.ts";
import type { Policy } from "../policy.ts";
import type { Fault } from "./document.ts";
import { type KeyLocation, type KeySet, remoteKeys } from "./key-set.ts";
import { type LoadedPolicy, loadPolicy } from "./policy-file.ts";

export interface LivePolicy {
  readonly authenticate: Authenticate;
  readonly policy: Policy;
  readonly complaints: () => Complaint[];
  /** Reads the file, and takes it over if it has changed and is in order; one reading at a time. */
  reload(): Promise<void>;
}

/** What happened at a reload. */
export type PolicyEvent =
  | { readonly outcome: "taken"; readonly rules: number }
  | { readonly outcome: "refused"; readonly faults: readonly Fault[] };

interface InForce extends LoadedPolicy {
  readonly authenticate: Authenticate;
}

/**
 * @param read gives the file's text.
 * @param audience what tokens have to be for: this broker's URL.
 */
export async function openPolicy(
  read: () => Promise<string>,
  audience: string,
  report: (event: PolicyEvent) => void,
): Promise<LivePolicy | { readonly faults: readonly Fault[] }> {
  let text: string | undefined;
  let faults: readonly Fault[] = [];
  let keySets: ReadonlyMap<string, KeySet> = new Map();

  async function take(): Promise<InForce | undefined> {
    const before = text;
    try {
      text = await read();
    } catch (error) {
      text = undefined;
      const { code = "unknown" } = error as NodeJS.ErrnoException;
      faults = [{ line: 1, message: `the file cannot be read (${code})` }];
      return undefined;
    }
    if (text === before) return undefined;
    // Keys outlive a reload, or a new file would make a broker forget those of an issuer that is down.
    const kept = new Map<string, KeySet>();
    const keysOf = (location: KeyLocation): KeySet => {
      const name = `${location.issuer}\0${location.keys ?? ""}`;
      const keys = kept.get(name) ?? keySets.get(name) ?? remoteKeys(location);
      kept.set(name, keys);
      return keys;
    };
    const loaded = loadPolicy(text, keysOf);
    if ("faults" in loaded) {
      faults = loaded.faults;
      return undefined;
    }
    faults = [];
    keySets = kept;
    return { ...loaded, authenticate: createAuthenticator(loaded.issuers, audience) };
  }

  const first = await take();
  if (!first) return { faults };
  let current: InForce = first;
  let reloading: Promise<void> = Promise.resolve();

  async function reload(): Promise<void> {
    const before = text;
    const next = await take();
    if (next) {
      current = next;
      report({ outcome: "taken", rules: next.rules.length });
    } else if (text !== before && faults.length > 0) report({ outcome: "refused", faults });
  }

  return {
    authenticate: (authorization) => current.authenticate(authorization),
    policy: { decide: (caller, action, uri) => current.policy.decide(caller, action, uri) },
    reload() {
      reloading = reloading.then(reload);
      return reloading;
    },
    complaints() {
      const silent = [...keySets.values()].filter((keys) => keys.isFailing());
      return [
        ...(faults.length > 0 ? [staleComplaint(faults.length)] : []),
        ...silent.map(({ issuer }) => ({
          part: `issuer ${issuer}`,
          message: "its keys could not be fetched at the last attempt",
          serving: true,
        })),
      ];
    },
  };
}

const staleComplaint = (count: number): Complaint => ({
  part: "policy",
  message: `the file has ${count} fault${count === 1 ? "" : "s"}; the one before it is in force`,
  serving: true,
});
