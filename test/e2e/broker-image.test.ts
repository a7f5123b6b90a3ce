/** The broker's image: built from Containerfile, and run as nobody in particular with nothing that it can write to. */
import { execFileSync, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { freePort } from "../parts/free-port.ts";
import { until } from "../parts/host.ts";
import { startIssuer } from "../parts/issuer.ts";
import { image } from "../support/command.ts";
import { anyVariable, policyOf } from "../support/served.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
const base = "localhost/claimcheck-test-node";
const brokerImage = "localhost/claimcheck-test-broker";
const user = 65532;

const run = (command: string, ...args: string[]) =>
  execFileSync(command, args, { cwd: project, encoding: "utf8" }).trim();

/** No registry is asked: busybox, this Node.js and flock, and the libraries that these are linked with. */
function buildBase(): void {
  const flock = run("sh", "-c", "command -v flock");
  const linked = run("ldd", process.execPath, flock).match(/\/\S+(?= \()/g) ?? [];
  const container = run("buildah", "from", image);
  run("buildah", "copy", "--quiet", container, process.execPath, "/usr/local/bin/node");
  for (const path of new Set([flock, ...linked])) run("buildah", "copy", "--quiet", container, path, path);
  run("buildah", "commit", "--quiet", "--rm", container, base);
}

beforeAll(() => {
  run("npm", "run", "--silent", "build");
  buildBase();
  run(
    "buildah",
    "build",
    "--quiet",
    "--format",
    "docker",
    "--build-arg",
    `BASE=${base}`,
    "-t",
    brokerImage,
    ".",
  );
  return () => void run("buildah", "rmi", "--force", brokerImage, base);
});

async function start() {
  const ci = await startIssuer("ES256");
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-image-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const files = {
    "root-key": "k".repeat(32),
    "policy.yaml": policyOf(ci.url, anyVariable),
    "broker.yaml": `url: ${url}\nlisten: 127.0.0.1:${port}\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: /var/lib/claimcheck/audit.jsonl\nsources: { variables: { provider: env, tenants: [acme], variables: [API_TOKEN] } }\nshutdown: { delay: 0 }\n`,
  };
  for (const name of ["etc", "audit"]) mkdirSync(join(folder, name));
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, "etc", name), text, { mode: 0o600 });
  for (const path of ["etc", "audit", ...readdirSync(join(folder, "etc")).map((name) => `etc/${name}`)])
    chownSync(join(folder, path), user, user);

  const name = `claimcheck-test-${randomUUID()}`;
  const podman = spawn(
    "podman",
    [
      ...["--runtime", "runc", "run", "--rm", "--name", name, "--read-only", "--network", "host"],
      ...["--cap-drop", "all", "--security-opt", "no-new-privileges"],
      ...["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
      ...["-v", `${folder}/etc:/etc/claimcheck:ro`, "-v", `${folder}/audit:/var/lib/claimcheck`],
      ...["-e", "API_TOKEN=guessme", "-e", `HEALTH_URL=${url}/healthz`, brokerImage],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  onTestFinished(() => void podman.kill("SIGKILL"));
  let said = "";
  podman.stderr.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  await until(() => said.includes("serving") || podman.exitCode !== null);
  if (podman.exitCode !== null) throw new Error(said);
  return { ci, url, name, podman, audit: join(folder, "audit", "audit.jsonl") };
}

test("it serves, is healthy, is not root, and ends when it is told", async () => {
  const { ci, url, name, podman, audit } = await start();
  const answer = await fetch(`${url}/v1/handles`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${await ci.sign({ sub: "job", aud: url })}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({ secrets: [{ uri: "env://API_TOKEN" }] }),
  });
  expect(answer.status).toBe(200);
  expect(readFileSync(audit, "utf8")).toContain('"outcome":"issued"');

  run("podman", "healthcheck", "run", name);
  const pid = run("podman", "inspect", "--format", "{{.State.Pid}}", name);
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  expect(status).toMatch(new RegExp(`^Uid:\\t${user}\\t${user}\\t${user}\\t${user}$`, "m"));
  expect(status).toMatch(/^CapEff:\t0+$/m);

  run("podman", "kill", "--signal", "TERM", name);
  const [code] = await once(podman, "exit");
  expect(code).toBe(0);
});
