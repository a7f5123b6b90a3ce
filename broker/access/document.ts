/** A YAML file that people write: read as a whole, with the line of every fault. */
import { isMap, LineCounter, type Node, parseDocument } from "yaml";
import type * as z from "zod/mini";
import en from "zod/v4/locales/en.js";

/** Something that is wrong with a file. */
export interface Fault {
  readonly line: number;
  readonly message: string;
}

export type Path = readonly PropertyKey[];

export type ReadDocument<T> =
  | { readonly value: T; readonly lineOf: (path: Path) => number }
  | { readonly faults: readonly Fault[] };

const { localeError } = en();

/** Never throws: everything that is wrong is in `faults`, the first line first. */
export function readDocument<Schema extends z.ZodMiniType>(
  text: string,
  schema: Schema,
): ReadDocument<z.infer<Schema>> {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false });
  const problems = [...document.errors, ...document.warnings];
  if (problems.length > 0) {
    return { faults: problems.map(({ pos, message }) => ({ line: counter.linePos(pos[0]).line, message })) };
  }

  /** The line of what is at a path, or of the nearest thing around it that is there. */
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
    return { faults: [{ line: 1, message: "aliases make it much larger than it looks" }] };
  }
  const parsed = schema.safeParse(content, { error: localeError });
  if (parsed.success) return { value: parsed.data, lineOf };
  const faults = parsed.error.issues.flatMap((issue): Fault[] => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((key) => {
        const path = [...issue.path, key];
        return { line: lineOf(path), message: `${spell(path)}: there is no such field` };
      });
    }
    return [{ line: lineOf(issue.path), message: `${spell(issue.path)}: ${issue.message}` }];
  });
  return { faults: inOrder(faults) };
}

export const inOrder = (faults: readonly Fault[]): Fault[] => [...faults].sort((a, b) => a.line - b.line);

/** `tenants.acme.rules[2].secrets`, as people would say it. */
export function spell(path: Path): string {
  return (
    path
      .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
      .join("")
      .slice(1) || "the file"
  );
}
