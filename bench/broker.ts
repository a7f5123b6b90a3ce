/**
 * Issuing and redeeming over HTTP, 32 connections, beside a bare Hono route that echoes the same JSON and, where `bao`
 * is installed, beside OpenBao's wrapping. Handles are bound and proofs are made beforehand, because making them is
 * the client's work.
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
import { createIdentity } from "../executor/identity.ts";
import { makeProof } from "../shared/proof.ts";
import { table } from "./report.ts";

/** What brokers here are called in handles and proofs, wherever they listen. */
export const brokerName = "http://claimcheck.bench";

const connections = 32;
const requests = 2000;

interface Call {
  readonly path: string;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

const agent = new Agent({ keepAlive: true, maxSockets: connections });

async function send(url: string, { path, body, headers }: Call): Promise<string> {
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
async function measure(url: string, calls: readonly Call[]): Promise<{ rate: number; answers: string[] }> {
  const answers: string[] = [];
  let next = 0;
  const lane = async () => {
    for (let nth = next++; nth < calls.length; nth = next++)
      answers.push(await send(url, calls[nth] as Call));
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: connections }, lane));
  return { rate: (calls.length / (performance.now() - start)) * 1000, answers };
}

const identity = await createIdentity();

const issueBody = (batch: number) =>
  JSON.stringify({
    secrets: Array.from({ length: batch }, () => ({ uri: "env://API_TOKEN", jkt: identity.jkt })),
  });

async function redemption(handles: readonly string[], accessToken: string): Promise<Call> {
  const { encryptionKey, proofKey } = identity;
  const path = "/v1/redemptions";
  const body = JSON.stringify({ id: randomUUID(), handles, key: encryptionKey });
  const covered = { method: "POST", url: `${brokerName}${path}`, accessToken, body, encryptionKey };
  const { jwt: dpop } = await makeProof(covered, proofKey);
  return { path, body, headers: { authorization: `DPoP ${accessToken}`, dpop } };
}

async function measureBroker(url: string, accessToken: string, batch: number) {
  const calls = Math.ceil(requests / batch);
  const call = {
    path: "/v1/handles",
    body: issueBody(batch),
    headers: { authorization: `DPoP ${accessToken}` },
  };
  const issued = await measure(
    url,
    Array.from({ length: calls }, () => call),
  );
  const redemptions = await Promise.all(
    issued.answers.map((answer) => {
      const { handles } = JSON.parse(answer) as { handles: { handle: string }[] };
      return redemption(
        handles.map(({ handle }) => handle),
        accessToken,
      );
    }),
  );
  return { issue: issued.rate, redeem: (await measure(url, redemptions)).rate };
}

async function start(command: string, args: readonly string[], isReady: (line: string) => boolean) {
  const server: ChildProcess = spawn(command, args, { stdio: ["ignore", "pipe", "ignore"] });
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

async function startOurs(...args: string[]) {
  const script = fileURLToPath(new URL("broker-server.ts", import.meta.url));
  const { line, stop } = await start(process.execPath, [script, ...args], () => true);
  return { ...(JSON.parse(line) as { url: string; accessToken: string }), stop };
}

/** OpenBao's own way to hand on a value once: wrap it, unwrap it. */
async function measureOpenBao(): Promise<{ issue: number; redeem: number } | undefined> {
  const url = "http://127.0.0.1:18222";
  const args = ["server", "-dev", "-dev-root-token-id=root", `-dev-listen-address=${new URL(url).host}`];
  const server = await start("bao", args, (line) => line.includes("Development mode should NOT")).catch(
    () => undefined,
  );
  if (!server) return undefined;
  try {
    const wrap = {
      path: "/v1/sys/wrapping/wrap",
      body: JSON.stringify({ value: "guessme" }),
      headers: { "x-vault-token": "root", "x-vault-wrap-ttl": "900" },
    };
    const wrapped = await measure(
      url,
      Array.from({ length: requests }, () => wrap),
    );
    const unwraps = wrapped.answers.map((answer) => {
      const { token } = (JSON.parse(answer) as { wrap_info: { token: string } }).wrap_info;
      return { path: "/v1/sys/wrapping/unwrap", body: "{}", headers: { "x-vault-token": token } };
    });
    return { issue: wrapped.rate, redeem: (await measure(url, unwraps)).rate };
  } finally {
    await server.stop();
  }
}

export async function run(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-bench-"));
  const rows: string[][] = [];
  const row = (
    what: string,
    batch: number,
    { issue, redeem }: { issue: number; redeem?: number },
    hono: number,
  ) => {
    const shown = (rate?: number) => (rate === undefined ? "" : String(Math.round(rate)));
    rows.push([
      what,
      String(batch),
      shown(issue),
      shown(redeem),
      shown(issue * batch),
      `${(issue / hono).toFixed(2)}×`,
    ]);
  };
  for (const batch of [1, 10]) {
    const hono = await startOurs("hono");
    const echo = { path: "/v1/handles", body: issueBody(batch), headers: {} };
    const calls = Array.from({ length: requests }, () => echo);
    await measure(hono.url, calls);
    const { rate } = await measure(hono.url, calls);
    await hono.stop();
    row("bare Hono, echo", batch, { issue: rate }, rate);
    for (const [what, ...audit] of [
      ["Claimcheck, no log"],
      ["Claimcheck, log on disk", join(folder, `audit-${batch}`)],
    ] as [string, ...string[]][]) {
      const broker = await startOurs("broker", ...audit);
      await measureBroker(broker.url, broker.accessToken, batch);
      row(what, batch, await measureBroker(broker.url, broker.accessToken, batch), rate);
      await broker.stop();
    }
    const bao = batch === 1 ? await measureOpenBao() : undefined;
    if (bao) row("OpenBao, wrap and unwrap", batch, bao, rate);
  }
  await rm(folder, { recursive: true });
  agent.destroy();
  const columns = ["", "batch", "issue/s", "redeem/s", "handles/s", "of bare Hono"];
  table("Requests a second over HTTP, 32 connections", columns, rows);
}

if (import.meta.main) await run();
