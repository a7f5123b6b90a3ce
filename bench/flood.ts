/**
 * One tenant asks as fast as it can, over 64 connections and far beyond its quota, while another asks for a handle 50
 * times a second: how much longer the second one waits for its answers than it does alone. Both halves of a round are
 * measured one after the other with the same broker, the real command with its log on disk.
 */

import { spawn } from "node:child_process";
import { Agent, request } from "node:http";
import { json } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { openIssuer } from "../test/parts/issuer.ts";
import { startBrokerProcess } from "../test/support/broker-process.ts";
import { median, table } from "./report.ts";

const rounds = 3;
/** How long each half of a round takes, in milliseconds. */
const time = 3_000;
const interval = 20;
const floodConnections = 64;

const tenant = (name: string) => `  ${name}:
    principals:
      - { issuer: ci, claims: { sub: "${name}-*" }, roles: [requester] }
    rules:
      - { name: variables, actions: [issue], secrets: ["env://**"] }
`;

/** Asks for one handle. @returns the status. */
function ask(url: string, token: string, agent: Agent): Promise<number> {
  const body = '{"secrets":[{"uri":"env://API_TOKEN"}]}';
  const headers = {
    authorization: `Bearer ${token}`,
    "content-type": "application/json",
    "content-length": body.length,
  };
  return new Promise((resolve, reject) => {
    const asking = request(`${url}/v1/handles`, { agent, method: "POST", headers }, (answer) => {
      answer.resume().once("end", () => resolve(answer.statusCode!));
    });
    asking.once("error", reject).end(body);
  });
}

/** Asks at a steady pace, whatever the answers do. @returns how long each answer took, in milliseconds. */
async function askSteadily(url: string, token: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const took: Promise<number>[] = [];
  const start = performance.now();
  for (let nth = 0; nth * interval < time; nth++) {
    await setTimeout(Math.max(0, start + nth * interval - performance.now()));
    const due = performance.now();
    took.push(
      ask(url, token, agent).then((status) => {
        if (status !== 200) throw new Error(`the quiet tenant was answered ${status}`);
        return performance.now() - due;
      }),
    );
  }
  const times = await Promise.all(took);
  agent.destroy();
  return times;
}

type Counts = Readonly<Record<number, number>>;

/** Asks as fast as it is answered until its input ends, and says how many answers of each status it got. */
async function flood(url: string, token: string): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: floodConnections });
  const counts: Record<number, number> = {};
  let flowing = true;
  process.stdin.resume().once("end", () => {
    flowing = false;
  });
  const lane = async () => {
    while (flowing) {
      const status = await ask(url, token, agent);
      counts[status] = (counts[status] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: floodConnections }, lane));
  process.stdout.write(JSON.stringify(counts), () => process.exit());
}

/** In a process of its own, or the quiet tenant would wait for the loud one here and not in the broker. */
function startFlood(url: string, token: string): () => Promise<Counts> {
  const script = fileURLToPath(import.meta.url);
  const loud = spawn("setpriv", ["--pdeathsig", "KILL", process.execPath, script, url, token], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  return async () => {
    loud.stdin.end();
    return (await json(loud.stdout)) as Counts;
  };
}

const percentile = (times: readonly number[], part: number) =>
  [...times].sort((a, b) => a - b)[Math.ceil(times.length * part) - 1] as number;

async function measure(name: string, fields: string): Promise<string[]> {
  const issuer = await openIssuer("ES256");
  const policy = `version: 1\nissuers:\n  ci: { issuer: "${issuer.url}", algorithms: [ES256] }\ntenants:\n${tenant("quiet")}${tenant("loud")}`;
  const broker = await startBrokerProcess({ policy, fields });
  const [quiet, loud] = (await Promise.all(
    ["quiet-1", "loud-1"].map((sub) => issuer.sign({ sub, aud: broker.url })),
  )) as [string, string];
  const ratios: number[] = [];
  const alone: number[] = [];
  const beside: number[] = [];
  const answered = { passed: 0, refused: 0 };
  try {
    await askSteadily(broker.url, quiet);
    for (let round = 0; round < rounds; round++) {
      const before = percentile(await askSteadily(broker.url, quiet), 0.99);
      const stop = startFlood(broker.url, loud);
      const during = percentile(await askSteadily(broker.url, quiet), 0.99);
      const { 200: passed = 0, 429: refused = 0 } = await stop();
      answered.passed += passed;
      answered.refused += refused;
      ratios.push(during / before);
      alone.push(before);
      beside.push(during);
    }
  } finally {
    await broker.end("SIGKILL");
    await broker.remove();
    issuer.stop();
  }
  const perSecond = (count: number) => ((count * 1000) / (rounds * time)).toFixed(0);
  return [
    name,
    median(alone).toFixed(1),
    median(beside).toFixed(1),
    `${median(ratios).toFixed(2)} ×`,
    perSecond(answered.passed),
    perSecond(answered.refused),
  ];
}

export async function run(): Promise<void> {
  const unlimited = "quotas: { issue: { principal: 100000000, tenant: 100000000 } }\n";
  table(
    `p99 of a tenant's requests beside another's flood over ${floodConnections} connections, medians of ${rounds} rounds`,
    ["", "alone, ms", "beside it, ms", "ratio", "flood: 200/s", "429/s"],
    [
      await measure("within its quota", unlimited),
      await measure("beyond its quota", "quotas: { issue: { principal: 3000 } }\n"),
    ],
  );
}

const [url, token] = process.argv.slice(2);
if (url && token) await flood(url, token);
else if (import.meta.main) await run();
