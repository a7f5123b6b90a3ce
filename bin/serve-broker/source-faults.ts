/** What can be wrong with sources that have the right form. */
import { envUri } from "../../broker/providers/env.ts";
import type { Path } from "../../shared/field-path.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import { splitSource } from "../../shared/source-name.ts";
import { addressesOfAws } from "./aws-source.ts";
import { credentialsOf, isByRequester, type SourceEntries } from "./source-schema.ts";

type Report = (path: Path, message: string) => void;

export function checkSources(sources: SourceEntries, report: Report): void {
  for (const [name, entry] of Object.entries(sources)) {
    const at = (...path: Path) => ["sources", name, ...path];
    if (entry.provider === "vault" && !isTrustworthy(entry.address)) {
      report(at("address"), `sources.${name}.address: https; http only on loopback`);
    }
    if (entry.provider === "aws+sm" || entry.provider === "aws+ps") {
      for (const [field, address] of Object.entries(addressesOfAws(entry))) {
        if (address === undefined || isTrustworthy(address)) continue;
        report(at(...field.split(".")), `sources.${name}.${field}: https; http only on loopback`);
      }
    }
    for (const uri of credentialsOf(entry)) {
      const fault = faultOf(uri, sources);
      if (fault) report(at(), `sources.${name}: the credential ${shown(uri)} ${fault}`);
    }
    const circle = circleFrom(name, sources);
    if (circle) report(at(), `sources.${name}: its credentials lead back to itself (${circle.join(" → ")})`);
    if (entry.provider === "env") {
      for (const variable of entry.variables) {
        const owner = Object.entries(sources).find(([, other]) =>
          credentialsOf(other).includes(envUri(variable)),
        );
        if (owner) {
          report(
            at("variables"),
            `sources.${name}: ${variable} is how the broker logs in to ${owner[0]}, so it cannot be given out as a secret`,
          );
        }
      }
    }
  }
  checkCommands(sources, report);
}

/** A tenant that is not there reads nothing, and a name with a slip in it would say so only when a job fails. */
export function checkTenants(sources: SourceEntries, known: readonly string[], report: Report): void {
  for (const [name, { tenants }] of Object.entries(sources)) {
    for (const tenant of tenants.filter((each) => !known.includes(each))) {
      report(
        ["sources", name, "tenants"],
        `sources.${name}.tenants: the policy has no tenant ${tenant}; it has ${shownTenants(known)}`,
      );
    }
  }
}

const shownTenants = (known: readonly string[]) =>
  known.length > 10 ? `${known.slice(0, 10).join(", ")} and ${known.length - 10} more` : known.join(", ");

/** A command is all that follows ://, so its URI cannot say which source it means. */
function checkCommands(sources: SourceEntries, report: Report): void {
  const owners = new Map<string, string>();
  for (const [name, { provider, tenants }] of Object.entries(sources)) {
    for (const tenant of provider === "cmd" ? tenants : []) {
      const other = owners.get(tenant);
      if (other) {
        report(
          ["sources", name],
          `sources.${name}: ${tenant} has ${other} already, and cmd:// URIs cannot name a source: put the commands into one`,
        );
      }
      owners.set(tenant, name);
    }
  }
}

/** The scheme and what follows it shows no secret: the form is that of a URI. */
const shown = (uri: string) => uri.replace(/^([a-z0-9+-]+:\/\/.{0,3}).*$/s, "$1…");

const ownSchemes = ["env", "file"];

function faultOf(uri: string, sources: SourceEntries): string | undefined {
  const scheme = uri.slice(0, uri.indexOf("://"));
  const { source } = splitSource(uri);
  if (source === undefined) {
    return ownSchemes.includes(scheme)
      ? undefined
      : `names no source: end it in ?source=NAME, or use env:// or file://`;
  }
  const entry = Object.hasOwn(sources, source) ? sources[source] : undefined;
  if (!entry) return `names the source ${source}, which is not there`;
  if (isByRequester(entry)) return `names the source ${source}, which requesters alone can log in to`;
  return entry.provider === scheme
    ? undefined
    : `names the source ${source}, which reads ${entry.provider}://`;
}

/** The sources that one needs, from it back to it. */
function circleFrom(start: string, sources: SourceEntries): string[] | undefined {
  const seen = new Set<string>();
  const follow = (name: string, way: readonly string[]): string[] | undefined => {
    for (const next of needs(sources[name], sources)) {
      if (next === start) return [...way, next];
      if (seen.has(next)) continue;
      seen.add(next);
      const found = follow(next, [...way, next]);
      if (found) return found;
    }
    return undefined;
  };
  return follow(start, [start]);
}

export function needs(entry: SourceEntries[string] | undefined, sources: SourceEntries): string[] {
  return (entry ? credentialsOf(entry) : []).flatMap((uri) => {
    const { source } = splitSource(uri);
    return source !== undefined && Object.hasOwn(sources, source) ? [source] : [];
  });
}
