/** Who may import whom, and which names stay in which files. ARCHITECTURE.md shows the same table. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { schemes } from "../../broker/providers/schemes.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Each room, and what it imports beside itself. A folder is a room; so is a file that lies beside rooms. */
const rooms: Record<string, readonly string[]> = {
  "bin/chain": ["bin/run", "broker/providers", "sdk/typescript", "shared"],
  "bin/commands": [
    "bin/chain",
    "bin/connect",
    "bin/doctor",
    "bin/host",
    "bin/run",
    "bin/serve-broker",
    "bin/serve-executor",
    "broker/audit",
    "broker/authn",
    "broker/keys",
    "broker/policy",
    "broker/providers",
    "broker/store",
    "executor/broker-client",
    "executor/cache",
    "executor/image",
    "executor/output",
    "executor/plan",
    "executor/supervisor",
    "sdk/typescript",
    "shared",
  ],
  "bin/connect": ["bin/host", "bin/serve-broker", "broker/http", "executor/broker-client", "shared"],
  "bin/doctor": [
    "bin/connect",
    "executor/broker-client",
    "executor/container",
    "executor/host",
    "executor/supervisor",
    "shared",
  ],
  "bin/host": ["broker/health.ts", "broker/keys", "broker/providers", "sdk/typescript", "shared"],
  "bin/main.ts": ["bin/commands", "bin/host", "bin/run", "shared"],
  "bin/run": [
    "bin/connect",
    "bin/host",
    "executor/cache",
    "executor/container",
    "executor/host",
    "executor/layers",
    "executor/output",
    "executor/plan",
    "executor/run",
    "executor/server",
    "executor/supervisor",
    "shared",
  ],
  "bin/serve-broker": [
    "bin/host",
    "broker/audit",
    "broker/authn",
    "broker/broker.ts",
    "broker/health.ts",
    "broker/http",
    "broker/keys",
    "broker/policy",
    "broker/providers",
    "broker/quota",
    "broker/resolve",
    "broker/store",
    "executor/scrub",
    "shared",
  ],
  "bin/serve-executor": [
    "bin/connect",
    "bin/host",
    "bin/run",
    "executor/broker-client",
    "executor/cache",
    "executor/image",
    "executor/plan",
    "executor/server",
    "shared",
  ],
  "broker/broker.ts": [
    "broker/audit",
    "broker/authn",
    "broker/health.ts",
    "broker/keys",
    "broker/policy",
    "broker/quota",
    "broker/resolve",
    "broker/store",
  ],
  "broker/health.ts": [],
  "broker/audit": ["broker/health.ts", "shared"],
  "broker/authn": ["shared"],
  "broker/http": [
    "broker/audit",
    "broker/authn",
    "broker/broker.ts",
    "broker/providers",
    "broker/quota",
    "broker/requests",
    "broker/resolve",
    "broker/store",
    "shared",
  ],
  "broker/keys": ["broker/store", "shared"],
  // No provider: what one asks of a pattern is handed in.
  "broker/policy": ["broker/authn", "broker/health.ts", "shared"],
  "broker/providers": ["shared"],
  "broker/quota": ["broker/authn", "broker/store", "shared"],
  "broker/requests": [
    "broker/audit",
    "broker/authn",
    "broker/broker.ts",
    "broker/keys",
    "broker/policy",
    "broker/providers",
    "broker/quota",
    "broker/resolve",
    "broker/store",
    "shared",
  ],
  "broker/resolve": ["broker/keys", "broker/providers", "broker/quota", "shared"],
  "broker/store": ["broker/audit", "broker/health.ts", "shared"],
  // It describes all of it, and nothing needs it.
  "docs/generate": [
    "bin/chain",
    "bin/commands",
    "bin/serve-broker",
    "bin/serve-executor",
    "broker/audit",
    "broker/http",
    "broker/policy",
    "broker/providers",
    "executor/plan",
    "executor/server",
    "shared",
  ],
  "executor/broker-client": ["executor/plan", "shared"],
  "executor/cache": ["executor/broker-client", "executor/plan", "executor/scrub", "shared"],
  "executor/container": [
    "executor/broker-client",
    "executor/host",
    "executor/image",
    "executor/output",
    "executor/plan",
    "executor/scrub",
    "executor/supervisor",
    "shared",
  ],
  "executor/host": ["executor/plan", "shared"],
  "executor/image": ["executor/host", "executor/layers", "shared"],
  "executor/layers": ["shared"],
  "executor/leaks": ["executor/layers", "executor/scrub"],
  "executor/output": ["executor/broker-client", "executor/plan", "executor/scrub", "shared"],
  "executor/plan": ["shared"],
  "executor/run": [
    "executor/broker-client",
    "executor/cache",
    "executor/container",
    "executor/host",
    "executor/image",
    "executor/layers",
    "executor/leaks",
    "executor/output",
    "executor/plan",
    "executor/supervisor",
    "shared",
  ],
  "executor/scrub": [],
  "executor/server": [
    "executor/broker-client",
    "executor/cache",
    "executor/container",
    "executor/image",
    "executor/layers",
    "executor/output",
    "executor/plan",
    "executor/run",
    "executor/supervisor",
    "shared",
  ],
  "executor/supervisor": ["executor/host", "executor/output", "shared"],
  // As far from the rest as the other languages.
  "sdk/typescript": [],
  shared: [],
};

