/**
 * Issuing and redeeming beside another checkout, which has its node_modules: `node bench/against.ts DIR`. Both brokers have
 * their log on disk and take turns, and a ratio is of the two turns of one round. A third contender is this checkout as a
 * central broker is asked: the token comes sealed, and every request has a proof. Clients' work is done beforehand.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { sealToken } from "../shared/sealed-token.ts";
import type { Jwks } from "../shared/wire.ts";
import { brokerName, identity, issueBody, measure, proven, redemptionsOf, startServer } from "./broker.ts";
import { median, table } from "./report.ts";

const requests = 320;
const rounds = 9;

interface Contender {
  readonly name: string;
  readonly url: string;
  readonly accessToken: string;
  /** Whether issuing takes a proof too. */
  readonly proves: boolean;
}

async function measureOnce({ url, accessToken, proves }: Contender, batch: number) {
  const path = "/v1/handles";
  const body = issueBody(batch);
  const headers = { authorization: `DPoP ${accessToken}` };
  const count = Math.ceil(requests / Math.sqrt(batch));
  const calls = Array.from({ length: count }, () =>
    proves ? proven(accessToken, path, body) : { path, body, headers },
  );
  const issued = await measure(url, await Promise.all(calls));
  const redeemed = await measure(url, await redemptionsOf(issued.answers, accessToken));
  return { issue: issued.rate * batch, redeem: redeemed.rate * batch };
}

async function seal({ url, accessToken }: Pick<Contender, "url" | "accessToken">): Promise<string> {
  const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as Jwks;
  const key = keys.find(({ use }) => use === "enc") as Jwks["keys"][number];
  return sealToken(accessToken, { iss: brokerName, jkt: identity.jkt }, key);
}

export async function compare(other: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-bench-"));
  const start = (checkout: string, log: string) =>
    startServer(join(checkout, "bench", "broker-server.ts"), "broker", join(folder, log));
  const there = await start(other, "there.jsonl");
  const here = await start(join(import.meta.dirname, ".."), "here.jsonl");
  const contenders: Contender[] = [
    { name: "that checkout", ...there, proves: false },
    { name: "this one", ...here, proves: false },
    { name: "this one, sealed token and proof", ...here, accessToken: await seal(here), proves: true },
  ];
  const rows: string[][] = [];
  for (const batch of [1, 10]) {
    const measured = contenders.map(() => [] as { issue: number; redeem: number }[]);
    // The first round warms up; the order changes from round to round.
    for (let round = -1; round < rounds; round++) {
      for (const nth of round % 2 ? [0, 1, 2] : [2, 1, 0]) {
        const rates = await measureOnce(contenders[nth] as Contender, batch);
        if (round >= 0) measured[nth]?.push(rates);
      }
    }
    const beside = (nth: number, what: "issue" | "redeem") =>
      `${median((measured[nth] ?? []).map((rates, round) => rates[what] / (measured[0]?.[round]?.[what] ?? 0))).toFixed(2)} ×`;
    for (const [nth, { name }] of contenders.entries()) {
      const of = (what: "issue" | "redeem") =>
        median((measured[nth] ?? []).map((rates) => rates[what])).toFixed(0);
      rows.push([
        name,
        String(batch),
        of("issue"),
        beside(nth, "issue"),
        of("redeem"),
        beside(nth, "redeem"),
      ]);
    }
  }
  for (const { stop } of [here, there]) await stop();
  await rm(folder, { recursive: true });
  const columns = ["", "batch", "issued/s", "of that", "redeemed/s", "of that"];
  table(`Handles a second over HTTP, log on disk, medians of ${rounds} alternating rounds`, columns, rows);
}

const [other] = process.argv.slice(2);
if (other === undefined) throw new Error("usage: node bench/against.ts CHECKOUT");
await compare(resolve(other));
