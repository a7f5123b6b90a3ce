// Aho-Corasick over bytes, laid out so that reading on through a pattern touches two bytes a step.
//
// Patterns are sorted and put into a trie in that order, so a node's first child is always the next node:
//
//   abcd, abx, bc          0 ─a→ 1 ─b→ 2 ─c→ 3 ─d→ 4        node 2 branches, and so does the root
//                          │           └─x→ 5
//                          └─b→ 6 ─c→ 7
//
// A node is one 16-bit word in `edges` and one 32-bit word in `links`:
//
//   edges  15   11 10     9    8        7      0
//         [ depth ][row ][hit][no chain][ label ]   label: byte of the edge to the first child
//
//   hit       some pattern ends here; the longest one is `outs[node]`
//   no chain  never compare the label: the node is a leaf or has a row
//   row       the node branches: `links[node]` is where its row of `rows` begins, which has the next node for
//             each class of bytes, failures resolved
//   depth     31 stands for 31 and more; depthOf() knows exactly
//
// Without a row, `links[node]` is where to look next when the label does not match: the failure link, less
// those nodes that would fail on the same label, and less leaves. A search therefore never rests on a leaf,
// and the depth of the node it rests on is the length of the longest suffix of what it has read that is a
// proper prefix of some pattern.

export const HIT = 1 << 9;
export const ROW = 1 << 10;
const NO_CHAIN = 1 << 8;
/** A leaf is a node of which `edge & LEAF_MASK` is LEAF. */
export const LEAF_MASK = 0x5ff;
export const LEAF = NO_CHAIN;
/** Compares a byte with the label and finds `no chain` in the way, in one go. */
export const CHAIN = 0x1ff;
export const DEPTH_SHIFT = 11;
/** Depths from here on look the same in `edges`. */
export const DEEP = 31;

export interface Automaton {
  readonly edges: Uint16Array;
  readonly links: Int32Array;
  /** Index of the longest pattern that ends at the node; meaningful where `hit` is set. */
  readonly outs: Int32Array;
  readonly rows: Int32Array;
  /** Byte to its column in a row. Bytes of no pattern share one. */
  readonly classes: Uint8Array;
  /** Length of each pattern. */
  readonly lengths: Int32Array;
  depthOf(node: number): number;
  /** The bytes on the way to the node, or more of the same pattern; depthOf() says how many count. */
  spell(node: number): Uint8Array;
}

