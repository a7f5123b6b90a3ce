/**
 * Finds the few rules that can be about a URI and a caller, so that a decision's time does not grow with the file.
 * A tree over the patterns' literal beginnings leads to buckets. Within a bucket each rule waits under one of its
 * claims: under the values that the claim has to have, or under what they have to begin with, so that a thousand
 * repositories with one rule each cost one look-up. Only a rule whose claims all begin with a wildcard is met by
 * everybody who asks for its secrets.
 */
import type { Condition } from "./claims.ts";
import type { Glob } from "./glob.ts";
import { emptyTree, nodeAt, type PrefixTree, visitBeginnings } from "./prefix-tree.ts";
import type { SecretPattern } from "./secret-pattern.ts";

/** One pattern of a rule. */
export interface Entry<Rule> {
  readonly rule: Rule;
  readonly secret: SecretPattern;
}

interface Indexable {
  readonly who: readonly Condition[];
  readonly secrets: readonly SecretPattern[];
}

/** Entries that wait under one claim. */
interface Waiting<Rule> {
  readonly path: readonly string[];
  readonly byValue: Map<string, Entry<Rule>[]>;
  byPrefix: PrefixTree<Entry<Rule>[]> | undefined;
}

interface Bucket<Rule> {
  readonly anybody: Entry<Rule>[];
  readonly byClaim: Map<string, Waiting<Rule>>;
}

type ValuesOf = (path: readonly string[]) => readonly string[];

export function createIndex<Rule extends Indexable>(rules: readonly Rule[]) {
  const root = emptyTree<Bucket<Rule>>();
  const keyOf = chooseKeys(rules);
  for (const rule of rules) {
    const key = keyOf(rule);
    for (const secret of rule.secrets) {
      const node = nodeAt(root, secret.prefix);
      node.value ??= { anybody: [], byClaim: new Map() };
      insert(node.value, { rule, secret }, key);
    }
  }

  return {
    /**
     * Visits every entry whose pattern begins as the text does and whose claim, if it waits under one, has a value
     * that it can be about; some more than once. Whether they match is the visitor's to ask.
     */
    visit(text: string, valuesOf: ValuesOf, visitor: (entry: Entry<Rule>) => void): void {
      visitBeginnings(root, text, (bucket) => visitBucket(bucket, valuesOf, visitor));
    },
  };
}

function visitBucket<Rule>(
  { anybody, byClaim }: Bucket<Rule>,
  valuesOf: ValuesOf,
  visitor: (entry: Entry<Rule>) => void,
): void {
  const visitAll = (entries: readonly Entry<Rule>[]) => {
    for (const entry of entries) visitor(entry);
  };
  visitAll(anybody);
  for (const { path, byValue, byPrefix } of byClaim.values()) {
    for (const value of valuesOf(path)) {
      visitAll(byValue.get(value) ?? []);
      if (byPrefix) visitBeginnings(byPrefix, value, visitAll);
    }
  }
}

function insert<Rule>(bucket: Bucket<Rule>, entry: Entry<Rule>, key: Condition | undefined): void {
  if (!key) {
    bucket.anybody.push(entry);
    return;
  }
  const { byClaim } = bucket;
  const waiting = byClaim.get(key.claim) ?? { path: key.path, byValue: new Map(), byPrefix: undefined };
  byClaim.set(key.claim, waiting);
  for (const glob of key.globs) entriesUnder(waiting, glob).push(entry);
}

function entriesUnder<Rule>(waiting: Waiting<Rule>, { prefix, exact }: Glob): Entry<Rule>[] {
  if (exact) {
    const entries = waiting.byValue.get(prefix) ?? [];
    waiting.byValue.set(prefix, entries);
    return entries;
  }
  waiting.byPrefix ??= emptyTree();
  const node = nodeAt(waiting.byPrefix, prefix);
  node.value ??= [];
  return node.value;
}

/** For each rule the condition whose values and beginnings the fewest rules name; values before beginnings. */
function chooseKeys<Rule extends Indexable>(rules: readonly Rule[]) {
  const counts = new Map<string, number>();
  const namesOf = ({ claim, globs }: Condition) =>
    globs.map(({ prefix, exact }) => `${claim}\0\0${exact ? "=" : "^"}${prefix}`);
  const usable = ({ who }: Rule) =>
    who.filter(({ globs }) => globs.every(({ exact, prefix }) => exact || prefix !== ""));
  for (const rule of rules) {
    for (const name of usable(rule).flatMap(namesOf)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const cost = (condition: Condition) =>
    namesOf(condition).reduce((sum, name) => sum + (counts.get(name) as number), 0);
  const isExact = ({ globs }: Condition) => globs.every(({ exact }) => exact);
  return (rule: Rule): Condition | undefined =>
    usable(rule).sort((a, b) => cost(a) - cost(b) || Number(isExact(b)) - Number(isExact(a)))[0];
}
