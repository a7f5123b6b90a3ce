/** `sources:` of a broker's configuration, in YAML: a variable that tests read, and what else is given. */
import { parse } from "yaml";

type Entries = Readonly<Record<string, object>>;

/** Of a broker that reads one variable. */
export const variables = { variables: { provider: "env", variables: ["API_TOKEN"] } };

/** @param policy the policy file, all of whose tenants read from the sources. */
export function sourcesFor(policy: string, more: Entries = {}): string {
  const tenants = Object.keys(parse(policy).tenants);
  return sourcesOf(tenants, { ...variables, ...more });
}

export function sourcesOf(tenants: readonly string[], entries: Entries): string {
  const all = Object.entries(entries).map(([name, entry]) => [name, { tenants, ...entry }]);
  return `sources: ${JSON.stringify(Object.fromEntries(all))}\n`;
}
