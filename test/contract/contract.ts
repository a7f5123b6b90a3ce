// npm run contract [-- EXAMPLES [SEED]]: Schemathesis makes requests from openapi.yaml, valid and not, for a real
// `claimcheck broker`; EXAMPLES is how many for an operation and phase at most. What it sends passes watch.ts, which
// gives it what no schema can describe, and judges the answers a second time. Exit code 1 when anything was wrong.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "../parts/free-port.ts";
import { startWatch } from "./watch.ts";

const [examples = "2000", seed = String(Date.now() % 2 ** 32)] = process.argv.slice(2);
/** A run of the usual size that sends fewer requests than this has not looked. */
const enough = 10_000;

const project = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "claimcheck-contract-"));

/** The variables and the file that the broker may read: long enough that no answer holds one by chance. */
const environment = { API_TOKEN: "plaintext/of+API_TOKEN", DEPLOY_KEY: 'plaintext "of" DEPLOY_KEY\n' };
const fileContent = "plaintext, of a file";

/** Random URIs reach nothing but the grammar, so half of the requests that are well formed get one of these. */
const uris = ["env://API_TOKEN", "env://DEPLOY_KEY?trim=newline", `file://${folder}/secret`, "env://NOT_SET"];

/**
 * Left out: `positive_data_acceptance`, because a string that fits the schema of a URI or a handle need not be one,
 * and `ensure_resource_availability`, because handles may be void as soon as they are made: they are revoked here.
 */
const leftOut = "positive_data_acceptance,ensure_resource_availability";

async function startBroker(url: string) {
  const args = ["broker", "--dev", "--listen", new URL(url).host, "--audit", join(folder, "audit.jsonl")];
  const allowed = [...Object.keys(environment).flatMap((name) => ["--env", name]), "--env", "NOT_SET"];
  const child = spawn(
    process.execPath,
    [join(project, "bin/claimcheck.cjs"), ...args, ...allowed, "--file-root", folder],
    { env: { PATH: process.env.PATH, ...environment }, stdio: ["ignore", "pipe", "pipe"] },
  );
  let printed = "";
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    log += text;
  });
  for await (const text of child.stdout.setEncoding("utf8")) {
    printed += text;
    if (/CLAIMCHECK_TOKEN=.+\n/.test(printed)) break;
  }
  const [, accessToken] = /CLAIMCHECK_TOKEN=(.+)\n/.exec(printed) ?? [];
  if (!accessToken) throw new Error(`the broker did not start: ${log}`);
  return { child, accessToken, log: () => log };
}

async function fuzz(url: string, accessToken: string): Promise<number> {
  const schemathesis = process.env.SCHEMATHESIS ?? join(project, ".tools/schemathesis/bin/schemathesis");
  const child = spawn(
    schemathesis,
    [
      ...[
        "--config-file",
        join(project, "test/contract/schemathesis.toml"),
        "run",
        join(project, "openapi.yaml"),
        "--url",
        url,
        // The executor's, which is another server.
        "--exclude-path",
        "/v1/runs",
        "--header",
        `Authorization: Bearer ${accessToken}`,
      ],
      ...["--max-examples", examples, "--seed", seed, "--exclude-checks", leftOut, "--workers", "2"],
      ...["--continue-on-failure", "--generation-database", "none", "--warnings", "off", "--no-color"],
    ],
    // Where it would leave files of its own.
    { cwd: folder, stdio: "inherit" },
  );
  const [code] = await once(child, "close");
  return code;
}

writeFileSync(join(folder, "secret"), fileContent);
const url = `http://127.0.0.1:${await freePort()}`;
const broker = await startBroker(url);
try {
  const values = [...Object.values(environment), fileContent].map((text) => Buffer.from(text));
  const watch = await startWatch({ broker: url, accessToken: broker.accessToken, uris, values });
  const code = await fuzz(watch.url, broker.accessToken);
  const { requests, statuses, faults } = watch.close();
  for (const [name, text] of [
    ["audit log", readFileSync(join(folder, "audit.jsonl"), "utf8")],
    ["log", broker.log()],
  ] as const) {
    if (watch.holdsPlaintext(text)) faults.add(`plaintext in the broker's ${name}`);
  }
  if (requests < enough && process.argv.length === 2) faults.add(`fewer than ${enough} requests`);
  console.log(
    `seed ${seed}: ${requests} requests; ${[...statuses]
      .sort()
      .map((each) => each.join(": "))
      .join(", ")}`,
  );
  for (const fault of faults) console.log(`FAULT ${fault}`);
  process.exitCode = code === 0 && faults.size === 0 ? 0 : 1;
} finally {
  broker.child.kill();
  rmSync(folder, { recursive: true });
}
