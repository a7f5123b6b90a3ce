/** What can be wrong with a policy file that has the right form: rules that never decide, tokens of two tenants. */

import { actions } from "../../shared/actions.ts";
import type { Path } from "../../shared/field-path.ts";
import { covers } from "../../shared/glob.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import type { Fault } from "../../shared/yaml-document.ts";
import { type Condition, compileWho, coversWho, excludes } from "../authn/claims.ts";
import { findAlike, type Member } from "./alike.ts";
import { type CompiledRule, caretaking, guarded, isPermitted } from "./decide.ts";
import { atOnce } from "./paced.ts";
import { buildIndex, type RuleIndex } from "./rule-index.ts";
import type { PolicyFile, RuleEntry } from "./schema.ts";
import type { SecretPattern, SecretPatterns } from "./secret-pattern.ts";

/** As many as are said at once. */
const shownFaults = 100;

/** A fault's place in the document, for which the caller knows the line. */
type Report = (path: Path, message: string) => void;

/** @param compiled a tenant's rules, in the order of the file. */
export function findFaults(
  file: PolicyFile,
  compiled: ReadonlyMap<string, readonly CompiledRule[]>,
  lineOf: (path: Path) => number,
  patterns: SecretPatterns,
): Fault[] {
  const faults = new Map<string, Fault>();
  const report: Report = (path, message) => {
    // Each has to be looked for in the document, and nobody reads hundreds.
    if (faults.size >= shownFaults) return;
    const line = lineOf(path);
    // Two principals of a tenant can be in the way of the same third one.
    faults.set(`${line} ${message}`, { line, message });
  };
  checkIssuers(file, report);
  checkMembers(file, report);
  for (const [tenant, { principals, rules }] of Object.entries(file.tenants)) {
    const within = ["tenants", tenant, "rules"];
    checkRules(rules, within, report, patterns);
    const members = principals.map(({ claims, roles }) => ({ roles, who: compileWho(claims) }));
    const unreachable = findUnreachable(compiled.get(tenant) ?? [], members);
    for (const [order, why] of unreachable) {
      report([...within, order], `"${rules[order]?.name}" never decides: ${why}`);
    }
  }
  return [...faults.values()];
}

function checkIssuers({ issuers }: PolicyFile, report: Report): void {
  const entries = Object.entries(issuers).map(([name, entry]) => ({
    name,
    ...entry,
    prefix: entry.prefix ?? `${name}:`,
  }));
  for (const [index, { name, issuer, keys, prefix }] of entries.entries()) {
    const path = ["issuers", name];
    if (!isTrustworthy(issuer)) report([...path, "issuer"], `${name}: the issuer's URL must be https`);
    if (keys && !isTrustworthy(keys)) report([...path, "keys"], `${name}: the URL of the keys must be https`);
    for (const earlier of entries.slice(0, index)) {
      if (earlier.issuer === issuer)
        report([...path, "issuer"], `${name}: ${earlier.name} is the same issuer`);
      if (prefix.startsWith(earlier.prefix) || earlier.prefix.startsWith(prefix)) {
        report(
          [...path, "prefix"],
          `${name}: could name the same principals as ${earlier.name}; give each a prefix`,
        );
      }
    }
  }
}

function checkMembers({ issuers, tenants }: PolicyFile, report: Report): void {
  const byIssuer = new Map<string, Member[]>();
  for (const [tenant, { principals }] of Object.entries(tenants)) {
    for (const [index, entry] of principals.entries()) {
      const { issuer, claims } = entry;
      const path = ["tenants", tenant, "principals", index];
      checkKeys(entry, path, report);
      if (!Object.hasOwn(issuers, issuer)) report([...path, "issuer"], `there is no issuer "${issuer}"`);
      const members = byIssuer.get(issuer) ?? [];
      byIssuer.set(issuer, members);
      members.push({ tenant, path, who: compileWho(claims) });
    }
  }
  for (const members of byIssuer.values()) {
    for (const [later, earlier] of findAlike(members)) {
      if (earlier === "too many") {
        report(
          later.path,
          `too many principals look like this one: tell tenants apart by a claim that begins, or ends, differently for each`,
        );
        break;
      }
      report(
        later.path,
        `a token can fit both ${earlier.tenant} and ${later.tenant}: their claims do not exclude each other`,
      );
    }
  }
}

/** Handles are redeemed by a key that the issuer of a token, or this file, knows; never by one that only came along. */
function checkKeys(
  { roles, proofKeys, confined, dangerouslyTokenAlone }: PolicyFile["tenants"][string]["principals"][number],
  path: Path,
  report: Report,
): void {
  if (roles.includes("executor") && !proofKeys && !confined && !dangerouslyTokenAlone) {
    report(
      [...path, "roles"],
      "an executor needs proofKeys; without them, everybody who sees its token could redeem with another key: list the thumbprint that `claimcheck executor key` prints, or write confined: issuer for jobs whose tokens name their key",
    );
  }
  if ((proofKeys || confined) && dangerouslyTokenAlone) {
    report(
      [...path, "dangerouslyTokenAlone"],
      "dangerouslyTokenAlone has no effect beside proofKeys or confined: remove it",
    );
  }
}

