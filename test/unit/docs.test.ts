/** The pages that people read: what they link to, what is generated, what is not run, and the words that we do without. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { schemes } from "../../broker/providers/schemes.ts";
import { reference } from "../../docs/generate/reference.ts";
import { forms } from "../../executor/scrub/forms.ts";
import { blocksOf, pages, project } from "../docs/page.ts";

const read = (path: string) => readFileSync(join(project, path), "utf8");
const isGenerated = (path: string) => path.startsWith("docs/reference/");
const written = pages.filter(({ path }) => !isGenerated(path));

describe("README.md", () => {
  const readme = read("README.md");

  test("has at most 150 lines, and a transcript of at most ten", () => {
    expect(readme.trimEnd().split("\n").length).toBeLessThanOrEqual(150);
    const [, transcript = ""] = /^```console\n(.*?)^```$/ms.exec(readme) ?? [];
    expect(transcript.trimEnd().split("\n").length).toBeLessThanOrEqual(10);
  });

  test("shows a test or a bench command for each promise", () => {
    const [, rows = ""] = /^\| promise .*?\n\|.*?\n(.*?)\n\n/ms.exec(readme) ?? [];
    const shown = rows.split("\n").map((row) => row.split(" | ").at(-1));
    expect(shown.length).toBeGreaterThan(5);
    for (const cell of shown) expect(cell).toMatch(/`(test|bench|npm run|node bench)/);
  });

  test("leads to every page", () => {
    const reached = new Set(["README.md"]);
    const follow = (path: string) => {
      for (const { target } of linksOf(path)) {
        if (!target.endsWith(".md") || reached.has(target)) continue;
        reached.add(target);
        if (!isGenerated(target)) follow(target);
      }
    };
    follow("README.md");
    expect(pages.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
  });
});

interface Link {
  /** From the project's folder. */
  readonly target: string;
  readonly anchor: string | undefined;
}

const withoutCode = (text: string) => text.replace(/^```.*?^```$/gms, "");

function linksOf(path: string): Link[] {
  const links = [...withoutCode(read(path)).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = ""]) => link);
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [file = "", anchor] = link.split("#");
      return { target: file === "" ? path : join(dirname(path), file), anchor };
    });
}

/** As GitHub makes them of headings. */
const anchorsIn = (text: string) =>
  [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
    heading
      .toLowerCase()
      .replace(/\]\([^)]*\)/g, "")
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );

test.each(pages.map(({ path }) => path))("every link of %s leads somewhere", (path) => {
  const broken = linksOf(path).filter(
    ({ target, anchor }) =>
      !existsSync(join(project, target)) ||
      (anchor !== undefined && !anchorsIn(read(target)).includes(anchor)),
  );
  expect(broken).toEqual([]);
});

test.each(written.map(({ path, text }) => [path, text] as const))(
  "every file and npm script that %s names is there",
  (_, text) => {
    const named = [...text.matchAll(/`((?:test|bench|docs|bin|broker|executor|shared|sdk)\/[\w./-]*)`/g)];
    const files = named.map(([, file]) => file as string).filter((file) => !/[A-Z]{2,}/.test(file));
    expect(files.filter((file) => !existsSync(join(project, file)))).toEqual([]);
    const scripts = [...text.matchAll(/npm run ([\w-]+)/g)].map(([, script]) => script as string);
    const known = JSON.parse(read("package.json")).scripts;
    expect(scripts.filter((script) => !(script in known))).toEqual([]);
  },
);

describe("snippets that the tests do not run", () => {
  const unrun = pages.flatMap(({ path, blocks }) =>
    blocks.flatMap((block) => (block.kind === "unrun" ? [{ path, ...block }] : [])),
  );

  test("say why", () => {
    expect(unrun.filter(({ reason }) => reason === undefined)).toEqual([]);
  });

  test("are these many", () => {
    const counts: Record<string, number> = {};
    for (const { path } of unrun) counts[path] = (counts[path] ?? 0) + 1;
    expect(counts).toEqual({
      "README.md": 2,
      "CONTRIBUTING.md": 1,
      "docs/install.md": 3,
      "sdk/go/README.md": 1,
      "sdk/python/README.md": 1,
      "sdk/typescript/README.md": 1,
    });
  });

  test("without a reason are found", () => {
    const [block] = blocksOf("Do this:\n\n```sh\nrm -r folder\n```\n");
    expect(block).toEqual({ kind: "unrun", line: 3, reason: undefined });
  });
});

