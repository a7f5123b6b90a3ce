/** What is published: packed, installed in an empty folder, and run from there. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { startOnePassword } from "../parts/onepassword.ts";
import { startBao } from "../parts/openbao.ts";
import { claimcheck, image } from "../support/command.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "claimcheck-package-"));
const installed = join(folder, "node_modules", "claimcheck");

beforeAll(() => {
  // It builds, and prints the name alone: README.md installs what it prints.
  const pack = ["pack", "--silent", "--pack-destination", folder];
  const archive = execFileSync("npm", pack, { cwd: project }).toString().trim();
  writeFileSync(join(folder, "package.json"), "{}");
  execFileSync("npm", ["install", "--no-audit", "--no-fund", archive], { cwd: folder });
});

/** The Node.js that runs the tests, and those on the path that are new enough. */
const onPath = (process.env.PATH ?? "").split(":").map((path) => join(path, "node"));
const isNewEnough = (node: string) => {
  const [major = 0, minor = 0] = execFileSync(node, ["-p", "process.versions.node"])
    .toString()
    .split(".")
    .map(Number);
  return major > 22 || (major === 22 && minor >= 18);
};
const nodes = new Set(
  [process.execPath, ...onPath]
    .filter((path) => existsSync(path))
    .map((path) => realpathSync(path))
    .filter(isNewEnough),
);

test.each([...nodes])("the main job runs with %s", async (node) => {
  const args = ["run", "--secret-env", "MY_SECRET=env://API_TOKEN", image, "--"];
  const finished = await claimcheck([...args, "sh", "-c", "echo this is the secret: $MY_SECRET"], {
    env: { API_TOKEN: "guessme" },
    entry: join(installed, "dist", "claimcheck.cjs"),
    node,
  });
  expect(finished).toEqual({ code: 0, stdout: "this is the secret: ***\n", stderr: "" });
});

test.each([...nodes])("what is loaded only for op:// and vault:// is there, with %s", async (node) => {
  const [onePassword, bao] = await Promise.all([
    startOnePassword({ Infra: { Database: [{ label: "password", value: "from-op" }] } }),
    startBao(),
  ]);
  const mount = await bao.mount("package", 2);
  await bao.call("POST", `${mount}/data/app`, { data: { token: "from-vault" } });
  const uris = ["A=op://infra/database/password", `B=vault://${mount}/app.token`];
  const variables = uris.flatMap((uri) => ["--secret-env", uri]);
  const finished = await claimcheck(
    [
      "run",
      ...variables,
      image,
      "--",
      "sh",
      "-c",
      '[ "$A $B" = "$1" ] && echo same',
      "sh",
      "from-op from-vault",
    ],
    {
      env: {
        OP_SERVICE_ACCOUNT_TOKEN: onePassword.token(),
        CLAIMCHECK_OP_SIGN_IN_ORIGINS: onePassword.origin,
        VAULT_ADDR: bao.address,
        VAULT_TOKEN: bao.token,
      },
      entry: join(installed, "dist", "claimcheck.cjs"),
      node,
    },
  );
  expect(finished).toEqual({ code: 0, stdout: "same\n", stderr: "" });
  await Promise.all([onePassword.close(), bao.close()]);
});

test("what every run loads has no reader of YAML in it: only a plan's file and a configuration need one", () => {
  const within = (name: string) =>
    readFileSync(join(installed, "dist", name), "utf8").includes("YAMLParseError");
  expect(within("main.cjs")).toBe(false);
  expect(
    readdirSync(join(installed, "dist")).filter((name) => name.endsWith(".cjs") && within(name)),
  ).not.toEqual([]);
});

test("npm puts the command on the path", () => {
  const help = execFileSync(join(folder, "node_modules", ".bin", "claimcheck"), ["--help"]).toString();
  expect(help).toContain("Usage: claimcheck");
  const version = execFileSync(join(folder, "node_modules", ".bin", "claimcheck"), ["--version"]).toString();
  expect(version).toBe(`${JSON.parse(readFileSync(join(installed, "package.json"), "utf8")).version}\n`);
});

const program = `
import { container, secret } from "claimcheck";
const said: string = await container().from("${image}").withSecretVariable("MY_SECRET", secret("env://API_TOKEN"))
  .withExec(["sh", "-c", "echo this is the secret: $MY_SECRET"]).stdout();
`;

