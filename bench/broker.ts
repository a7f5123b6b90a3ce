/**
 * Issuing and redeeming over HTTP, 32 connections, beside a bare Hono route that echoes the same JSON and, where `bao`
 * is installed, beside OpenBao's wrapping. Handles are bound and proofs are made beforehand, because making them is
 * the client's work. All servers take turns, and what is compared is compared within a round.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { createIdentity } from "../executor/broker-client/identity.ts";
import { makeProof } from "../shared/proof.ts";
import type { EncryptionKey } from "../shared/wire.ts";
import { startPostgres } from "../test/parts/postgres.ts";
import { median, table } from "./report.ts";

/** What brokers here are called in handles and proofs, wherever they listen. */
export const brokerName = "http://claimcheck.bench";

const connections = 32;
const requests = 1000;
const rounds = 7;

export interface Call {
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

async function send(url: string, { path, body, headers }: Call, agent: Agent): Promise<string> {
  const asking = request(`${url}${path}`, {
    agent,
    method: "POST",
    headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers },
  });
  asking.end(body);
  const [answer] = await once(asking, "response");
  const answered = await text(answer);
  if (answer.statusCode !== 200) throw new Error(`${path}: ${answer.statusCode} ${answered}`);
  return answered;
}

/** Sends every call, so many at a time, and tells how many went through in a second. */
export async function measure(
  url: string,
  calls: readonly Call[],
): Promise<{ rate: number; answers: string[] }> {
  // Its own connections: those of the last round were closed for being idle.
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const answers: string[] = [];
  let next = 0;
  const lane = async () => {
    for (let nth = next++; nth < calls.length; nth = next++)
      answers.push(await send(url, calls[nth] as Call, agent));
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: connections }, lane));
  const rate = (calls.length / (performance.now() - start)) * 1000;
  agent.destroy();
  return { rate, answers };
}

export const identity = await createIdentity();

export const issueBody = (batch: number) =>
  JSON.stringify({
    secrets: Array.from({ length: batch }, () => ({ uri: "env://API_TOKEN", jkt: identity.jkt })),
  });

/** A request with a proof of its own. */
export async function proven(
  accessToken: string,
  path: string,
  body: string,
  encryptionKey?: EncryptionKey,
): Promise<Call> {
  const covered = { method: "POST", url: `${brokerName}${path}`, accessToken, body };
  const { jwt: dpop } = await makeProof(
    { ...covered, ...(encryptionKey && { encryptionKey }) },
    identity.proofKey,
  );
  return { path, body, headers: { authorization: `DPoP ${accessToken}`, dpop } };
}

/** Redeems what each of these answers of `POST /v1/handles` has. */
export const redemptionsOf = (answers: readonly string[], accessToken: string): Promise<Call[]> =>
  Promise.all(
    answers.map((answer) => {
      const { handles } = JSON.parse(answer) as { handles: { handle: string }[] };
      const { encryptionKey: key } = identity;
      const body = { id: randomUUID(), handles: handles.map(({ handle }) => handle), key };
      return proven(accessToken, "/v1/redemptions", JSON.stringify(body), key);
    }),
  );

async function measureBroker(url: string, accessToken: string, batch: number) {
  const calls = Math.ceil(requests / Math.sqrt(batch));
  const call = {
    path: "/v1/handles",
    body: issueBody(batch),
    headers: { authorization: `DPoP ${accessToken}` },
  };
  const issued = await measure(
    url,
    Array.from({ length: calls }, () => call),
  );
  const redemptions = await redemptionsOf(issued.answers, accessToken);
  return { issue: issued.rate, redeem: (await measure(url, redemptions)).rate };
}

async function start(command: string, args: readonly string[], isReady: (line: string) => boolean) {
  // Whatever ends the bench ends its servers.
  const server: ChildProcess = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await Promise.race([once(server, "spawn"), once(server, "error").then(([error]) => Promise.reject(error))]);
  const stop = async () => {
    server.kill("SIGKILL");
    await once(server, "exit");
  };
  for await (const line of createInterface(server.stdout!)) {
    if (!isReady(line)) continue;
    server.stdout!.resume();
    return { line, stop };
  }
  throw new Error(`${command} ended`);
}

const startOurs = (...args: string[]) =>
  startServer(fileURLToPath(new URL("broker-server.ts", import.meta.url)), ...args);

/** @param script this checkout's broker-server.ts, or another one's. */
export async function startServer(script: string, ...args: string[]) {
  const { line, stop } = await start(process.execPath, [script, ...args], () => true);
  return { ...(JSON.parse(line) as { url: string; accessToken: string }), stop };
}

