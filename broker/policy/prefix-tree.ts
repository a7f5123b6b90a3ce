/** A radix tree: texts, and what is kept under each. */

export interface PrefixTree<Value> {
  /** What this node adds to the text of the one above. */
  label: string;
  value: Value | undefined;
  /** By the first character of their labels. */
  children: Map<number, PrefixTree<Value>> | undefined;
}

export const emptyTree = <Value>(): PrefixTree<Value> => ({
  label: "",
  value: undefined,
  children: undefined,
});

/** Visits what is kept under each beginning of this text, from the empty one to the whole. */
export function visitBeginnings<Value>(
  root: PrefixTree<Value>,
  text: string,
  visitor: (value: Value) => void,
): void {
  let node: PrefixTree<Value> | undefined = root;
  for (let at = 0; node; ) {
    if (node.value !== undefined) visitor(node.value);
    node = node.children?.get(text.charCodeAt(at));
    if (!node || !text.startsWith(node.label, at)) return;
    at += node.label.length;
  }
}

/** The node at the end of this text, made where it is not there yet. */
export function nodeAt<Value>(root: PrefixTree<Value>, text: string): PrefixTree<Value> {
  let node = root;
  for (let at = 0; at < text.length; ) {
    node.children ??= new Map();
    const code = text.charCodeAt(at);
    const child = node.children.get(code);
    if (!child) {
      const leaf = { label: text.slice(at), value: undefined, children: undefined };
      node.children.set(code, leaf);
      return leaf;
    }
    let shared = 1;
    while (shared < child.label.length && child.label[shared] === text[at + shared]) shared += 1;
    if (shared < child.label.length) {
      const lower = { ...child, label: child.label.slice(shared) };
      child.label = child.label.slice(0, shared);
      child.value = undefined;
      child.children = new Map([[lower.label.charCodeAt(0), lower]]);
    }
    at += shared;
    node = child;
  }
  return node;
}
