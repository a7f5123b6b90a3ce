// Where a search goes on when the text leaves a pattern: at the longest suffix of what it has read that begins a
// pattern. Links hold that for nodes without a row, rows hold it for each class of bytes.
//
// A text that keeps failing from one deep node to the next would follow a link at every byte. Nodes from which
// that can happen get a row too, as long as there is room.

import {
  type Automaton,
  DEPTH_SHIFT,
  HIT,
  LEAF,
  ROW,
  SHALLOW,
  TAG_BITS,
  TAG_HIT,
  TAG_SHALLOW,
} from "./layout.ts";

/** Rows of so few entries are better than chains for any node: with few letters, no branch can be predicted. */
const narrow = 8;
/**
 * A failure that leads at least this deep is worth a row. To less deep nodes many lead by chance, and all their rows
 * would fill the caches.
 */
const deepFall = 8;
/** How much the rows of nodes that do not branch may take, in 4-byte entries. */
const spareEntries = 1 << 18;

/** An edge of a node that branches. */
export interface Child {
  readonly byte: number;
  readonly node: number;
}

/** The trie. */
interface Unlinked extends Pick<Automaton, "flags" | "labels" | "links" | "outs" | "classes" | "width"> {
  readonly branches: ReadonlyMap<number, Child[]>;
}

/** Fills `links`, marks the nodes at which a pattern ends that began after the node's, and returns the rows. */
export function linkFailures({ flags, labels, links, outs, classes, width, branches }: Unlinked): Int32Array {
  const stride = width + 2;
  const spare = Math.min(flags.length - branches.size, Math.floor(spareEntries / stride));
  // While it is being built, a row holds nodes, not places: more nodes may get a row later.
  const rows = new Int32Array((branches.size + spare) * stride);
  let rowsEnd = 0;
  const rowsLimit = rows.length;
  let branchesLeft = branches.size;

  const fails = new Int32Array(flags.length);
  // Breadth first, so that whatever a failure leads to is finished when it is needed. It also puts the rows of
  // the least deep nodes, which are used most, next to each other.
  const queue = new Int32Array(flags.length);
  let queued = 1;

  const placeOf = (node: number) => (flags[node]! & ROW ? links[node]! : node);
  const isLeaf = (node: number) => (flags[node]! & LEAF) !== 0;

  /** The node that `byte` leads to. */
  function follow(node: number, byte: number): number {
    let at = placeOf(node);
    while (at >= 0) {
      if (labels[at] === byte && !isLeaf(at)) return at + 1;
      at = links[at]!;
    }
    return rows[~at + classes[byte]!]!;
  }

  function visitChild(parent: number, byte: number, child: number) {
    const fail = parent === 0 ? 0 : follow(fails[parent]!, byte);
    fails[child] = fail;
    if (!(flags[child]! & HIT) && flags[fail]! & HIT) {
      flags[child] = flags[child]! | HIT;
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
    rows[row + width] = flags[node]!;
    rows[row + width + 1] = node;
  }

  /** Copies where `node` leads to with each class to the row at `to`. */
  function copyRow(node: number, to: number) {
    const chained: number[] = [];
    let at = placeOf(node);
    for (; at >= 0; at = links[at]!) if (!isLeaf(at)) chained.push(at);
    rows.copyWithin(to, ~at, ~at + width);
    // The nearest one decides, so it is written last.
    for (const near of chained.reverse()) rows[to + classes[labels[near]!]!] = near + 1;
  }

  function visit(node: number) {
    if (flags[node]! & ROW) {
      branchesLeft--;
      visitRow(node, branches.get(node)!);
      return;
    }
    let link = placeOf(fails[node]!);
    while (link >= 0 && (isLeaf(link) || (labels[link] === labels[node] && !isLeaf(node))))
      link = links[link]!;
    const linked = link >= 0 ? flags[link]! : rows[~link + width]!;
    const child = { byte: labels[node]!, node: node + 1 };
    if (isLeaf(node)) links[node] = link;
    else if (
      (linked >> DEPTH_SHIFT >= deepFall || stride <= narrow) &&
      rowsEnd + (branchesLeft + 1) * stride <= rowsLimit
    ) {
      flags[node] = flags[node]! | ROW;
      visitRow(node, [child]);
    } else {
      links[node] = link;
      visitChild(node, child.byte, child.node);
    }
  }

  for (let head = 0; head < queued; head++) visit(queue[head]!);

  for (let row = 0; row < rowsEnd; row += stride) {
    for (let entry = row; entry < row + width; entry++) {
      const node = rows[entry]!;
      rows[entry] =
        (placeOf(node) << TAG_BITS) |
        (flags[node]! & HIT ? TAG_HIT : 0) |
        (flags[node]! >> DEPTH_SHIFT < SHALLOW ? TAG_SHALLOW : 0);
    }
  }
  const used = rows.slice(0, rowsEnd);
  rows.fill(0);
  return used;
}
