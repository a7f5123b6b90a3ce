/** claimcheck audit verify: whether an audit log is still what a broker wrote. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import type { ChainPart, Verdict } from "../../broker/audit/verify.ts";
import type { AuditHead } from "../../shared/audit-head.ts";
import { Failure } from "../../shared/failure.ts";
import type { FindKey } from "../../shared/statement.ts";
import { stateFolder } from "../host/environment.ts";
import { openSource, postgresHelp, unreadable } from "./audit-input.ts";

/** As of a test that did not pass. */
const negative = 1;

interface VerifyOptions {
  readonly postgres?: true;
  readonly keys?: string;
  readonly head: readonly string[];
}

export function verifyCommand(): Command {
  return new Command("verify")
    .description("Print the first line that a broker did not write; exit code 1 if there is one.")
    .argument("[log...]", "the files of the log, the oldest first")
    .option("--postgres", postgresHelp)
    .option("--keys <FILE>", "the broker's jwks.json; without it, the keys of this user's embedded broker")
    .option(
      "--head <HEAD>",
      "a head that was kept elsewhere, or a file with heads; the log must still contain them (repeatable)",
      (head: string, before: readonly string[]) => [...before, head],
      [],
    )
    .action(verify);
}

async function verify(names: readonly string[], { postgres, keys, head }: VerifyOptions): Promise<void> {
  const { firstKeyId, verifyChain } = await import("../../broker/audit/verify.ts");
  const { findKey, ids } = keys === undefined ? await ownKeys() : await publishedKeys(keys);
  const texts = (await Promise.all(head.map(readHeads))).flat();
  const heads = await Promise.all(texts.map((text) => readHead(text, findKey)));
  const source = await openSource(names, postgres ?? false, process.env);
  try {
    const chains = await source.chains();
    if (chains.length === 0) throw nothingIn(source.name);
    const chainIds = new Set<string>();
    const newer: NonNullable<Verdict["newer"]>[] = [];
    for (const { name, parts } of chains) {
      // Where there are several, each head is of one of them.
      const own = chains.length > 1 ? await idOf(parts) : undefined;
      if (own) chainIds.add(own);
      const ofIt = heads.filter(({ chain }) => own === undefined || chain === own);
      const kid = keys === undefined ? await firstKeyId(parts) : undefined;
      if (kid !== undefined && !ids.includes(kid)) {
        throw new Failure("usage", {
          detail:
            `${name} is signed by the key ${kid}, and this user's embedded broker has another one; ` +
            "give --keys FILE, a copy of /.well-known/jwks.json of the broker that wrote it",
        });
      }
      const verdict = await verifyChain(parts, findKey, ofIt);
      if (verdict.lines === 0 && !verdict.broken) throw nothingIn(name);
      tell(name, verdict);
      if (verdict.newer) newer.push(verdict.newer);
    }
    for (const { chain } of heads) {
      if (chains.length > 1 && !chainIds.has(chain)) fail(`expected chain ${chain}, which a head is of`);
    }
    if (newer[0]) throw newerFailure(newer[0]);
  } catch (cause) {
    throw unreadable(source, cause);
  } finally {
    await source.close();
  }
}

/** That is no fault of a log, and no proof that it is whole. */
const nothingIn = (name: string) =>
  new Failure("usage", {
    detail: `${name} is empty, so nothing was verified: no decision was recorded yet, or all were taken away; --head tells`,
  });

/** Nothing is wrong with such a log as far as this program can tell, and it can tell nothing of what follows. */
const newerFailure = ({ part, line, why }: NonNullable<Verdict["newer"]>) =>
  new Failure("audit_newer", {
    detail: `${part}:${line}: ${why}; the lines before it are whole; verify the log with the version that wrote it`,
  });

function tell(name: string, { lines, losses, broken, newer }: Verdict): void {
  if (newer) return;
  if (!broken) {
    const lost = losses > 0 ? `; ${losses} of them accept that others were missing` : "";
    process.stdout.write(`${name}: whole, ${lines} lines${lost}\n`);
    return;
  }
  const record = broken.seq === undefined ? "" : `seq ${broken.seq}: `;
  fail(`${broken.part}:${broken.line}: ${record}expected ${broken.expected}`);
}

function fail(why: string): void {
  process.stderr.write(`${why}\n`);
  process.exitCode = negative;
}

/** Which chain it is, as its first line says. */
async function idOf(parts: readonly ChainPart[]): Promise<string | undefined> {
  const { decodeLine } = await import("../../broker/audit/record.ts");
  for await (const bytes of parts[0]?.lines() ?? []) {
    const line = bytes && decodeLine(bytes);
    return line?.type === "chain" ? line.chain : "";
  }
  return "";
}

/** What a head looks like, and no path does. */
const headForm = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** The head itself, or those in a file, one a line. */
async function readHeads(given: string): Promise<string[]> {
  if (headForm.test(given)) return [given];
  const text = await readFile(given, "utf8").catch((cause) => {
    throw unreadable({ name: given }, cause);
  });
  return text.split("\n").filter(Boolean);
}

async function readHead(text: string, findKey: FindKey): Promise<AuditHead> {
  const { readAuditHead } = await import("../../shared/audit-head.ts");
  return readAuditHead(text, findKey).catch((cause) => {
    throw new Failure("usage", { detail: "--head takes a head that one of the broker's keys signed", cause });
  });
}

interface AuditKeys {
  readonly findKey: FindKey;
  readonly ids: readonly string[];
}

async function publishedKeys(path: string): Promise<AuditKeys> {
  const [{ findAuditKeys }, { Jwks }] = await Promise.all([
    import("../../shared/audit-head.ts"),
    import("../../shared/wire.ts"),
  ]);
  const text = await readFile(path, "utf8").catch((cause) => {
    throw unreadable({ name: path }, cause);
  });
  try {
    const jwks = Jwks.parse(JSON.parse(text));
    return { findKey: findAuditKeys(jwks), ids: jwks.keys.map(({ kid }) => kid) };
  } catch (cause) {
    throw new Failure("usage", { detail: `${path} is not a broker's jwks.json`, cause });
  }
}

async function ownKeys(): Promise<AuditKeys> {
  const [{ createKeys }, { readRootKey }] = await Promise.all([
    import("../../broker/keys/keys.ts"),
    import("../host/key-files.ts"),
  ]);
  const path = join(stateFolder(process.env), "root-key");
  const rootKey = await readRootKey(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause instanceof Failure) throw cause;
    if (cause.code !== "ENOENT") throw unreadable({ name: path }, cause);
    throw new Failure("usage", {
      detail:
        `without --keys a log is taken for that of this user's embedded broker, and there was none yet (${path}); ` +
        "give --keys FILE, a copy of /.well-known/jwks.json of the broker that wrote it",
    });
  });
  const { findAuditKey: findKey, jwks } = await createKeys(rootKey);
  return { findKey, ids: jwks.keys.map(({ kid }) => kid) };
}