interface Rates {
  readonly issue: number;
  readonly redeem?: number;
}

interface Contender {
  readonly name: string;
  measure(): Promise<Rates>;
  stop(): Promise<void>;
}

async function startHono(batch: number): Promise<Contender> {
  const { url, stop } = await startOurs("hono");
  const echo = { path: "/v1/handles", body: issueBody(batch), headers: {} };
  const calls = Array.from({ length: requests }, () => echo);
  return {
    name: "bare Hono, echo",
    stop,
    measure: async () => ({ issue: (await measure(url, calls)).rate }),
  };
}

async function startBroker(name: string, batch: number, ...audit: string[]): Promise<Contender> {
  const { url, accessToken, stop } = await startOurs("broker", ...audit);
  return { name, stop, measure: () => measureBroker(url, accessToken, batch) };
}

/** OpenBao's own way to hand on a value once: wrap it, unwrap it. */
async function startOpenBao(): Promise<Contender | undefined> {
  const url = "http://127.0.0.1:18222";
  const args = ["server", "-dev", "-dev-root-token-id=root", `-dev-listen-address=${new URL(url).host}`];
  const server = await start("bao", args, (line) => line.includes("Development mode should NOT")).catch(
    () => undefined,
  );
  const wrap = {
    path: "/v1/sys/wrapping/wrap",
    body: JSON.stringify({ value: "guessme" }),
    headers: { "x-vault-token": "root", "x-vault-wrap-ttl": "900" },
  };
  const wraps = Array.from({ length: requests }, () => wrap);
  return (
    server && {
      name: "OpenBao, wrap and unwrap",
      stop: server.stop,
      async measure() {
        const wrapped = await measure(url, wraps);
        const unwraps = wrapped.answers.map((answer) => {
          const { token } = (JSON.parse(answer) as { wrap_info: { token: string } }).wrap_info;
          return { path: "/v1/sys/wrapping/unwrap", body: "{}", headers: { "x-vault-token": token } };
        });
        return { issue: wrapped.rate, redeem: (await measure(url, unwraps)).rate };
      },
    }
  );
}

const noLog = "Claimcheck, no log";
const onDisk = "Claimcheck, log on disk";
const inPostgres = "Claimcheck, log in PostgreSQL";

async function compare(batch: number): Promise<string[][]> {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-bench-"));
  const bao = batch === 1 ? await startOpenBao() : undefined;
  const hono = await startHono(batch);
  const bare = await startBroker(noLog, batch);
  const logged = await startBroker(onDisk, batch, join(folder, "audit.jsonl"));
  const postgres = await startPostgres();
  const stored = await startBroker(inPostgres, batch, (await postgres.create()).url);
  const contenders = [hono, bare, logged, stored, ...(bao ? [bao] : [])];
  const measured = new Map(contenders.map(({ name }) => [name, [] as Rates[]]));
  // The first round warms up.
  for (let round = -1; round < rounds; round++) {
    for (const { name, measure } of contenders) {
      const rates = await measure();
      if (round >= 0) measured.get(name)?.push(rates);
    }
  }
  for (const { stop } of contenders) await stop();
  await postgres.stop();
  await rm(folder, { recursive: true });

  const of = (name: string, what: keyof Rates) => (measured.get(name) ?? []).map((rates) => rates[what] ?? 0);
  const beside = (name: string, other: string, what: keyof Rates) => {
    const others = of(other, what);
    return `${median(of(name, what).map((rate, round) => rate / (others[round] as number))).toFixed(2)} ×`;
  };
  return contenders.map(({ name }) => {
    const [issue, redeem] = [median(of(name, "issue")), median(of(name, "redeem"))];
    const isOurs = [noLog, onDisk, inPostgres].includes(name);
    return [
      name,
      String(batch),
      issue.toFixed(0),
      redeem > 0 ? redeem.toFixed(0) : "",
      (issue * batch).toFixed(0),
      beside(name, hono.name, "issue"),
      isOurs ? `${beside(name, noLog, "issue")}, ${beside(name, noLog, "redeem")}` : "",
    ];
  });
}

export async function run(): Promise<void> {
  const rows = [...(await compare(1)), ...(await compare(10))];
  const columns = [
    "",
    "batch",
    "issue/s",
    "redeem/s",
    "handles/s",
    "of bare Hono",
    "of no log: issue, redeem",
  ];
  table(
    `Requests a second over HTTP, ${connections} connections, medians of ${rounds} rounds`,
    columns,
    rows,
  );
}

if (import.meta.main) await run();
