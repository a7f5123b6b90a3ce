/**
 * The pages that people read, taken apart. What stands in a fence is one of four things:
 *
 *     ```console            commands behind `$ `, and what they print; the tests run them
 *     ```yaml policy.yaml   a file: the commands after it find it under this name
 *     ```abnf, ```text      a grammar or a picture: nothing that anybody would run
 *     _The tests do not run this: REASON._
 *     ```sh                 anything else needs this line before it
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const project = fileURLToPath(new URL("../..", import.meta.url));

export type Block =
  | { readonly kind: "file"; readonly name: string; readonly text: string }
  | { readonly kind: "command"; readonly command: string; readonly printed: string }
  | { readonly kind: "unrun"; readonly line: number; readonly reason: string | undefined };

export interface Page {
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

const pictures = ["abnf", "text"];
const notRun = /^_The tests do not run this: (.+)\._$/;

const folders = ["docs", "docs/decisions", "docs/reference"];
const loose = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
const sdks = ["sdk/go/README.md", "sdk/python/README.md", "sdk/typescript/README.md"];

export const pages: readonly Page[] = [
  ...loose,
  ...sdks,
  ...folders.flatMap((folder) =>
    readdirSync(join(project, folder))
      .filter((name) => name.endsWith(".md"))
      .map((name) => `${folder}/${name}`),
  ),
].map((path) => {
  const text = readFileSync(join(project, path), "utf8");
  return { path, text, blocks: blocksOf(text) };
});

export function blocksOf(text: string): Block[] {
  const fences = [...text.matchAll(/^```(\S*)(?: (\S+))?\n(.*?)^```$/gms)];
  return fences.flatMap(({ index, 1: language = "", 2: name, 3: content = "" }): Block[] => {
    if (pictures.includes(language)) return [];
    if (language === "console") return commandsOf(content);
    if (name !== undefined) return [{ kind: "file", name, text: content }];
    const before = text.slice(0, index);
    const reason = notRun.exec(before.trimEnd().split("\n").at(-1) ?? "")?.[1];
    return [{ kind: "unrun", line: before.split("\n").length, reason }];
  });
}

/** A command goes on in the next line behind a backslash. */
function commandsOf(content: string): Block[] {
  return content
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [command = "", printed = ""] = part.split(/(?<!\\)\n(.*)/s);
      return { kind: "command", command, printed };
    });
}

/** @returns the page's text with this behind each command; what the page shows, where that fits. */
export function render({ text, blocks }: Page, printed: readonly string[]): string {
  const commands = blocks.flatMap((block) => (block.kind === "command" ? [block] : []));
  const shown = commands.map(({ command, printed: shown }, index) => {
    const now = printed[index] ?? "(not reached)\n";
    return `$ ${command}\n${fits(shown, now) ? shown : now}`;
  });
  return text.replace(/^```console\n(.*?)^```$/gms, (_, content: string) => {
    const own = shown.splice(0, commandsOf(content).length);
    return `\`\`\`console\n${own.join("")}\`\`\``;
  });
}

/** A `…` on a page stands for any text of a line. */
function fits(shown: string, printed: string): boolean {
  const escaped = shown.split("…").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${escaped.join("[^\\n]+")}$`).test(printed);
}
