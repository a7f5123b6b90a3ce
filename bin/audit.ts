/** claimcheck audit: whether an audit log is still what a broker wrote. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Command } from "commander";
import { Failure } from "../executor/failure.ts";
import type { AuditHead } from "../shared/audit-head.ts";
import type { FindKey } from "../shared/handle.ts";
import { stateFolder } from "./environment.ts";

/** As of a test that did not pass. */
const negative = 1;

interface Options {
  readonly keys?: string;
  readonly head: readonly string[];
}

export function auditCommand(): Command {
  return new Command("audit").description("Look at an audit log without a broker.").addCommand(
    new Command("verify")
      .description("Say the first line that is not as a broker wrote it; exit code 1 if there is one.")
      .argument("<file...>", "its files, the oldest first")
      .option("--keys <FILE>", "the broker's jwks.json; without it, the keys of this user's embedded broker")
      .option(
        "--head <HEAD>",
        "a head that was kept elsewhere, or a file with heads: the log has to have them still (repeatable)",
        (head: string, before: readonly string[]) => [...before, head],
        [],
      )
      .action(verify),
  );
}

async function verify(files: readonly string[], { keys, head }: Options): Promise<void> {
  const { verifyChain } = await import("../broker/audit/verify.ts");
  const findKey = keys === undefined ? await ownKeys() : await publishedKeys(keys);
  const texts = (await Promise.all(head.map(readHeads))).flat();
  const heads = await Promise.all(texts.map((text) => readHead(text, findKey)));
  const { lines, broken } = await verifyChain(files, findKey, heads).catch((cause) => {
    throw unreadable((cause as NodeJS.ErrnoException).path ?? files.join(" "), cause);
  });
  if (!broken) {
    process.stdout.write(`${files.join(" ")}: whole, ${lines} lines\n`);
    return;
  }
  const record = broken.seq === undefined ? "" : `seq ${broken.seq}: `;
  process.stderr.write(`${broken.file}:${broken.line}: ${record}expected ${broken.expected}\n`);
  process.exitCode = negative;
}

/** What a head looks like, and no path does. */
const headForm = /^eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;

/** The head itself, or those in a file, one a line. */
async function readHeads(given: string): Promise<string[]> {
  if (headForm.test(given)) return [given];
  const text = await readFile(given, "utf8").catch((cause) => {
    throw unreadable(given, cause);
  });
  return text.split("\n").filter(Boolean);
}

async function readHead(text: string, findKey: FindKey): Promise<AuditHead> {
  const { readAuditHead } = await import("../shared/audit-head.ts");
  return readAuditHead(text, findKey).catch((cause) => {
    throw new Failure("usage", { detail: "--head takes a head that one of the broker's keys signed", cause });
  });
}

async function publishedKeys(path: string): Promise<FindKey> {
  const [{ findAuditKeys }, { Jwks }] = await Promise.all([
    import("../shared/audit-head.ts"),
    import("../shared/wire.ts"),
  ]);
  const text = await readFile(path, "utf8").catch((cause) => {
    throw unreadable(path, cause);
  });
  try {
    return findAuditKeys(Jwks.parse(JSON.parse(text)));
  } catch (cause) {
    throw new Failure("usage", { detail: `${path} is no broker's jwks.json`, cause });
  }
}

async function ownKeys(): Promise<FindKey> {
  const [{ createKeys }, { readRootKey }] = await Promise.all([
    import("../broker/keys.ts"),
    import("./root-key.ts"),
  ]);
  const path = join(stateFolder(process.env), "root-key");
  const rootKey = await readRootKey(path).catch((cause) => {
    throw cause instanceof Failure ? cause : unreadable(path, cause);
  });
  return (await createKeys(rootKey)).findAuditKey;
}

const unreadable = (path: string, cause: NodeJS.ErrnoException) =>
  new Failure("usage", { detail: `${path} cannot be read (${cause.code})`, cause });
