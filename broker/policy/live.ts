/**
 * The policy that is in force. It is read again whenever somebody asks; a file that is wrong changes nothing but
 * what /readyz says, because a broker without its last good policy would serve nobody.
 *
 * A file is only taken when it is whole: half of one can lack the rule that denies. It is, where it ends in `...`, where
 * it was put into the place of the one before and nobody has written to it for a while, or where an operator says so
 * (SIGHUP). A file that was changed where it lies, without that end, may change again in a moment.
 */
import { setTimeout } from "node:timers/promises";
import type { Fault } from "../../shared/yaml-document.ts";
import { type Authenticate, createAuthenticator } from "../authn/authenticate.ts";
import { type KeyLocation, type KeySet, remoteKeys } from "../authn/issuer-keys.ts";
import type { Complaint } from "../health.ts";
import type { Policy } from "./decide.ts";
import { buildLoaded, type LoadedPolicy, type ReadPolicy } from "./file.ts";
import { paced } from "./paced.ts";
import type { SecretPatterns } from "./secret-pattern.ts";

export interface LivePolicy {
  readonly authenticate: Authenticate;
  readonly policy: Policy;
  readonly complaints: () => Complaint[];
  /**
   * Reads the file, and takes it over if it has changed, is whole and in order; one reading at a time.
   *
   * @param whole whether whoever asks says that it is.
   */
  reload(whole?: boolean): Promise<void>;
}

/** A policy file as it was read. */
export interface PolicyText {
  readonly text: string;
  /** Names the file itself, whatever its path: another one in its place has another. */
  readonly file: string;
  /** When it was last written to, by `Date.now()`. */
  readonly writtenAt: number;
}

/** For how long nobody writes to a file that is whole, in milliseconds. */
const quiet = 500;

/** How often it is looked at while somebody writes. */
const patience = 20;

/** YAML's own end of a document. */
const endMark = /(^|\n)\.\.\.\s*$/;

/** What happened at a reload. */
export type PolicyEvent =
  | { readonly outcome: "taken"; readonly rules: number }
  | { readonly outcome: "refused"; readonly faults: readonly Fault[] };

interface InForce extends LoadedPolicy {
  readonly authenticate: Authenticate;
}

export interface PolicySetting {
  /** Gives the file's text, and says what file it is. */
  readonly read: () => Promise<PolicyText>;
  /** Takes the text apart where a long one keeps nobody else waiting. */
  readonly parse: (text: string) => Promise<ReadPolicy>;
  readonly patterns: SecretPatterns;
  /** What tokens have to be for: this broker's URL. */
  readonly audience: string;
  readonly report: (event: PolicyEvent) => void;
}

export async function openPolicy({
  read,
  parse,
  patterns,
  audience,
  report,
}: PolicySetting): Promise<LivePolicy | { readonly faults: readonly Fault[] }> {
  let text: string | undefined;
  let faults: readonly Fault[] = [];
  let keySets: ReadonlyMap<string, KeySet> = new Map();

  let file: string | undefined;

  /** What there is to read, once nobody writes to it. */
  async function readWhole(whole: boolean): Promise<PolicyText | Fault> {
    let before: PolicyText | undefined;
    for (let look = 0; look < patience; look++) {
      const found = await read();
      if (whole || file === undefined || found.text === text || endMark.test(found.text)) return found;
      if (found.file === file) return changedInPlace;
      const still = found.file === before?.file && found.writtenAt === before.writtenAt;
      if (still || found.writtenAt + quiet <= Date.now()) return found;
      before = found;
      await setTimeout(quiet, undefined, { ref: false });
    }
    return changedInPlace;
  }

  async function take(whole: boolean): Promise<InForce | undefined> {
    const before = text;
    try {
      const found = await readWhole(whole);
      if ("message" in found) {
        // Read again as soon as it is whole, whatever it says then.
        text = undefined;
        faults = [found];
        return undefined;
      }
      ({ text, file } = found);
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
    const said = await parse(text);
    if ("faults" in said) {
      faults = said.faults;
      return undefined;
    }
    const loaded = await paced(buildLoaded(said.file, keysOf, patterns));
    faults = [];
    keySets = kept;
    return { ...loaded, authenticate: createAuthenticator(loaded.issuers, audience) };
  }

  const first = await take(true);
  if (!first) return { faults };
  let current: InForce = first;
  let reloading: Promise<void> = Promise.resolve();

  async function reload(whole: boolean): Promise<void> {
    const before = JSON.stringify([text, faults]);
    const next = await take(whole);
    if (next) {
      current = next;
      report({ outcome: "taken", rules: next.rules.length });
    } else if (faults.length > 0 && JSON.stringify([text, faults]) !== before) {
      report({ outcome: "refused", faults });
    }
  }

  return {
    authenticate: (authorization, unseal) => current.authenticate(authorization, unseal),
    policy: {
      decide: (caller, action, uri) => current.policy.decide(caller, action, uri),
      decideForAny: (caller, action) => current.policy.decideForAny(caller, action),
      rulesAbout: (caller) => current.policy.rulesAbout(caller),
    },
    reload(whole = false) {
      reloading = reloading.then(() => reload(whole));
      return reloading;
    },
    complaints() {
      const silent = [...keySets.values()].filter((keys) => keys.isFailing());
      return [
        ...(faults.length > 0 ? [staleComplaint(faults.length)] : []),
        ...silent.map(({ issuer }) => ({
          part: `issuer ${issuer}`,
          message: "the last attempt to fetch its keys failed",
          serving: true,
        })),
      ];
    },
  };
}

const changedInPlace: Fault = {
  line: 1,
  message:
    "the file was changed in place, so it may be half written: end it with a line of three dots (...), rename a new file into its place, or send SIGHUP",
};

const staleComplaint = (count: number): Complaint => ({
  part: "policy",
  message: `the file has ${count} fault${count === 1 ? "" : "s"}; the one before it is in force`,
  serving: true,
});