test.each(written.map(({ path, blocks }) => [path, blocks] as const))(
  "every file that %s shows is used by a command of it",
  (_, blocks) => {
    const unused = blocks.filter(
      (block) =>
        block.kind === "file" &&
        !blocks.some((later) => later.kind !== "unrun" && usesFile(later, block.name)),
    );
    expect(unused).toEqual([]);
  },
);

/** A configuration names other files, and `go run .` all of its folder. */
const usesFile = (block: { kind: string; command?: string; text?: string }, name: string) =>
  block.kind === "command"
    ? block.command?.includes(name) || (name.endsWith(".go") && block.command?.includes("go run ."))
    : new RegExp(`: ${name}$`, "m").test(block.text ?? "");

test("every scheme has a row in docs/secrets.md", () => {
  const rows = [...read("docs/secrets.md").matchAll(/^\| `([\w+]+):\/\//gm)].map(([, scheme]) => scheme);
  expect(rows).toEqual(schemes.map(({ name }) => name));
});

test("every form of the scrubber is in docs/masking.md", () => {
  const page = read("docs/masking.md");
  expect(forms.map(({ name }) => name).filter((name) => !page.includes(name))).toEqual([]);
});

describe("docs/reference", async () => {
  const made = await reference();

  test.each([...made])("%s is what `npm run docs` makes of the code", (name, text) => {
    expect(read(`docs/reference/${name}`), "run `npm run docs`").toBe(text);
  });

  test("has no other pages", () => {
    const names = pages.filter(({ path }) => isGenerated(path)).map(({ path }) => path);
    expect(names).toEqual([...made.keys()].map((name) => `docs/reference/${name}`).sort());
  });
});

/** STYLE 12a: words and turns that a reader has to read twice. */
const plainEnglish = new RegExp(
  [
    "who(m|ever|soever)|what(ever|soever)|whichever|such(?! as)|thereof|hereby|herein|aforesaid",
    "can(not|'t) be had|(is|are|was|were|has|have) to be|not any ?more|be it",
    "(is|was) asked for|(is|was) there already|knows itself|lies? in each other|going on without",
    "is (no|none) (a|an|of|JSON|token|secret|scheme|verb|file|regular|image|key)",
    "it is (no|none)|is none of|what is there|left alone",
  ]
    .map((part) => `\\b(${part})\\b`)
    .join("|"),
  "i",
);

const oddLinesOf = (text: string) => text.split("\n").filter((line) => plainEnglish.test(line));

describe("plain English", () => {
  test.each(written.map(({ path, text }) => [path, text] as const))("%s", (_, text) => {
    // The reference has what the command prints.
    expect(oddLinesOf(withoutCode(text))).toEqual([]);
  });

  // Help, errors, fields and metrics are all in these pages, which are made from the code.
  test.each(
    [...pages].filter(({ path }) => isGenerated(path)).map(({ path, text }) => [path, text] as const),
  )("%s", (path, text) => {
    if (path.endsWith("/messages.md")) expect(text.split("\n").length).toBeGreaterThan(500);
    expect(oddLinesOf(text)).toEqual([]);
  });

  test("what the contract of the HTTP interface says", () => {
    expect(oddLinesOf(read("openapi.yaml"))).toEqual([]);
  });

  test.each([
    "The image cannot be had",
    "What is asked for is not allowed",
    "What is there already is left alone",
    "Whom the policy allows `audit.read` gets the records",
    "Whoever asks, whatever it is",
    "A record has to reach such a place",
    "It is to be signed",
    "It has to be YAML",
    "The token is not valid, or not any more",
    "/srv and /srv/a lie in each other",
    "going on without the cache",
    "it is no regular file",
    "htp is no scheme",
  ])("would not let this pass: %s", (planted) => {
    expect(oddLinesOf(`- \`${planted}\``)).toHaveLength(1);
  });

  test.each(["a client such as curl", "what the broker asks for", "there is no engine", "no longer"])(
    "lets this pass: %s",
    (fine) => expect(oddLinesOf(fine)).toEqual([]),
  );
});
