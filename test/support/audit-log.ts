/** An audit log in a file, as a broker writes it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openChain } from "../../broker/audit/chain.ts";
import { fileSink } from "../../broker/audit/file.ts";
import { type AuditLine, type Decision, decodeLine, type Unplaced } from "../../broker/audit/record.ts";
import { createKeys } from "../../broker/keys/keys.ts";
import { Secret } from "../../shared/secret.ts";
import { makeFolder } from "./served.ts";

export const keys = await createKeys(new Secret(new Uint8Array(32)));

export const decision = (request: string): Extract<Unplaced, { type: "decision" }> => ({
  type: "decision",
  action: "redeem",
  outcome: "released",
  tenant: "acme",
  request,
});

export function newLog(): string {
  return join(makeFolder({}), "audit.jsonl");
}

export async function openLog(path: string, fileSize?: number) {
  const sink = fileSink(path, { findKey: keys.findAuditKey, ...(fileSize && { fileSize }) });
  return openChain(sink, keys.auditKey);
}

/** Writes one group after the other, each of decisions about these requests. */
export async function writeLog(path: string, groups: readonly (readonly string[])[], fileSize?: number) {
  const chain = await openLog(path, fileSize);
  const heads: string[] = [];
  for (const group of groups) heads.push(await chain.append(group.map(decision)));
  await chain.close();
  return heads;
}

export const linesOf = (path: string): string[] => readFileSync(path, "utf8").split("\n").slice(0, -1);

export const recordsOf = (path: string): AuditLine[] => linesOf(path).map((line) => JSON.parse(line));

/** Those of a file whose end a crash may have torn: what is no line is passed over. */
export const soundRecordsOf = (path: string): AuditLine[] =>
  linesOf(path).flatMap((line) => decodeLine(Buffer.from(line)) ?? []);

/** The decisions among them. */
export const decisionsOf = (entries: readonly AuditLine[]): Decision[] =>
  entries.filter((entry) => entry.type === "decision");

/** What they call their requests, by which these tests tell them apart. */
export const requestsOf = (entries: readonly AuditLine[]): string[] =>
  decisionsOf(entries).map(({ request }) => request);

/** The ids of the handles whose plaintext left. */
export const releasedIn = (lines: readonly AuditLine[]): (string | undefined)[] =>
  decisionsOf(lines).flatMap(({ outcome, jti }) => (outcome === "released" ? [jti] : []));