/** Patterns sorted by bytes, none empty, none twice. Time and space are linear in their bytes. */
export function buildAutomaton(patterns: readonly Uint8Array[]): Automaton {
  const shared = patterns.map((pattern, i) => (i === 0 ? 0 : commonPrefix(patterns[i - 1]!, pattern)));
  let count = 1;
  let longest = 0;
  for (const [i, pattern] of patterns.entries()) {
    count += pattern.length - shared[i]!;
    longest = Math.max(longest, pattern.length);
  }

  const edges = new Uint16Array(count);
  const links = new Int32Array(count);
  const outs = new Int32Array(count);
  // Pattern i put in the nodes from firsts[i] on, the first of them shared[i] + 1 deep.
  const firsts = new Int32Array(patterns.length);
  // Children other than the first, as lists by parent, all entries of a list in one chain of `siblings`.
  const branches = new Map<number, { byte: number; child: number }[]>([[0, []]]);
  edges.fill(NO_CHAIN);
  edges[0] = NO_CHAIN | ROW;

  const path = new Int32Array(longest + 1);
  let next = 1;
  for (const [i, pattern] of patterns.entries()) {
    const start = shared[i]!;
    firsts[i] = next;
    for (let depth = start; depth < pattern.length; depth++) {
      const parent = path[depth]!;
      const byte = pattern[depth]!;
      const siblings = branches.get(parent);
      if (parent === next - 1 && parent !== 0) edges[parent] = (edges[parent]! & ~CHAIN) | byte;
      else if (siblings) siblings.push({ byte, child: next });
      else {
        branches.set(parent, [
          { byte: edges[parent]! & 0xff, child: parent + 1 },
          { byte, child: next },
        ]);
        edges[parent] = (edges[parent]! & ~CHAIN) | NO_CHAIN | ROW;
      }
      edges[next] = NO_CHAIN | (Math.min(depth + 1, DEEP) << DEPTH_SHIFT);
      path[depth + 1] = next++;
    }
    const end = path[pattern.length]!;
    edges[end] = edges[end]! | HIT;
    outs[end] = i;
  }

  const classes = new Uint8Array(256);
  const width = classify(patterns, classes);
  const rows = new Int32Array(branches.size * width);
  linkFailures(edges, links, outs, rows, classes, width, branches);

  /** Index of the pattern that put the node in. */
  function originOf(node: number): number {
    let low = 0;
    for (let high = firsts.length; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (firsts[middle]! <= node) low = middle;
      else high = middle;
    }
    return low;
  }

  function depthOf(node: number): number {
    const depth = edges[node]! >> DEPTH_SHIFT;
    if (depth < DEEP) return depth;
    const origin = originOf(node);
    return shared[origin]! + 1 + node - firsts[origin]!;
  }

  return {
    edges,
    links,
    outs,
    rows,
    classes,
    lengths: Int32Array.from(patterns, (p) => p.length),
    depthOf,
    spell: (node) => patterns[originOf(node)]!,
  };
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

/** Fills `classes`, returns how many there are. */
function classify(patterns: readonly Uint8Array[], classes: Uint8Array): number {
  const used = new Uint8Array(256);
  for (const pattern of patterns) for (let i = 0; i < pattern.length; i++) used[pattern[i]!] = 1;
  const absent = used.includes(0) ? 1 : 0;
  let width = absent;
  for (let byte = 0; byte < 256; byte++) if (used[byte]) classes[byte] = width++;
  return width;
}

/** Breadth first, so that whatever a failure link leads to is finished when it is needed. */
function linkFailures(
  edges: Uint16Array,
  links: Int32Array,
  outs: Int32Array,
  rows: Int32Array,
  classes: Uint8Array,
  width: number,
  branches: Map<number, { byte: number; child: number }[]>,
) {
  const fails = new Int32Array(edges.length);
  const queue = new Int32Array(edges.length);
  let queued = 1;
  let rowEnd = 0;

  function follow(node: number, byte: number): number {
    for (let at = node; ; at = links[at]!) {
      const edge = edges[at]!;
      if ((edge & CHAIN) === byte) return at + 1;
      if (edge & ROW) return rows[links[at]! + classes[byte]!]!;
    }
  }

  function visitChild(parent: number, byte: number, child: number) {
    const fail = parent === 0 ? 0 : follow(fails[parent]!, byte);
    fails[child] = fail;
    if (!(edges[child]! & HIT) && edges[fail]! & HIT) {
      edges[child] = edges[child]! | HIT;
      outs[child] = outs[fail]!;
    }
    queue[queued++] = child;
  }

  for (let head = 0; head < queued; head++) {
    const node = queue[head]!;
    const edge = edges[node]!;
    // Parents come first in the queue, so `follow` only meets nodes that have their link already.
    if (edge & ROW) {
      const row = rowEnd;
      rowEnd += width;
      const children = branches.get(node)!;
      if (node !== 0) inheritRow(fails[node]!, row);
      links[node] = row;
      // A child's failure is looked up in rows of nodes that are less deep, never in this one.
      if (node !== 0) for (const { byte, child } of children) visitChild(node, byte, child);
      for (const { byte, child } of children) rows[row + classes[byte]!] = child;
      if (node === 0) for (const { byte, child } of children) visitChild(0, byte, child);
    } else {
      let link = fails[node]!;
      while (!(edges[link]! & ROW) && (isLeaf(link) || (edges[link]! & CHAIN) === (edge & CHAIN))) {
        link = links[link]!;
      }
      links[node] = link;
      if (!isLeaf(node)) visitChild(node, edge & 0xff, node + 1);
    }
  }

  function isLeaf(node: number): boolean {
    return (edges[node]! & LEAF_MASK) === LEAF;
  }

  /** Copies what `node` would do with each class to `rows[row…]`. */
  function inheritRow(node: number, row: number) {
    const labels: number[] = [];
    let at = node;
    for (; !(edges[at]! & ROW); at = links[at]!) if (!isLeaf(at)) labels.push(at);
    rows.copyWithin(row, links[at]!, links[at]! + width);
    // The nearest one decides, so it is written last.
    for (const chained of labels.reverse()) rows[row + classes[edges[chained]! & 0xff]!] = chained + 1;
  }
}
