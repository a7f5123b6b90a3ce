/** Who may import whom, and which names stay in which files. ARCHITECTURE.md shows the same table. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folders = ["bin", "broker", "executor", "sdk/typescript", "shared"] as const;

const mayImport: Record<string, readonly string[]> = {
  bin: ["bin", "broker", "executor", "sdk/typescript", "shared"],
  broker: ["broker", "shared"],
  executor: ["executor", "shared"],
  "executor/scrub": ["executor/scrub"],
  // As far from the rest as the other languages.
  "sdk/typescript": ["sdk/typescript"],
  shared: ["shared"],
};

/** What may be imported although its folder may not. */
const doors = ["executor → executor/scrub/scrubber.ts", "bin → package.json"];

/** A name, and the files that may have it; a folder where the name ends in a slash. */
const fences: [what: string, pattern: RegExp, files: readonly string[]][] = [
  [
    "jose, where tokens are signed, verified, encrypted or their keys made",
    /from "jose"/,
    [
      "shared/audit-head.ts",
      "shared/ecdh-es.ts",
      "shared/handle.ts",
      "shared/proof.ts",
      "shared/redemption.ts",
      "shared/sealed-token.ts",
      "shared/statement.ts",
      "shared/wrapping.ts",
      "broker/authn/authenticate.ts",
      "broker/keys/derivation.ts",
      "broker/keys/keys.ts",
      "broker/authn/issuer-keys.ts",
      "executor/identity.ts",
      "executor/broker-keys.ts",
    ],
  ],
  ["ioredis, where the handle store talks to Redis", /from "ioredis"/, ["broker/store/connection.ts"]],
  [
    "pg, where the audit log talks to PostgreSQL",
    /from "pg"/,
    ["broker/audit/postgres.ts", "broker/audit/postgres-table.ts"],
  ],
  [
    "child processes, where programs are run",
    /node:child_process/,
    [
      "bin/keyboard.ts",
      "executor/image.ts",
      "executor/layers/gnu-tar.ts",
      "executor/pull.ts",
      "executor/runtime/runc.ts",
      "broker/providers/cmd.ts",
      "shared/core-files.ts",
      "shared/lock.ts",
      "sdk/typescript/executor.ts",
    ],
  ],
  [
    "threads, where 1Password's SDK is kept and policy files are read",
    /node:worker_threads/,
    [
      "broker/providers/op-client.ts",
      "broker/providers/op-worker.ts",
      "bin/policy-thread.ts",
      "bin/policy-worker.ts",
    ],
  ],
  ["1Password's SDK, in its thread", /"@1password\/sdk"/, ["broker/providers/op-worker.ts"]],
  [
    "undici and node-vault, where they are loaded when they are needed",
    /^(import (?!type)|export ).*"(undici|node-vault)"/m,
    ["broker/providers/vault-libraries.ts"],
  ],
  [
    "the cache, which a run without it does not load",
    /^import (?!type)[^;]*"\.\.?\/(executor\/)?cache\//m,
    ["bin/cache.ts", "bin/executor-host.ts", "bin/repository.ts", "bin/results.ts"],
  ],
  ["prom-client, where names of metrics are", /from "prom-client"/, ["broker/http/metrics.ts"]],
  [
    "rate-limiter-flexible, where quotas are counted",
    /from "rate-limiter-flexible"/,
    ["broker/quota/quota.ts"],
  ],
  ["pino, where the operator's log is written", /from "pino"/, ["bin/log.ts"]],
  [
    "lru-cache, where answers of sources are kept",
    /from "lru-cache"/,
    ["broker/resolve/value-cache.ts", "broker/providers/vault-mounts.ts"],
  ],
  ...["env", "file", "cmd", "op", "vault"].map((scheme): [string, RegExp, readonly string[]] => [
    `${scheme}://, in its own file`,
    // Text that begins with it: what is matched or made, not what is said about it.
    new RegExp(`["'\`/^]${scheme}:(//|\\\\/)`),
    // Front ends know no providers, but have to know that all of a cmd:// is the command.
    [`broker/providers/${scheme}.ts`, ...(scheme === "cmd" ? ["shared/uri.ts"] : [])],
  ]),
  ["process.env, in the composition root", /(?<!\.)\bprocess\.env/, ["bin/", "sdk/typescript/executor.ts"]],
  [
    "plaintext, where it is resolved, hashed, sealed, injected or scrubbed",
    /\.expose\(/,
    [
      "shared/redemption.ts",
      "shared/wrapping.ts",
      "broker/keys/derivation.ts",
      "broker/keys/keys.ts",
      "broker/keys/marks.ts",
      "broker/resolve/attempt.ts",
      "broker/resolve/resolver.ts",
      "broker/resolve/shared-read.ts",
      "broker/resolve/value-cache.ts",
      "executor/bundle.ts",
      "executor/container.ts",
      "executor/identity.ts",
      "executor/output.ts",
      "executor/pull.ts",
      "bin/remote-run.ts",
      "bin/results.ts",
    ],
  ],
];

const sources = folders.flatMap((folder) =>
  (readdirSync(join(root, folder), { recursive: true }) as string[])
    .filter((name) => /\.(ts|js)$/.test(name))
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(root, folder, name), "utf8") })),
);

/** The folder whose row counts: the longest in the table that the file lies in. */
function folderOf(path: string): string {
  const fitting = Object.keys(mayImport).filter((folder) => path.startsWith(`${folder}/`));
  return fitting.sort((a, b) => b.length - a.length)[0] as string;
}

function importsOf({ path, text }: { path: string; text: string }): string[] {
  return [...text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)].map(([, to]) =>
    relative(root, resolve(root, path, "..", to as string)),
  );
}

test.each(Object.keys(mayImport))("%s imports only from where it may", (folder) => {
  const mine = sources.filter(({ path }) => folderOf(path) === folder);
  expect(mine.length).toBeGreaterThan(0);
  for (const source of mine) {
    const strays = importsOf(source).filter((to) => !mayImport[folder]?.includes(folderOf(to)));
    const wrong = strays.filter((to) => !doors.includes(`${folder} → ${to}`));
    expect({ [source.path]: wrong }).toEqual({ [source.path]: [] });
  }
});

test("the scrubber needs nothing but itself, not even Node.js", () => {
  for (const { path, text } of sources.filter(({ path }) => path.startsWith("executor/scrub/"))) {
    expect({ [path]: [...text.matchAll(/from "([^."][^"]*)"/g)].map(([, name]) => name) }).toEqual({
      [path]: [],
    });
  }
});

test.each(fences)("a fence around %s", (_, pattern, files) => {
  const holders = sources
    .filter(({ text }) => pattern.test(text.replace(/\/\*[\s\S]*?\*\//g, "")))
    .map(({ path }) => path);
  expect(holders.length).toBeGreaterThan(0);
  const isAllowed = (path: string) =>
    files.some((each) => (each.endsWith("/") ? path.startsWith(each) : path === each));
  expect(holders.filter((path) => !isAllowed(path))).toEqual([]);
});

test("folders are flat, and names say what is inside", () => {
  const depth = { bin: 2, broker: 3, executor: 3, sdk: 3, shared: 2 };
  for (const { path } of sources) {
    const parts = path.split("/");
    expect(parts.length).toBeLessThanOrEqual(depth[parts[0] as keyof typeof depth]);
    expect(parts.at(-1)).not.toMatch(/util|helper|common|misc|manager|service|impl|base|abstract|^index\./i);
  }
});
