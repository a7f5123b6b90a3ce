/**
 * Finds the few rules that can be about a URI and a caller, so that a decision's time does not grow with the file.
 * A radix tree over the patterns' literal beginnings leads to buckets; within a bucket, rules that name an exact
 * claim wait under that claim's value, so that a thousand repositories with one rule each cost one look-up.
 */
import type { Condition } from "./claims.ts";
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

interface Bucket<Rule> {
  readonly anybody: Entry<Rule>[];
  readonly byClaim: Map<
    string,
    { readonly path: readonly string[]; readonly byValue: Map<string, Entry<Rule>[]> }
  >;
}

interface Node<Rule> {
  label: string;
  bucket: Bucket<Rule> | undefined;
  /** By the first character of their labels. */
  children: Map<number, Node<Rule>> | undefined;
}

export function createIndex<Rule extends Indexable>(rules: readonly Rule[]) {
  const root: Node<Rule> = { label: "", bucket: undefined, children: undefined };
  const keyOf = chooseKeys(rules);
  for (const rule of rules) {
    const key = keyOf(rule);
    for (const secret of rule.secrets) insert(find(root, secret.prefix), { rule, secret }, key);
  }

  return {
    /**
     * Visits every entry whose pattern begins as the text does and whose claim, if it waits under one, has one of
     * these values. Whether they match is the visitor's to ask.
     */
    visit(
      text: string,
      valuesOf: (path: readonly string[]) => readonly string[],
      visitor: (entry: Entry<Rule>) => void,
    ): void {
      let node: Node<Rule> | undefined = root;
      for (let at = 0; node; ) {
        if (node.bucket) visitBucket(node.bucket, valuesOf, visitor);
        node = node.children?.get(text.charCodeAt(at));
        if (!node || !text.startsWith(node.label, at)) return;
        at += node.label.length;
      }
    },
  };
}

function visitBucket<Rule>(
  { anybody, byClaim }: Bucket<Rule>,
  valuesOf: (path: readonly string[]) => readonly string[],
  visitor: (entry: Entry<Rule>) => void,
): void {
  for (const entry of anybody) visitor(entry);
  for (const { path, byValue } of byClaim.values()) {
    for (const value of valuesOf(path)) {
      for (const entry of byValue.get(value) ?? []) visitor(entry);
    }
  }
}

/** The node at the end of this text, made where it is not there yet. */
function find<Rule>(root: Node<Rule>, text: string): Node<Rule> {
  let node = root;
  for (let at = 0; at < text.length; ) {
    node.children ??= new Map();
    const code = text.charCodeAt(at);
    const child = node.children.get(code);
    if (!child) {
      const leaf = { label: text.slice(at), bucket: undefined, children: undefined };
      node.children.set(code, leaf);
      return leaf;
    }
    let shared = 1;
    while (shared < child.label.length && child.label[shared] === text[at + shared]) shared += 1;
    if (shared < child.label.length) {
      const lower = { ...child, label: child.label.slice(shared) };
      child.label = child.label.slice(0, shared);
      child.bucket = undefined;
      child.children = new Map([[lower.label.charCodeAt(0), lower]]);
    }
    at += shared;
    node = child;
  }
  return node;
}

function insert<Rule>(node: Node<Rule>, entry: Entry<Rule>, key: Condition | undefined): void {
  node.bucket ??= { anybody: [], byClaim: new Map() };
  if (!key) {
    node.bucket.anybody.push(entry);
    return;
  }
  const { byClaim } = node.bucket;
  const waiting = byClaim.get(key.claim) ?? { path: key.path, byValue: new Map() };
  byClaim.set(key.claim, waiting);
  for (const { prefix } of key.globs) {
    const entries = waiting.byValue.get(prefix);
    if (entries) entries.push(entry);
    else waiting.byValue.set(prefix, [entry]);
  }
}

/** For each rule the exact condition whose values the fewest rules name. */
function chooseKeys<Rule extends Indexable>(rules: readonly Rule[]) {
  const counts = new Map<string, number>();
  const namesOf = ({ claim, globs }: Condition) => globs.map(({ prefix }) => `${claim}\0\0${prefix}`);
  const exact = ({ who }: Rule) => who.filter(({ globs }) => globs.every((glob) => glob.exact));
  for (const rule of rules) {
    for (const name of exact(rule).flatMap(namesOf)) counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const cost = (condition: Condition) =>
    namesOf(condition).reduce((sum, name) => sum + (counts.get(name) as number), 0);
  return (rule: Rule): Condition | undefined => {
    const [first, ...others] = exact(rule);
    return others.reduce((best, each) => (best && cost(each) < cost(best) ? each : best), first);
  };
}
