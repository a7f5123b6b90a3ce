/**
 * Buckets by a literal beginning or a literal end. Of both, the one counts that fewer patterns share: thousands that
 * begin with the same wildcard mostly end in their own way.
 */
import { emptyTree, nodeAt, type PrefixTree, visitBeginnings } from "./prefix-tree.ts";

export interface Ends {
  readonly prefix: string;
  /** "" where nothing is known. */
  readonly suffix: string;
}

/** By code units, as the trees compare. */
const reverse = (text: string) => text.split("").reverse().join("");

export function createLiteralIndex<Bucket>() {
  const byPrefix = emptyTree<Bucket>();
  let bySuffix: PrefixTree<Bucket> | undefined;

  return {
    /** @param end which of both it is kept by. @param make a bucket for those that are the first. */
    bucketOf({ prefix, suffix }: Ends, end: keyof Ends, make: () => Bucket): Bucket {
      if (end === "suffix") bySuffix ??= emptyTree<Bucket>();
      const node =
        end === "suffix" ? nodeAt(bySuffix as PrefixTree<Bucket>, reverse(suffix)) : nodeAt(byPrefix, prefix);
      node.value ??= make();
      return node.value;
    },

    /** Visits every bucket whose beginning or end is this text's. */
    visit(text: string, visitor: (bucket: Bucket) => void): void {
      visitBeginnings(byPrefix, text, visitor);
      if (bySuffix) visitBeginnings(bySuffix, reverse(text), visitor);
    },
  };
}

/** Which of both ends fewer of those that were counted share. */
export function createEndCounts() {
  const counts = new Map<string, number>();
  const add = (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1);
  return {
    count({ prefix, suffix }: Ends): void {
      add(`^${prefix}`);
      add(`$${suffix}`);
    },

    choose({ prefix, suffix }: Ends): keyof Ends {
      if (suffix === "" || prefix === suffix) return "prefix";
      const [before, after] = [counts.get(`^${prefix}`) ?? 0, counts.get(`$${suffix}`) ?? 0];
      return after < before ? "suffix" : "prefix";
    },
  };
}