/** The same for what tests share; they may import all that is tested. */
const testRooms: Record<string, readonly string[]> = {
  "test/chains": [],
  "test/contract": ["test/parts", "test/support"],
  "test/docs": ["test/parts", "test/support"],
  "test/e2e": ["test/docs", "test/parts", "test/support"],
  "test/faults": ["test/parts", "test/support"],
  "test/fuzz": [],
  "test/integration": ["test/chains", "test/parts", "test/stores", "test/support"],
  "test/parts": [],
  "test/stores": [],
  "test/support": ["test/parts"],
  "test/unit": ["test/docs", "test/fuzz", "test/parts", "test/stores", "test/support"],
};

/** All that may be imported of a room by another one. */
const doors: Record<string, string> = { "executor/scrub": "executor/scrub/scrubber.ts" };

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
      "shared/sealed-token.ts",
      "shared/statement.ts",
      "shared/wrapping.ts",
      "broker/authn/authenticate.ts",
      "broker/keys/derivation.ts",
      "broker/keys/keys.ts",
      "broker/authn/issuer-keys.ts",
      "executor/broker-client/identity.ts",
      "executor/broker-client/keys.ts",
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
      "bin/doctor/host.ts",
      "bin/run/keyboard.ts",
      "executor/image/image.ts",
      "executor/layers/gnu-tar.ts",
      "executor/image/pull.ts",
      "executor/image/working-containers.ts",
      "executor/supervisor/launch.ts",
      "broker/providers/cmd.ts",
      "broker/providers/op-command.ts",
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
      "bin/serve-broker/policy-thread.ts",
      "bin/serve-broker/policy-worker.ts",
    ],
  ],
  ["1Password's SDK, in its thread", /"@1password\/sdk"/, ["broker/providers/op-worker.ts"]],
  [
    "undici, node-vault, D-Bus's and AWS's libraries, where they are loaded when they are needed",
    /^(import (?!type)|export |} from ).*"(undici|node-vault|@aws-sdk|@smithy|@homebridge)["/]/m,
    [
      "broker/providers/http-library.ts",
      "broker/providers/vault-libraries.ts",
      "broker/providers/aws-libraries.ts",
      "broker/providers/dbus-library.ts",
    ],
  ],
  [
    "the cache, which a run without it does not load",
    /^import (?!type)[^;]*"(\.\.\/)+(executor\/)?cache\//m,
    ["bin/commands/cache.ts", "bin/serve-executor/host.ts", "bin/run/repository.ts", "bin/run/results.ts"],
  ],
  ["prom-client, where names of metrics are", /from "prom-client"/, ["broker/http/metrics.ts"]],
  [
    "rate-limiter-flexible, where quotas are counted",
    /from "rate-limiter-flexible"/,
    ["broker/quota/quota.ts"],
  ],
  ["pino, where the operator's log is written", /from "pino"/, ["bin/serve-broker/log.ts"]],
  [
    "lru-cache, where answers of sources are kept",
    /from "lru-cache"/,
    [
      "broker/resolve/value-cache.ts",
      "broker/resolve/requester-lanes.ts",
      "broker/providers/vault-mounts.ts",
    ],
  ],
  ...schemes.map(({ name: scheme }): [string, RegExp, readonly string[]] => [
    `${scheme}://, in its own file`,
    // Text that begins with it: what is matched or made, not what is said about it.
    new RegExp(`["'\`/^]${scheme.replace("+", "\\\\?\\+")}:(//|\\\\/)`),
    // Front ends know no providers, but have to know that all of a cmd:// is the command.
    [`broker/providers/${scheme.replace("+", "-")}.ts`, ...(scheme === "cmd" ? ["shared/uri.ts"] : [])],
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
      "broker/keys/seal.ts",
      "broker/requests/source-tokens.ts",
      "bin/serve-broker/sources.ts",
      "broker/resolve/attempt.ts",
      "broker/resolve/resolver.ts",
      "broker/resolve/shared-read.ts",

      "executor/container/inject.ts",
      "executor/container/container.ts",
      "executor/broker-client/identity.ts",
      "executor/output/forward.ts",
      "executor/image/pull.ts",
      "bin/run/remote.ts",
      "bin/run/results.ts",
    ],
  ],
];

interface Source {
  readonly path: string;
  readonly text: string;
}

function read(folder: string): Source[] {
  const names = readdirSync(join(root, folder), { recursive: true }) as string[];
  return names
    .filter((name) => /\.(ts|js)$/.test(name))
    .map((name) => ({ path: join(folder, name), text: readFileSync(join(root, folder, name), "utf8") }));
}

