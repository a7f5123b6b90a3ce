// Aho-Corasick over bytes, laid out so that a byte costs one load that the next byte has to wait for, or none.
//
// Patterns are sorted and put into a trie in that order, so a node's first child is always the next node:
//
//   abcd, abx, bc          0 ─a→ 1 ─b→ 2 ─c→ 3 ─d→ 4        node 2 branches, and so does the root
//                          │           └─x→ 5
//                          └─b→ 6 ─c→ 7
//
// A node that does not branch is read as a chain: if the byte is its label, go to the next node, else look again
// at its link. A node that branches has a row, with the next place for each class of bytes, failures resolved.
//
//   place   >= 0  a node without a row
//           <  0  ~place is where a row begins in `rows`; the root is ~0
//
//   labels[node]   label of the chain; void for a leaf and where there is a row
//   flags[node]    15   11 10     9    8     7      0
//                 [ depth ][row ][hit][leaf][ ahead ]
//                  depth     31 stands for 31 and more; depthOf() knows exactly
//                  hit       some pattern ends here; the longest is outs[node]
//                  ahead     steps down the chain to the next node with a hit or a row, or 255 if they are more
//   links[node]    place to look at next if the label does not match, or of the node's own row
//   rows[~place…]  [ next place for class 0, 1, … width-1 ][ flags ][ node ]
//                  next places are tagged in their lowest bits: hit; shallow (SHALLOW)
//
// A link is the failure link, less those nodes that would fail on the same label, and less leaves. So a search
// never rests on a leaf, and the depth of the place where it rests is the length of the longest suffix of what
// was read that is a proper prefix of some pattern.

export const AHEAD = 0xff;
export const LEAF = 1 << 8;
export const HIT = 1 << 9;
export const ROW = 1 << 10;
export const DEPTH_SHIFT = 11;
/** Depths from here on look the same in the flags. */
export const DEEP = 31;
/**
 * Depths below this are shallow: too little was matched to keep the filter from trying again. Not above the length
 * of the shortest pattern that has a filter, see search.ts.
 */
export const SHALLOW = 3;
export const TAG_BITS = 2;
export const TAG_HIT = 1;
export const TAG_SHALLOW = 2;
/** The root's place. */
export const ROOT = ~0;

export interface Automaton {
  readonly flags: Uint16Array;
  readonly labels: Uint8Array;
  /** `labels`, to be read four at a time; there are three more than nodes. */
  readonly labelWords: DataView;
  readonly links: Int32Array;
  readonly rows: Int32Array;
  /** Classes of bytes; what follows them in a row begins here. */
  readonly width: number;
  /** Byte to its class. Bytes of no pattern share one. */
  readonly classes: Uint8Array;
  /** Index of the longest pattern that ends at the node; meaningful where `hit` is set. */
  readonly outs: Int32Array;
  /** Length of each pattern. */
  readonly lengths: Int32Array;
  /** The greatest of them. */
  readonly longest: number;
  depthOf(place: number): number;
  /** A pattern that begins with the bytes on the way to the place; depthOf() says how many they are. */
  spell(place: number): Uint8Array;
}

export function flagsOf({ flags, rows, width }: Automaton, place: number): number {
  return place >= 0 ? flags[place]! : rows[~place + width]!;
}

/** Index of the longest pattern that ends at a place whose flags say `hit`. */
export function hitAt({ outs, rows, width }: Automaton, place: number): number {
  return outs[place >= 0 ? place : rows[~place + width + 1]!]!;
}

/** Where `byte` leads from `place`, which is no leaf; it may be a leaf. */
export function step(
  { flags, labels, links, rows, classes }: Automaton,
  place: number,
  byte: number,
): number {
  let at = place;
  while (at >= 0) {
    if (labels[at] === byte) return flags[at + 1]! & ROW ? links[at + 1]! : at + 1;
    at = links[at]!;
  }
  return rows[~at + classes[byte]!]! >> TAG_BITS;
}
