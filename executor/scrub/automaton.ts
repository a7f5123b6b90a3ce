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
//   edges[node]    15   11 10     9    8        7      0
//   flags         [ depth ][row ][hit][no chain][ label ]
//                  hit       some pattern ends here; the longest is outs[node]
//                  no chain  the label is void: the node is a leaf or has a row
//                  depth     31 stands for 31 and more; depthOf() knows exactly
//   links[node]    place to look at next if the label does not match, or of the node's own row
//   rows[~place…]  [ next place for class 0, 1, … width-1 ][ flags ][ node ]
//                  next places are tagged in their lowest bits: look, if there is a hit or the search has
//                  fallen back to where it is shallow; shallow
//
// A link is the failure link, less those nodes that would fail on the same label, and less leaves. So a search
// never rests on a leaf, and the depth of the place where it rests is the length of the longest suffix of what
// was read that is a proper prefix of some pattern.
//
// A text that keeps failing from one deep node to the next would follow a link at every byte. Nodes from which
// that can happen get a row too, as long as there is room: few sets of values have any.

export const HIT = 1 << 9;
export const ROW = 1 << 10;
const NO_CHAIN = 1 << 8;
/** Compares a byte with the label and finds `no chain` in the way, in one go. */
export const CHAIN = 0x1ff;
export const DEPTH_SHIFT = 11;
/** Depths from here on look the same in the flags. */
const DEEP = 31;
/**
 * Depths below this are shallow: too little was matched to keep the filter from trying again. Not above the length
 * of the shortest pattern that has a filter, see search.ts.
 */
export const SHALLOW = 3;
/** Rows of so few entries are better than chains for any node: with few letters, no branch can be predicted. */
const narrow = 8;
/** How much the rows of nodes that do not branch may take, in 4-byte entries. */
const spareEntries = 1 << 18;
export const TAG_BITS = 2;
export const TAG_LOOK = 1;
export const TAG_SHALLOW = 2;
/** The root's place. */
export const ROOT = ~0;

export interface Automaton {
  readonly edges: Uint16Array;
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
  depthOf(place: number): number;
  /** A pattern that begins with the bytes on the way to the place; depthOf() says how many they are. */
  spell(place: number): Uint8Array;
}

export function isLeaf(flags: number): boolean {
  return (flags & (NO_CHAIN | ROW)) === NO_CHAIN;
}

export function flagsOf({ edges, rows, width }: Automaton, place: number): number {
  return place >= 0 ? edges[place]! : rows[~place + width]!;
}

/** Index of the longest pattern that ends at a place whose flags say `hit`. */
export function hitAt({ outs, rows, width }: Automaton, place: number): number {
  return outs[place >= 0 ? place : rows[~place + width + 1]!]!;
}

/** Where `byte` leads from `place`; it may be a leaf. */
export function step({ edges, links, rows, classes }: Automaton, place: number, byte: number): number {
  let at = place;
  while (at >= 0) {
    if ((edges[at]! & CHAIN) === byte) return edges[at + 1]! & ROW ? links[at + 1]! : at + 1;
    at = links[at]!;
  }
  return rows[~at + classes[byte]!]! >> TAG_BITS;
}

interface Child {
  readonly byte: number;
  readonly node: number;
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

  const edges = new Uint16Array(count).fill(NO_CHAIN);
  const links = new Int32Array(count);
  const outs = new Int32Array(count);
  /** Pattern i put in the nodes from firsts[i] on, the first of them shared[i] + 1 deep. */
  const firsts = new Int32Array(patterns.length);
  /** Children of the nodes that branch. */
  const branches = new Map<number, Child[]>([[0, []]]);
  edges[0] = NO_CHAIN | ROW;

  const path = new Int32Array(longest + 1);
  let node = 1;
  for (const [i, pattern] of patterns.entries()) {
    firsts[i] = node;
    for (let depth = shared[i]!; depth < pattern.length; depth++) {
      const parent = path[depth]!;
      const byte = pattern[depth]!;
      if (parent === node - 1 && parent !== 0) edges[parent] = (edges[parent]! & ~CHAIN) | byte;
      else branch(parent).push({ byte, node });
      edges[node] = NO_CHAIN | (Math.min(depth + 1, DEEP) << DEPTH_SHIFT);
      path[depth + 1] = node++;
    }
    const end = path[pattern.length]!;
    edges[end] = edges[end]! | HIT;
    outs[end] = i;
  }

  function branch(parent: number): Child[] {
    let children = branches.get(parent);
    if (!children) {
      children = [{ byte: edges[parent]! & 0xff, node: parent + 1 }];
      branches.set(parent, children);
      edges[parent] = (edges[parent]! & ~CHAIN) | NO_CHAIN | ROW;
    }
    return children;
  }

  const { classes, width } = classify(patterns);
  const rows = linkFailures({ edges, links, outs, classes, width, branches });

  function originOf(node: number): number {
    let low = 0;
    for (let high = firsts.length; high - low > 1; ) {
      const middle = (low + high) >> 1;
      if (firsts[middle]! <= node) low = middle;
      else high = middle;
    }
    return low;
  }