const sources = ["bin", "broker", "docs", "executor", "sdk/typescript", "shared"].flatMap(read);
const tests = read("test").filter(({ path }) => !path.startsWith("test/vectors/"));

/** The room that a file lies in, if it has a row. */
function roomOf(path: string, rows: Record<string, readonly string[]>): string | undefined {
  if (path in rows) return path;
  const folder = dirname(path);
  return folder in rows ? folder : undefined;
}

const testRoomOf = (path: string) => Object.keys(testRooms).find((room) => path.startsWith(`${room}/`));

function importsOf({ path, text }: Source): string[] {
  return [...text.matchAll(/(?:from|import\(?)\s*"(\.[^"]+)"/g)].map(([, to]) =>
    relative(root, resolve(root, path, "..", to as string)),
  );
}

type Graph = ReadonlyMap<string, ReadonlySet<string>>;

/** Which room imports which other one. */
function graphOf(files: readonly Source[], room: (path: string) => string | undefined): Graph {
  const graph = new Map<string, Set<string>>();
  for (const file of files) {
    const own = room(file.path);
    if (own === undefined) continue;
    const imported = graph.get(own) ?? new Set();
    graph.set(own, imported);
    for (const to of importsOf(file).map(room)) if (to !== undefined && to !== own) imported.add(to);
  }
  return graph;
}

/** A way from a room back to it, where there is one. */
function findCircle(graph: Graph): readonly string[] | undefined {
  const done = new Set<string>();
  const follow = (way: readonly string[]): readonly string[] | undefined => {
    const last = way.at(-1) as string;
    if (way.indexOf(last) < way.length - 1) return way.slice(way.indexOf(last));
    if (done.has(last)) return undefined;
    for (const next of graph.get(last) ?? []) {
      const circle = follow([...way, next]);
      if (circle) return circle;
    }
    done.add(last);
    return undefined;
  };
  for (const room of graph.keys()) {
    const circle = follow([room]);
    if (circle) return circle;
  }
  return undefined;
}

const graph = graphOf(sources, (path) => roomOf(path, rooms));
const testGraph = graphOf(tests, testRoomOf);

/** What lies beside the rooms, each with its reason: what people read first, and files of tools. */
const topLevel = [
  ...["bench", "bin", "broker", "deploy", "docs", "executor", "sdk", "shared", "test"],
  ...[
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "openapi.yaml",
  ],
  ...["Containerfile", "package-lock.json", "package.json", "quickstart.sh", "setup.sh"],
  ...[
    "biome.json",
    "redocly.yaml",
    "rolldown.config.ts",
    "tsconfig.build.json",
    "tsconfig.json",
    "vitest.config.ts",
  ],
  ...[".ci", ".containerignore", ".gitattributes", ".gitignore", ".npmrc"],
];

test("nothing lies beside the rooms without a reason", () => {
  const files = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).trim().split("\n");
  expect([...new Set(files.map((file) => file.split("/")[0]))].sort()).toEqual([...topLevel].sort());
});

test("every file lies in a room that has a row", () => {
  expect(sources.map(({ path }) => path).filter((path) => roomOf(path, rooms) === undefined)).toEqual([]);
  expect(tests.map(({ path }) => path).filter((path) => testRoomOf(path) === undefined)).toEqual([]);
});

test.each(Object.entries(rooms))("%s imports what its row says", (room, row) => {
  expect([...(graph.get(room) ?? [])].sort()).toEqual(row);
});

test.each(Object.entries(testRooms))("%s imports what its row says", (room, row) => {
  expect([...(testGraph.get(room) ?? [])].sort()).toEqual(row);
});

test("no room imports one that imports it, directly or around a corner", () => {
  expect(findCircle(graph)).toBeUndefined();
  expect(findCircle(testGraph)).toBeUndefined();
  const planted = new Map([...graph, ["broker/health.ts", new Set(["broker/http"])]]);
  expect(findCircle(planted)).toContain("broker/health.ts");
});

test("nothing of ours is imported that lies in no room", () => {
  for (const source of sources) {
    const strays = importsOf(source).filter((to) => to !== "package.json" && roomOf(to, rooms) === undefined);
    expect({ [source.path]: strays }).toEqual({ [source.path]: [] });
  }
});

test("a room with a door is entered by it", () => {
  for (const source of sources) {
    const own = roomOf(source.path, rooms);
    const beside = importsOf(source).filter((to) => {
      const door = doors[roomOf(to, rooms) ?? ""];
      return door !== undefined && to !== door && roomOf(to, rooms) !== own;
    });
    expect({ [source.path]: beside }).toEqual({ [source.path]: [] });
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
  expect(files.filter((each) => !each.endsWith("/") && !holders.includes(each))).toEqual([]);
});

test("names say what is inside", () => {
  for (const { path } of [...sources, ...tests]) {
    expect(path).not.toMatch(/util|helper|common|misc|manager|service|impl|base|abstract|\/index\./i);
  }
});
