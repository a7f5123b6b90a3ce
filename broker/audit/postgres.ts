/**
 * Chains in one table of a PostgreSQL database, one for each broker, and what replicas share. The text of a line is
 * kept as it is; the columns beside it are there to find it by, and `audit verify` compares them with it.
 *
 * The writer holds an advisory lock on its chain, in the session that writes, so that two of them cannot be; after a
 * lost connection the lock waits until the server has ended what the old session was about. So it has to be a session of
 * its own, and not one of a pooler's. A write is one statement.
 */
import { createHash } from "node:crypto";
import { Client, type ClientConfig, Pool } from "pg";
import { readAuditHead } from "../../shared/audit-head.ts";
import type { FindKey } from "../../shared/statement.ts";
import { createTable, insertion, insertionOf, queryTable } from "./postgres-table.ts";
import { versionOf } from "./reader.ts";
import { type AuditLine, decodeLine, hashLine, newerForm, newerVersionOf } from "./record.ts";
import { type AuditSink, type ChainEnd, type OpenedChain, unavailable } from "./sink.ts";

interface PostgresSettings {
  readonly url: string;
  /** Names the chain: no two brokers have the same one, and each keeps its own. */
  readonly broker: string;
  readonly findKey: FindKey;
  /** For one operation, in milliseconds. */
  readonly timeLimit?: number;
}

const lockNotAvailable = "55P03";

/** Whatever the network and the server do, nothing waits longer than this. */
const connectionSettings = (url: string | undefined, timeLimit: number): ClientConfig => ({
  ...(url !== undefined && { connectionString: url }),
  connectionTimeoutMillis: timeLimit,
  query_timeout: timeLimit,
  statement_timeout: timeLimit,
  application_name: "claimcheck",
  keepAlive: true,
});

/**
 * For looking into the table.
 *
 * @param url without it the variables are read that psql knows.
 */
export function openPool(url: string | undefined, timeLimit = 60_000): Pool {
  const pool = new Pool({ ...connectionSettings(url, timeLimit), max: 2 });
  // What is under way fails by itself.
  pool.on("error", () => {});
  return pool;
}

export function postgresSink({ url, broker, findKey, timeLimit = 5_000 }: PostgresSettings): AuditSink {
  const settings = connectionSettings(url, timeLimit);
  const readers = openPool(url, timeLimit);
  let writer: Client | undefined;

  function drop(): void {
    // Not waited for: a server that is stuck does not say goodbye either.
    void writer?.end().catch(() => {});
    writer = undefined;
  }

  return {
    async open(): Promise<OpenedChain> {
      drop();
      const client = new Client(settings);
      // What is under way fails by itself, and the next write after it.
      client.on("error", () => {});
      client.on("end", () => {
        if (writer === client) writer = undefined;
      });
      writer = client;
      try {
        await client.connect();
        await makeDurable(client);
        await createTable(client);
        await lock(client, broker, timeLimit);
        const end = await findEnd(client, broker, findKey);
        return end ? { end } : {};
      } catch (cause) {
        drop();
        throw cause;
      }
    },

    append: (lines) => write(lines),
    begin: (lines) => write(lines),
    isFull: () => false,
    isLost: () => writer === undefined,

    async check(end) {
      try {
        if (!writer) throw new Error("there is no connection");
        const found = await findEnd(writer, broker, findKey);
        if (found?.hash !== end?.hash) throw missing();
      } catch (cause) {
        drop();
        throw cause;
      }
    },

    query: (filter, page) => queryTable(readers, filter, page),

    async close(): Promise<void> {
      await Promise.all([writer?.end(), readers.end()]);
    },
  };

  async function write(lines: string): Promise<void> {
    const rows = lines.trimEnd().split("\n");
    try {
      if (!writer) throw new Error("there is no connection");
      const { rowCount } = await writer.query(insertion, insertionOf(broker, rows));
      if (rowCount !== rows.length) throw missing();
    } catch (cause) {
      drop();
      throw cause;
    }
  }
}

/** A commit has to be on the disk, and the text the same when it is read again. */
async function makeDurable(client: Client): Promise<void> {
  const { rows } = await client.query(
    "SELECT current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync",
  );
  const [{ encoding, fsync }] = rows as [{ encoding: string; fsync: string }];
  if (encoding !== "UTF8") throw unavailable(`the database's encoding is ${encoding}, and must be UTF8`);
  if (fsync !== "on") throw unavailable("the server's fsync is off, so a commit is not durable");
  await client.query(
    `SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') IN ('off', 'local')`,
  );
}

/** Held as long as the session lasts. */
async function lock(client: Client, broker: string, timeLimit: number): Promise<void> {
  const key = createHash("sha256").update(`claimcheck audit ${broker}`).digest().readBigInt64BE();
  await client.query(`SELECT set_config('lock_timeout', '${Math.ceil(timeLimit / 2)}', false)`);
  await client.query("SELECT pg_advisory_lock($1::bigint)", [String(key)]).catch((cause) => {
    throw cause.code === lockNotAvailable ? unavailable("another process is writing it") : cause;
  });
}

/** A write is there as a whole or not at all, so the last line is a checkpoint. */
async function findEnd(client: Client, broker: string, findKey: FindKey): Promise<ChainEnd | undefined> {
  const { rows } = await client.query<{ line: string }>(
    "SELECT line FROM claimcheck_audit WHERE broker = $1 ORDER BY seq DESC LIMIT 1",
    [broker],
  );
  const [last] = rows;
  if (!last) return undefined;
  const newer = newerVersionOf(Buffer.from(last.line));
  if (newer !== undefined)
    throw unavailable(`${newerForm(newer)}; start that version, or give this broker another name there`);
  const line: AuditLine | undefined = decodeLine(Buffer.from(last.line));
  const head =
    line?.type === "checkpoint" && (await readAuditHead(line.head, findKey).catch(() => undefined));
  if (!line || !head || head.hash !== line.prev || head.seq !== line.seq - 1) {
    throw unavailable("it was changed, or another key signed it; `claimcheck audit verify` says where");
  }
  return { chain: head.chain, seq: line.seq, hash: hashLine(last.line), version: versionOf(head) };
}

const missing = () => unavailable("its last lines are gone");
