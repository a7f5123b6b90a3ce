/**
 * Which principals of two tenants can have a token in common. To compare all with all would take the square of their
 * number: most are told apart by one claim, by its value, its beginning or its end, and only those that agree in that
 * are compared, with each other and with those whose claim says none of it.
 */

import type { Path } from "../../shared/field-path.ts";
import type { Glob } from "../../shared/glob.ts";
import { type Condition, excludes } from "../authn/claims.ts";
import { emptyTree, nodeAt, type PrefixTree, visitBeginnings } from "./prefix-tree.ts";

export interface Member {
  readonly tenant: string;
  readonly path: Path;
  readonly who: readonly Condition[];
}

/** Comparisons of one issuer's principals, at most. */
const patience = 500_000;

/** Later ones with the earlier one that they are too much like; `too many` where that takes too long to find out. */
export function* findAlike(
  members: readonly Member[],
): Generator<[later: Member, earlier: Member | "too many"]> {
  const textsOf = chooseKey(members);
  const orders = new Map(members.map((member, order) => [member, order]));
  const keyed = members.map((member) => ({ member, texts: textsOf(member) }));
  const vague = keyed.flatMap(({ member, texts }) => (texts ? [] : [member]));
  // Shorter ones first: then of two texts of which one begins the other, the shorter is found on the way to the longer.
  const texts = keyed
    .flatMap(({ member, texts: own = [] }) => own.map((text) => ({ member, text })))
    .sort((a, b) => a.text.length - b.text.length);
  const tree: PrefixTree<Member[]> = emptyTree();
  let left = patience;

  function* compare(member: Member, others: readonly Member[]): Generator<[Member, Member | "too many"]> {
    for (const other of others) {
      if (left-- <= 0) {
        yield [member, "too many"];
        return;
      }
      if (other.tenant === member.tenant || excludes(other.who, member.who)) continue;
      const [earlier, later] =
        (orders.get(other) as number) < (orders.get(member) as number) ? [other, member] : [member, other];
      yield [later, earlier];
    }
  }

  for (const { member, text } of texts) {
    const met: Member[] = [];
    visitBeginnings(tree, text, (others) => {
      for (const other of others) met.push(other);
    });
    yield* compare(member, met);
    if (left < 0) return;
    const node = nodeAt(tree, text);
    node.value ??= [];
    node.value.push(member);
  }
  for (const [index, member] of vague.entries()) {
    const named = keyed.flatMap(({ member: other, texts: own }) => (own ? [other] : []));
    yield* compare(member, [...named, ...vague.slice(0, index)]);
    if (left < 0) return;
  }
}

const reverse = (text: string) => text.split("").reverse().join("");

/** The end of which claim tells most of them apart: its beginning, or its end turned around. */
function chooseKey(members: readonly Member[]): (member: Member) => readonly string[] | undefined {
  const ways = [({ prefix }: Glob) => prefix, ({ tail }: Glob) => reverse(tail)];
  const claims = new Set(members.flatMap(({ who }) => who.map(({ claim }) => claim)));
  const keys = [...claims].flatMap((claim) =>
    ways.map((way) => (member: Member): readonly string[] | undefined => {
      const texts = member.who.find((condition) => condition.claim === claim)?.globs.map(way);
      return texts?.includes("") ? undefined : texts;
    }),
  );
  const best = keys
    .map((key) => ({ key, different: new Set(members.flatMap((member) => key(member) ?? [])).size }))
    .reduce<{ key: (typeof keys)[0]; different: number } | undefined>(
      (a, b) => (a && a.different >= b.different ? a : b),
      undefined,
    );
  return best?.key ?? (() => undefined);
}
