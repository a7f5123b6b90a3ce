/**
 * docs/reference/messages.md: every text in the sources that a person may read, for those who look after the words. It
 * takes all texts of two words or more, whatever the code does with them, so that none is missing.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAst } from "rolldown/parseAst";
import { page } from "./markdown.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const parts: [title: string, folder: string, extension: RegExp][] = [
  ["The command", "bin", /\.(ts|cjs)$/],
  ["The broker", "broker", /\.ts$/],
  ["The executor", "executor", /\.ts$/],
  ["The supervisor of a container", "executor", /\.pl$/],
  ["What they share", "shared", /\.ts$/],
  ["The TypeScript front end", "sdk/typescript", /\.ts$/],
  ["The Python front end", "sdk/python/src", /\.py$/],
  ["The Go front end", "sdk/go", /^(?!.*_test\.go$|internal\/).*\.go$/],
];

/** At least two words. */
const prose = /[A-Za-z]{2,}[,:;]? [a-z{"]/;

/** Other languages inside of ours, headers and lists of words. */
const foreign =
  /redis\.call|\b(SELECT|INSERT INTO|CREATE TABLE|BEGIN;)|^(Basic|Bearer|DPoP) |\bmount -t|buildah mount|read -r|localhost ip6|^[\w-]+: (close|no-store|application)|^\w+( \w+){15,}$|^(file|volume|create|signal|layer|chain|place) \{…\}|^[a-z_]+(\s+[a-z_0-9]+){12,}/;

export function messages(): string {
  const sections = parts.flatMap(([title, folder, extension]) => {
    const names = (readdirSync(`${root}/${folder}`, { recursive: true }) as string[]).filter((name) =>
      extension.test(name),
    );
    const texts = names.flatMap((name) => textsOf(name, readFileSync(`${root}/${folder}/${name}`, "utf8")));
    const lines = texts
      .map((text) => text.replace(/\s+/g, " ").trim())
      .filter((text) => prose.test(text) && !foreign.test(text));
    return [`## ${title}`, [...new Set(lines)].sort().map(item).join("\n")];
  });
  return page(
    "# Messages",
    "Every text that people may read, by the part of Claimcheck that has it. `{…}` stands for what is filled in. Long sentences can be in pieces, as they are in the code.",
    ...sections,
  );
}

const item = (text: string) => `- ${text.includes("`") ? `\`\` ${text} \`\`` : `\`${text}\``}`;

function textsOf(name: string, source: string): string[] {
  if (/\.(ts|cjs)$/.test(name)) return textsIn(parseAst(source, { lang: "ts" }));
  // A line that says no to somebody, in a language that nothing here parses.
  const lines = source
    .split("\n")
    .filter(
      (line) =>
        !line.includes('"""') && /raise |Error|fail\(|refuse|die |errors\.New|why|EXPLANATION/.test(line),
    );
  return lines.flatMap((line) =>
    [...line.matchAll(/"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'/g)].map(([, double, single]) =>
      (double ?? single ?? "").replace(/\{[^}]*\}|%[swdvq]|\$[\w!@:]+/g, "{…}"),
    ),
  );
}

interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly source?: unknown;
  readonly quasis?: readonly { readonly value: { readonly cooked: string } }[];
}

function textsIn(node: unknown): string[] {
  if (Array.isArray(node)) return node.flatMap(textsIn);
  if (typeof node !== "object" || node === null) return [];
  const { type, value, source, quasis } = node as Node;
  if (source && /^(Import|Export)/.test(type)) return [];
  const inside = Object.values(node).flatMap(textsIn);
  if (type === "Literal" && typeof value === "string") return [value];
  if (type === "TemplateLiteral" && quasis)
    return [quasis.map(({ value }) => value.cooked).join("{…}"), ...inside];
  return inside;
}