  const nodeOf = (place: number) => (place >= 0 ? place : rows[~place + width + 1]!);

  function depthOf(place: number): number {
    const node = nodeOf(place);
    const depth = edges[node]! >> DEPTH_SHIFT;
    if (depth < DEEP) return depth;
    const origin = originOf(node);
    return shared[origin]! + 1 + node - firsts[origin]!;
  }

  return {
    edges,
    links,
    rows,
    width,
    classes,
    outs,
    lengths: Int32Array.from(patterns, (pattern) => pattern.length),
    depthOf,
    spell: (place) => patterns[originOf(nodeOf(place))]!,
  };
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i] === b[i]) i++;
  return i;
}

function classify(patterns: readonly Uint8Array[]) {
  const used = new Uint8Array(256);
  for (const pattern of patterns) for (let i = 0; i < pattern.length; i++) used[pattern[i]!] = 1;
  const classes = new Uint8Array(256);
  let width = used.includes(0) ? 1 : 0;
  for (let byte = 0; byte < 256; byte++) if (used[byte]) classes[byte] = width++;
  return { classes, width };
}

interface Unlinked extends Pick<Automaton, "edges" | "links" | "outs" | "classes" | "width"> {
  readonly branches: ReadonlyMap<number, Child[]>;
}

/** Fills `links`, marks the nodes at which a pattern ends that began after the node's, and returns the rows. */
function linkFailures({ edges, links, outs, classes, width, branches }: Unlinked): Int32Array {
  const stride = width + 2;
  const spare = Math.min(edges.length - branches.size, Math.floor(spareEntries / stride));
  // While it is being built, a row holds nodes, not places: more nodes may get a row later.
  const rows = new Int32Array((branches.size + spare) * stride);
  let rowsEnd = 0;
  const rowsLimit = rows.length;
  let branchesLeft = branches.size;

  const fails = new Int32Array(edges.length);
  // Breadth first, so that whatever a failure leads to is finished when it is needed. It also puts the rows of
  // the least deep nodes, which are used most, next to each other.
  const queue = new Int32Array(edges.length);
  let queued = 1;

  const placeOf = (node: number) => (edges[node]! & ROW ? links[node]! : node);

  /** The node that `byte` leads to. */
  function follow(node: number, byte: number): number {
    let at = placeOf(node);
    while (at >= 0) {
      if ((edges[at]! & CHAIN) === byte) return at + 1;
      at = links[at]!;
    }
    return rows[~at + classes[byte]!]!;
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

  function visitRow(node: number, children: readonly Child[]) {
    const row = rowsEnd;
    rowsEnd += stride;
    links[node] = ~row;
    if (node !== 0) copyRow(fails[node]!, row);
    for (const { byte, node: child } of children) {
      // A failure is looked up in the rows of nodes less deep, so this one may be half done.
      visitChild(node, byte, child);
      rows[row + classes[byte]!] = child;
    }
    rows[row + width] = edges[node]!;
    rows[row + width + 1] = node;
  }

  /** Copies where `node` leads to with each class to the row at `to`. */
  function copyRow(node: number, to: number) {
    const chained: number[] = [];
    let at = placeOf(node);
    for (; at >= 0; at = links[at]!) if (!isLeaf(edges[at]!)) chained.push(at);
    rows.copyWithin(to, ~at, ~at + width);
    // The nearest one decides, so it is written last.
    for (const near of chained.reverse()) rows[to + classes[edges[near]! & 0xff]!] = near + 1;
  }

  function visit(node: number) {
    const flags = edges[node]!;
    if (flags & ROW) {
      branchesLeft--;
      visitRow(node, branches.get(node)!);
      return;
    }
    let link = placeOf(fails[node]!);
    while (link >= 0 && (isLeaf(edges[link]!) || (edges[link]! & CHAIN) === (flags & CHAIN)))
      link = links[link]!;
    const linked = link >= 0 ? edges[link]! : rows[~link + width]!;
    const child = { byte: flags & 0xff, node: node + 1 };
    if (isLeaf(flags)) links[node] = link;
    else if (
      (linked >> DEPTH_SHIFT >= SHALLOW || stride <= narrow) &&
      rowsEnd + (branchesLeft + 1) * stride <= rowsLimit
    ) {
      edges[node] = (flags & ~CHAIN) | NO_CHAIN | ROW;
      visitRow(node, [child]);
    } else {
      links[node] = link;
      visitChild(node, child.byte, child.node);
    }
  }

  for (let head = 0; head < queued; head++) visit(queue[head]!);

  for (let row = 0; row < rowsEnd; row += stride) {
    const depthHere = rows[row + width]! >> DEPTH_SHIFT;
    for (let entry = row; entry < row + width; entry++) {
      const node = rows[entry]!;
      const depth = edges[node]! >> DEPTH_SHIFT;
      const shallow = depth < SHALLOW;
      const look = (edges[node]! & HIT) !== 0 || (shallow && depth <= depthHere);
      rows[entry] = (placeOf(node) << TAG_BITS) | (shallow ? TAG_SHALLOW : 0) | (look ? TAG_LOOK : 0);
    }
  }
  return rows.slice(0, rowsEnd);
}