test.each([...nodes])("a program's chain runs with %s", (node) => {
  const path = join(folder, "program.mjs");
  writeFileSync(path, `${program.replace(": string", "")}process.stdout.write(said);`);
  const env = { ...process.env, API_TOKEN: "guessme" };
  expect(execFileSync(node, [path], { cwd: folder, env }).toString()).toBe("this is the secret: ***\n");
});

test("a program's chain has types, which need no others", () => {
  const check = (text: string) => {
    writeFileSync(join(folder, "typed.mts"), text);
    const compiler = join(project, "node_modules", ".bin", "tsc");
    const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--types", ""];
    return spawnSync(compiler, [...options, "typed.mts"], { cwd: folder, encoding: "utf8" }).stdout;
  };
  expect(check(program)).toBe("");
  expect(check(program.replace("const said: string", "const said: number"))).toContain("TS2322");
});

test("the scrubber can be used alone", () => {
  const script = `
    import { createScrubber } from "claimcheck/scrubber";
    const scrubber = createScrubber([Buffer.from("guessme")]);
    console.log(Buffer.concat([scrubber.push(Buffer.from("it is guessme, is it")), scrubber.end()]).toString());`;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: folder });
  expect(printed.toString()).toBe("it is ***, is it\n");
});

test("the entry tells a Node.js that is too old in one sentence", () => {
  const entry = readFileSync(join(installed, "dist", "claimcheck.cjs"), "utf8");
  const pretend = `Object.defineProperty(process.versions, "node", { value: "18.20.0" });\n`;
  const path = join(folder, "entry.cjs");
  writeFileSync(path, entry.replace(/^#!.*\n/, "").replace(/\nconst sources/, `\n${pretend}const sources`));
  try {
    execFileSync(process.execPath, [path], { stdio: "pipe" });
    expect.unreachable();
  } catch (error) {
    const { status, stderr } = error as { status: number; stderr: Buffer };
    expect(status).toBe(125);
    expect(stderr.toString()).toBe(
      "claimcheck: Claimcheck needs Node.js 22.18 or newer, and this is 18.20.0: install a newer one from https://nodejs.org and put it first on the PATH [unsupported_host]\n",
    );
  }
});

const filesIn = (folder: string) =>
  (readdirSync(folder, { recursive: true }) as string[]).filter((name) =>
    statSync(join(folder, name)).isFile(),
  );

test("its pages lead to nothing that is not in it", () => {
  const documents = filesIn(installed).filter((name) => name.endsWith(".md"));
  expect(documents).toContain("docs/run.md");
  for (const name of documents) {
    const text = readFileSync(join(installed, name), "utf8").replace(/^```.*?^```/gms, "");
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(([, link]) => link as string);
    const missing = links.filter((link) => !existsSync(join(installed, dirname(name), link)));
    expect({ [name]: missing }).toEqual({ [name]: [] });
  }
});

test("nothing is in it but what is needed to run, and to read", () => {
  const kinds = new Set(
    filesIn(installed).map((name) =>
      name
        .replace(/^dist\/types\/.*/, "dist/types/…")
        .replace(/[^/]+\.cjs$/, "….cjs")
        .replace(/^(docs|sdk)\/.*\.md$/, "$1/….md")
        .replace(/^test\/examples\/.*/, "test/examples/…"),
    ),
  );
  expect([...kinds].sort()).toEqual([
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "dist/attach.pl",
    "dist/aws-libraries.js",
    "dist/bridge.pl",
    "dist/cgroups.pl",
    "dist/container-files.pl",
    "dist/dbus-library.js",
    "dist/http-library.js",
    "dist/init.pl",
    "dist/op-worker.js",
    "dist/openapi.yaml",
    "dist/orders.pl",
    "dist/policy-worker.js",
    "dist/runs.pl",
    "dist/scrubber.js",
    "dist/sdk.js",
    "dist/storage.pl",
    "dist/supervisor.pl",
    "dist/system-calls.pl",
    "dist/terminal.pl",
    "dist/types/…",
    "dist/users.pl",
    "dist/vault-libraries.js",
    "dist/view.pl",
    "dist/….cjs",
    "docs/….md",
    "openapi.yaml",
    "package.json",
    "sdk/….md",
    "test/examples/…",
  ]);
});
