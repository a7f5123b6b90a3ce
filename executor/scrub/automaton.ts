// Builds the automaton that layout.ts draws: first the trie, then, in failures.ts, what happens where a text
// leaves it.

import { type Child, linkFailures } from "./failures.ts";
import { AHEAD, type Automaton, DEEP, DEPTH_SHIFT, HIT, LEAF, ROW } from "./layout.ts";

/** Patterns sorted by bytes, none empty, none twice. Time and space are linear in their bytes. */
export function buildAutomaton(patterns: readonly Uint8Array[]): Automaton {
  const shared = patterns.map((pattern, i) => (i === 0 ? 0 : commonPrefix(patterns[i - 1]!, pattern)));
  let count = 1;
  let longest = 0;
  for (const [i, pattern] of patterns.entries()) {
    count += pattern.length - shared[i]!;
    longest = Math.max(longest, pattern.length);
  }

  const flags = new Uint16Array(count);
  const labels = new Uint8Array(count + 3);
  const links = new Int32Array(count);
  const outs = new Int32Array(count);
  /** Pattern i put in the nodes from firsts[i] on, the first of them shared[i] + 1 deep. */
  const firsts = new Int32Array(patterns.length);
  /** Children of the nodes that branch. */
  const branches = new Map<number, Child[]>([[0, []]]);
  flags[0] = ROW;

  const path = new Int32Array(longest + 1);
  let node = 1;
  for (const [i, pattern] of patterns.entries()) {
    firsts[i] = node;
    for (let depth = shared[i]!; depth < pattern.length; depth++) {
      const parent = path[depth]!;
      const byte = pattern[depth]!;
      if (parent === node - 1 && parent !== 0) {
        labels[parent] = byte;
        flags[parent] = flags[parent]! & ~LEAF;
      } else branch(parent).push({ byte, node });
      flags[node] = LEAF | (Math.min(depth + 1, DEEP) << DEPTH_SHIFT);
      path[depth + 1] = node++;
    }
    const end = path[pattern.length]!;
    flags[end] = flags[end]! | HIT;
    outs[end] = i;
  }

  function branch(parent: number): Child[] {
    let children = branches.get(parent);
    if (!children) {
      children = [{ byte: labels[parent]!, node: parent + 1 }];
      branches.set(parent, children);
      flags[parent] = flags[parent]! | ROW;
    }
    return children;
  }

  const { classes, width } = classify(patterns);
  const rows = linkFailures({ flags, labels, links, outs, classes, width, branches });
  for (let node = count - 2; node > 0; node--) {
    const next = flags[node + 1]!;
    const ahead = next & (HIT | ROW) ? 1 : Math.min((next & AHEAD) + 1, AHEAD);
    flags[node] = flags[node]! | ahead;
  }

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
    const depth = flags[node]! >> DEPTH_SHIFT;
    if (depth < DEEP) return depth;
    const origin = originOf(node);
    return shared[origin]! + 1 + node - firsts[origin]!;
  }

  return {
    flags,
    labels,
    labelWords: new DataView(labels.buffer),
    links,
    rows,
    width,
    classes,
    outs,
    lengths: Int32Array.from(patterns, (pattern) => pattern.length),
    longest,
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
  used.fill(0);
  return { classes, width };
}