function checkRules(
  rules: readonly RuleEntry[],
  within: Path,
  report: Report,
  patterns: SecretPatterns,
): void {
  const names = new Set<string>();
  for (const [order, { name, effect, secrets, actions: own, limits, tokenAlone }] of rules.entries()) {
    const path = [...within, order];
    if (names.has(name)) report([...path, "name"], `"${name}" is the name of another rule`);
    names.add(name);
    if (limits && (effect === "deny" || !own.some((action) => action === "issue" || action === "wrap"))) {
      report(
        [...path, "limits"],
        `"${name}" has limits, which only mean something where it allows to issue or wrap`,
      );
    }
    if (tokenAlone && (effect === "deny" || !own.some((action) => guarded.includes(action)))) {
      report(
        [...path, "tokenAlone"],
        `"${name}" has tokenAlone, which only means something where it allows ${guarded.join(" or ")}`,
      );
    }
    const handsOut = own.filter((action) => !caretaking.includes(action));
    if (!secrets && handsOut.length > 0) {
      report(path, `"${name}" needs secrets, because it is about ${handsOut.join(" and ")}`);
    }
    if (secrets && own.includes("audit.read")) {
      report(
        [...path, "secrets"],
        `"${name}" has secrets, but audit.read is about none: give it a rule of its own, without secrets`,
      );
    }
    // Nobody gets a value by looking at a handle or by revoking it.
    if (effect === "allow" && handsOut.length === 0) continue;
    for (const [index, secret] of (secrets ?? []).entries()) {
      const fault = patterns.faultOf(secret, effect);
      if (fault) report([...path, "secrets", index], `"${name}" ${fault}`);
    }
  }
}

/** By position: rules that decide nothing, and why. */
function findUnreachable(
  rules: readonly CompiledRule[],
  members: readonly {
    readonly roles: PolicyFile["tenants"][string]["principals"][number]["roles"];
    readonly who: readonly Condition[];
  }[],
): Map<number, string> {
  const found = new Map<number, string>();
  const index = atOnce(buildIndex(rules));
  // It is advice, and no decision hangs on it: where rules are alike by the thousand, the rest goes without.
  const left = { looks: 10_000_000, comparisons: 20_000 };
  for (const rule of rules) {
    const meant = members.filter(({ who }) => !excludes(who, rule.who));
    const idle = actions.filter(
      (action) => rule.rule.actions.includes(action) && !meant.some((member) => isPermitted(member, action)),
    );
    if (meant.length === 0) found.set(rule.order, "no principal of the tenant has these claims");
    else if (idle.length > 0)
      found.set(
        rule.order,
        `no principal that the rule matches has a role that allows to ${idle.join(" or ")}`,
      );
    else if (left.looks > 0 && left.comparisons > 0) {
      const before = preceding(rule, index, left);
      if (before) found.set(rule.order, `"${before.rule.name}" always comes first`);
    }
  }
  return found;
}

const coversSecret = (broader: SecretPattern, { glob, source }: SecretPattern): boolean =>
  covers(broader.glob, glob) &&
  (broader.source === undefined || (source !== undefined && covers(broader.source, source)));

/** A rule that decides instead of this one, whatever this one is about. */
function preceding(
  { rule, order, who, secrets }: CompiledRule,
  index: RuleIndex<CompiledRule>,
  left: { looks: number; comparisons: number },
): CompiledRule | undefined {
  // What covers a condition matches each of its samples, so one is enough to meet it in the index.
  const samples = (path: readonly string[]) => {
    const claim = path.join("\0");
    const [glob] = who.find((condition) => condition.claim === claim)?.globs ?? [];
    return glob ? [glob.sample] : [];
  };
  let first: CompiledRule | undefined;
  for (const action of rule.actions) {
    for (const secret of secrets) {
      const { glob } = secret;
      let before: CompiledRule | undefined;
      index.visit(glob.sample, samples, ({ rule: other, secret: broader }) => {
        left.looks--;
        if (before || other.order === order || !other.rule.actions.includes(action)) return;
        // What allows some secrets, even all that there are, does not allow a request that names none.
        if (!rule.secrets && other.rule.secrets && other.rule.effect === "allow") return;
        const wins = other.rule.effect === rule.effect ? other.order < order : other.rule.effect === "deny";
        if (!wins || left.comparisons <= 0) return;
        if (coversSecret(broader, secret) && coversWho(other.who, who)) before = other;
        else left.comparisons--;
      });
      if (!before) return undefined;
      first ??= before;
    }
  }
  return first;
}
