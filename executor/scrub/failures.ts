// Where a search goes on when the text leaves a pattern: at the longest suffix of what it has read that begins a
// pattern. Links hold that for nodes without a row, rows hold it for each class of bytes.
//
// A text that keeps failing from one deep node to the next would follow a link at every byte. Nodes from which
// that can happen get a row too, as long as there is room: few sets of values have any.

import {
  type Automaton,
  CHAIN,
  DEPTH_SHIFT,
  HIT,
  isLeaf,
  NO_CHAIN,
  ROW,
  SHALLOW,
  TAG_BITS,
  TAG_LOOK,
  TAG_SHALLOW,
} from "./layout.ts";

/** Rows of so few entries are better than chains for any node: with few letters, no branch can be predicted. */
const narrow = 8;
/** How much the rows of nodes that do not branch may take, in 4-byte entries. */
const spareEntries = 1 << 18;

/** An edge of a node that branches. */
export interface Child {
  readonly byte: number;
  readonly node: number;
}

/** The trie. */
interface Unlinked extends Pick<Automaton, "edges" | "links" | "outs" | "classes" | "width"> {
  readonly branches: ReadonlyMap<number, Child[]>;
}

/** Fills `links`, marks the nodes at which a pattern ends that began after the node's, and returns the rows. */
export function linkFailures({ edges, links, outs, classes, width, branches }: Unlinked): Int32Array {
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
