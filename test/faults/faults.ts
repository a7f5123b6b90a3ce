/**
 * Breaks a real broker under steady load, one thing at a time, and tells what its clients saw, how long it took until
 * the next value was had, whether the log has all that was acknowledged and is whole, and whether a handle was spent
 * twice. `node test/faults/faults.ts [WORD...]` runs those scenarios whose names have one of the words.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { table } from "../../bench/report.ts";
import { openIssuer } from "../parts/issuer.ts";
import { startBrokerProcess } from "../support/broker-process.ts";
import { entry } from "../support/command.ts";
import { policyOf } from "../support/served.ts";
import { attacks } from "./attacks.ts";
import { startLoad } from "./load.ts";
import { type Scenario, scenarios } from "./scenarios.ts";
import { ofSources } from "./sources.ts";

/** How long the load runs before and after, in milliseconds. */
const calm = 2_000;
const day = 24 * 60 * 60;

const rules =
  '      - { name: all, actions: [issue, redeem], secrets: ["env://**", "file://**", "vault://**"] }\n';

const attackers = `  attackers:
    principals:
      - { issuer: ci, claims: { sub: attacker }, roles: [requester, executor], dangerouslyTokenAlone: true }
    rules:
${rules}`;

async function observe({ name, prepare, run }: Scenario): Promise<{ row: string[]; good: boolean }> {
  const issuer = await openIssuer("ES256");
  const parts = await prepare();
  const { fields, env, audit, log } = parts;
  const broker = await startBrokerProcess({
    policy: policyOf(issuer.url, rules).replace("**", "ci") + attackers,
    ...(fields !== undefined && { fields }),
    ...(env && { env }),
    ...(audit !== undefined && { audit }),
  });
  try {
    const [, keys = ""] = /keys ([\w,-]+)/.exec(broker.said.join("")) ?? [];
    const keyList = keys.split(",");
    const exp = Math.floor(Date.now() / 1000) + day;
    const token = await issuer.sign({ sub: "ci", aud: broker.url, exp });
    const attacker = await issuer.sign({ sub: "attacker", aud: broker.url, exp });
    const jwks = await (await fetch(`${broker.url}/.well-known/jwks.json`)).text();
    const load = await startLoad({
      url: broker.url,
      keys: keyList,
      token,
      uri: parts.uri ?? "env://API_TOKEN",
      value: "guessme",
    });
    await load.recovered();
    await setTimeout(calm);
    const came = await run(parts, { broker, load, token, attacker, keys: keyList });
    const { note, good } = typeof came === "object" ? came : { note: came, good: true };
    const recovery = await load.recovered();
    await setTimeout(calm);
    await load.stop();

    const keysFile = join(broker.folder, "jwks.json");
    writeFileSync(keysFile, jwks);
    await broker.end("SIGINT");
    const lines = (await log?.read()) ?? readFileSync(broker.auditFile, "utf8");
    const released = new Set(
      lines
        .split("\n")
        .flatMap((line) => /"outcome":"(?:released|repeat)".*"jti":"([^"]+)"/.exec(line)?.[1] ?? []),
    );
    const lost = load.acknowledged.filter((jti) => !released.has(jti)).length;
    // The newest head that a client was given has to be in it.
    const heads = load.heads().flatMap((head) => ["--head", head]);
    const verified = spawnSync(
      process.execPath,
      [entry, "audit", "verify", "--keys", keysFile, ...heads, ...(log?.arguments ?? [broker.auditFile])],
      { encoding: "utf8", env: { ...process.env, ...log?.env } },
    );
    const codes = [...load.seen].sort(([a], [b]) => (a === "ok" ? -1 : b === "ok" ? 1 : a.localeCompare(b)));
    const twice = load.spentTwice.length;
    return {
      good: good && lost === 0 && twice === 0 && verified.status === 0,
      row: [
        name,
        codes.map(([code, count]) => `${count} ${code}`).join(", "),
        `${(recovery / 1000).toFixed(1)} s`,
        String(lost),
        verified.status === 0 ? "whole" : verified.stdout.trim() || verified.stderr.trim(),
        String(twice),
        note ?? "",
      ],
    };
  } finally {
    await broker.end("SIGKILL");
    await parts.close?.();
    await broker.remove();
    issuer.stop();
  }
}

const words = process.argv.slice(2);
const chosen = [...scenarios, ...ofSources, ...attacks].filter(
  ({ name }) => words.length === 0 || words.some((word) => name.includes(word)),
);
const rows: string[][] = [];
let allGood = true;
for (const each of chosen) {
  const { row, good } = await observe(each);
  rows.push(row);
  process.stderr.write(`${row.join("; ")}\n`);
  allGood &&= good;
}
table(
  "What was broken under load, and what came of it",
  ["fault", "what clients saw", "next value after", "lost", "log", "spent twice", ""],
  rows,
);
process.exit(allGood ? 0 : 1);
