/** The jobs in test/examples, run as their systems run them: the same environment, a stand-in that signs the tokens. */
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { entry, image } from "../support/command.ts";
import { type ExecutorHost, startHost } from "../support/executor.ts";
import { makeFolder } from "../support/served.ts";

const printed = "deploying with ***\n";

/** A host whose broker knows jobs by these claims; and an example that is told where it and its broker are. */
async function setUp(name: string, job: Record<string, string>) {
  const host = await startHost({ job, environment: { DEPLOY_TOKEN: "guessme" } });
  const text = readFileSync(new URL(`../examples/${name}`, import.meta.url), "utf8")
    .replaceAll("https://broker.example", host.url)
    .replaceAll("/run/claimcheck/executor.sock", host.socket)
    .replaceAll("alpine:latest", image);
  return { host, example: parse(text) };
}

/** Runs a script in a shell that has nothing but its system's variables, `claimcheck`, and these programs. */
async function runScript(script: string, env: Record<string, string>, programs: Record<string, string> = {}) {
  const folder = makeFolder({});
  const all = { claimcheck: `exec "${process.execPath}" "${entry}" "$@"`, ...programs };
  for (const [name, text] of Object.entries(all)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  const child = execFile("sh", ["-e", "-c", script], {
    env: { PATH: `${folder}:/usr/bin:/bin`, HOME: folder, ...env },
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => (output += text));
  const [code] = await once(child, "close");
  return { code, output };
}

/** What decides is on record under the job's own name. */
const principals = (host: ExecutorHost) =>
  readFileSync(join(host.folder, "audit.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line.includes('"decision"'))
    .map((line) => JSON.parse(line).principal);

test("a GitLab job, whose token is in the variable that its `id_tokens` names", async () => {
  const claims = { project_path: "acme/shop", sub: "project_path:acme/shop:ref_type:branch:ref:main" };
  const { host, example } = await setUp("gitlab-ci.yml", { project_path: "acme/*" });
  const { id_tokens, variables, script } = example.deploy;
  const tokens = Object.entries(id_tokens as Record<string, { aud: string }>).map(
    async ([name, { aud }]) => [name, await host.issuer.sign({ ...claims, aud })] as const,
  );
  const env = { ...variables, ...Object.fromEntries(await Promise.all(tokens)) };
  expect(await runScript(script.join("\n"), env)).toEqual({ code: 0, output: printed });
  expect(principals(host)).toEqual([`ci:${claims.sub}`, "ci:executor-1"]);
});

test("a GitHub workflow, which asks GitHub for a token", async () => {
  const claims = { repository: "acme/shop", sub: "repo:acme/shop:ref:refs/heads/main" };
  const { host, example } = await setUp("github-workflow.yml", { repository: "acme/*" });
  expect(example.permissions).toEqual({ "id-token": "write" });
  const github = createServer(async ({ headers, url }, response) => {
    const aud = new URL(url ?? "", "http://github").searchParams.get("audience");
    response.statusCode = headers.authorization === "Bearer of-this-job" && aud ? 200 : 403;
    response.end(JSON.stringify({ value: await host.issuer.sign({ ...claims, aud: aud ?? "" }) }));
  });
  github.listen(0, "127.0.0.1");
  await once(github, "listening");
  onTestFinished(() => void github.close());
  const { env, steps } = example.jobs.deploy;
  const request = {
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${(github.address() as AddressInfo).port}/token?api-version=2.0`,
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of-this-job",
  };
  expect(await runScript(steps[0].run, { ...env, ...request })).toEqual({ code: 0, output: printed });
  expect(principals(host)).toEqual([`ci:${claims.sub}`, "ci:executor-1"]);
});

test("a Buildkite step, which asks its agent for a token", async () => {
  const claims = { organization_slug: "acme", sub: "organization:acme:pipeline:shop:ref:refs/heads/main" };
  const { host, example } = await setUp("buildkite.yml", { organization_slug: "acme" });
  const token = await host.issuer.sign({ ...claims, aud: host.url });
  const agent = `test "$*" = "oidc request-token --audience ${host.url}" && cat "$0.token"`;
  const folder = makeFolder({ "agent.token": token });
  const [{ env, command }] = example.steps;
  const programs = { "buildkite-agent": agent.replace("$0.token", join(folder, "agent.token")) };
  expect(await runScript(command, env, programs)).toEqual({ code: 0, output: printed });
  expect(principals(host)).toEqual([`ci:${claims.sub}`, "ci:executor-1"]);
});
