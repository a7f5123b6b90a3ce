/**
 * Finds the few rules that can be about a URI and a caller, so that a decision's time does not grow with the file.
 * The patterns' literal beginnings, or their ends, lead to buckets. Within a bucket each rule waits under one of its
 * claims: under the values that the claim has to have, or under what they have to begin or end with, so that a thousand
 * repositories with one rule each cost one look-up. Only a rule whose claims all begin and end with a wildcard is met
 * by everybody who asks for its secrets.
 */

import type { Glob } from "../../shared/glob.ts";
import type { Condition } from "../authn/claims.ts";
import { createEndCounts, createLiteralIndex, type Ends } from "./literal-index.ts";
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
  byEnds: ReturnType<typeof createLiteralIndex<Entry<Rule>[]>> | undefined;
}

interface Bucket<Rule> {
  readonly anybody: Entry<Rule>[];
  readonly byClaim: Map<string, Waiting<Rule>>;
}

type ValuesOf = (path: readonly string[]) => readonly string[];

export type RuleIndex<Rule> = {
  /**
   * Visits every entry whose pattern begins, or ends, as the text does and whose claim, if it waits under one, has a
   * value that it can be about; some more than once. Whether they match is the visitor's to ask.
   */
  visit(text: string, valuesOf: ValuesOf, visitor: (entry: Entry<Rule>) => void): void;
};

/** In steps of a rule each. */
export function* buildIndex<Rule extends Indexable>(
  rules: readonly Rule[],
): Generator<void, RuleIndex<Rule>> {
  const root = createLiteralIndex<Bucket<Rule>>();
  const keys = createKeyCounts<Rule>();
  const secretEnds = createEndCounts();
  const claimEnds = createEndCounts();
  for (const rule of rules) {
    keys.count(rule);
    for (const secret of rule.secrets) secretEnds.count(secret);
    for (const { globs } of rule.who) for (const glob of globs) claimEnds.count(endsOf(glob));
    yield;
  }
  for (const rule of rules) {
    const key = keys.choose(rule);
    for (const secret of rule.secrets) {
      const bucket = root.bucketOf(secret, secretEnds.choose(secret), () => ({
        anybody: [],
        byClaim: new Map(),
      }));
      insert(bucket, { rule, secret }, key, claimEnds.choose);
    }
    yield;
  }

  return {
    visit(text, valuesOf, visitor) {
      root.visit(text, (bucket) => visitBucket(bucket, valuesOf, visitor));
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
  for (const { path, byValue, byEnds } of byClaim.values()) {
    for (const value of valuesOf(path)) {
      visitAll(byValue.get(value) ?? []);
      byEnds?.visit(value, visitAll);
    }
  }
}

type EndOf = (ends: Ends) => keyof Ends;

const endsOf = ({ prefix, tail }: Glob): Ends => ({ prefix, suffix: tail });

function insert<Rule>(
  bucket: Bucket<Rule>,
  entry: Entry<Rule>,
  key: Condition | undefined,
  endOf: EndOf,
): void {
  if (!key) {
    bucket.anybody.push(entry);
    return;
  }
  const { byClaim } = bucket;
  const waiting = byClaim.get(key.claim) ?? { path: key.path, byValue: new Map(), byEnds: undefined };
  byClaim.set(key.claim, waiting);
  for (const glob of key.globs) entriesUnder(waiting, glob, endOf).push(entry);
}

function entriesUnder<Rule>(waiting: Waiting<Rule>, glob: Glob, endOf: EndOf): Entry<Rule>[] {
  if (glob.exact) {
    const entries = waiting.byValue.get(glob.prefix) ?? [];
    waiting.byValue.set(glob.prefix, entries);
    return entries;
  }
  const ends = endsOf(glob);
  waiting.byEnds ??= createLiteralIndex();
  return waiting.byEnds.bucketOf(ends, endOf(ends), () => []);
}

/** For each rule the condition whose values, beginnings and ends the fewest rules name; values before the others. */
function createKeyCounts<Rule extends Indexable>() {
  const counts = new Map<string, number>();
  const namesOf = ({ claim, globs }: Condition) =>
    globs.map(({ prefix, tail, exact }) => `${claim}\0\0${exact ? "=" : "^"}${prefix}\0${tail}`);
  const usable = ({ who }: Rule) =>
    who.filter(({ globs }) =>
      globs.every(({ exact, prefix, tail }) => exact || prefix !== "" || tail !== ""),
    );
  const cost = (condition: Condition) =>
    namesOf(condition).reduce((sum, name) => sum + (counts.get(name) as number), 0);
  const isExact = ({ globs }: Condition) => globs.every(({ exact }) => exact);
  return {
    count(rule: Rule): void {
      for (const name of usable(rule).flatMap(namesOf)) counts.set(name, (counts.get(name) ?? 0) + 1);
    },

    choose: (rule: Rule): Condition | undefined =>
      usable(rule).sort((a, b) => cost(a) - cost(b) || Number(isExact(b)) - Number(isExact(a)))[0],
  };
}
