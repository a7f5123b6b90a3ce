/** A YAML file that people write: read as a whole, with the line of every fault. */
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type * as z from "zod/mini";
import en from "zod/v4/locales/en.js";
import { type Path, spell } from "./field-path.ts";
import { newerDocument } from "./newer.ts";
import { soundPart } from "./sound-part.ts";

/** Something that is wrong with a file. */
export interface Fault {
  readonly line: number;
  readonly message: string;
}

/** A document that its schema accepts. */
export interface Sound<T> {
  readonly value: T;
  /** The line of what is at a path, or of the nearest thing around it. */
  readonly lineOf: (path: Path) => number;
}

/** `rest` is the document without what `faults` are about, so that a check of the rest can find more of them. */
export type ReadDocument<T> = Sound<T> | { readonly faults: readonly Fault[]; readonly rest?: Sound<T> };

const { localeError } = en();

/** Never throws: everything that is wrong is in `faults`, the first line first. */
export function readDocument<Schema extends z.ZodMiniType>(
  text: string,
  schema: Schema,
): ReadDocument<z.infer<Schema>> {
  const counter = new LineCounter();
  // The library compares each key with all before it, which takes the square of their number.
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: false });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    return {
      faults: problems
        .slice(0, shownFaults)
        .map(({ pos, message }) => ({ line: counter.linePos(pos[0]).line, message })),
    };
  }
  const { yaml } = document.directives ?? {};
  if (yaml?.explicit && yaml.version !== "1.2") {
    return {
      faults: [
        { line: 1, message: "the file must be YAML 1.2: in 1.1 the same text can mean something else" },
      ],
    };
  }
  const odd = oddKeys(document.contents, (offset) => counter.linePos(offset).line);

  const lineOf = (path: Path): number => {
    const parent = document.getIn(path.slice(0, -1), true);
    const pair = isMap(parent) ? parent.items.find(({ key }) => String(key) === path.at(-1)) : undefined;
    const node = (pair?.key ?? document.getIn(path, true)) as Node | undefined;
    if (node?.range) return counter.linePos(node.range[0]).line;
    return path.length > 0 ? lineOf(path.slice(0, -1)) : 1;
  };

  let content: unknown;
  try {
    content = document.toJS({ maxAliasCount: 100 });
  } catch {
    return { faults: [{ line: 1, message: "its aliases make it too large; write the repeated parts out" }] };
  }
  const parsed = schema.safeParse(content, { error: localeError });
  if (parsed.success && odd.length === 0) return { value: parsed.data, lineOf };
  const newer = newerDocument(content);
  if (newer !== undefined) return { faults: [{ line: lineOf(["version"]), message: newer }] };
  const issues = parsed.error?.issues ?? [];
  const faults = issues.slice(0, shownFaults).flatMap((issue): Fault[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => {
        const path = [...issue.path, key];
        return { line: lineOf(path), message: `${spell(path)}: ${unknownField}` };
      });
    }
    return [{ line: lineOf(issue.path), message: `${spell(issue.path)}: ${issue.message}` }];
  });
  // An odd key is often an unknown field too, which needs no second sentence.
  const oddLines = new Set(odd.map(({ line }) => line));
  const all = [...odd, ...faults.filter(({ line }) => !oddLines.has(line))];
  const rest = parsed.success ? parsed.data : soundPart(content, issues, schema);
  return {
    faults: inOrder(all).slice(0, shownFaults),
    ...(rest !== undefined && { rest: { value: rest, lineOf } }),
  };
}

/** Said of a field that no schema has. */
export const unknownField = "this field does not exist";

/** As many as are said at once. */
const shownFaults = 100;

/** Keys that are no plain texts, that are there twice, or that mean something else to YAML or to JavaScript. */
function oddKeys(contents: unknown, lineOf: (offset: number) => number): Fault[] {
  const faults: Fault[] = [];
  const open: unknown[] = [contents];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (isSeq(node)) open.push(...node.items);
    if (!isMap(node)) continue;
    const names = new Set<string>();
    for (const { key, value } of node.items) {
      if (value !== null) open.push(value);
      const line = lineOf((key as Node | null)?.range?.[0] ?? node.range?.[0] ?? 0);
      const report = (message: string) => faults.push({ line, message });
      if (isAlias(key) || !isScalar(key) || typeof key.value !== "string") {
        report("a key must be a text; write numbers, true, false and null in quotes");
        continue;
      }
      const name = key.value;
      if (names.has(name)) report(`"${name}" appears twice`);
      names.add(name);
      if (name === "__proto__") report(`"${name}" cannot be a key`);
      if (name === "<<") report(`"${name}" would merge in YAML 1.1; write the fields out`);
    }
  }
  return faults;
}

export const inOrder = (faults: readonly Fault[]): Fault[] => [...faults].sort((a, b) => a.line - b.line);
