/**
 * The table that chains are kept in, and looking into it:
 *
 *     broker     whose chain it is of
 *     seq, time, type, tenant, principal, uri      as in the line; no NUL, which PostgreSQL's texts cannot hold
 *     line       the line, without its line feed
 *
 * A broker needs to SELECT and INSERT, and to create the table where it is not there yet. Pages go by time, over all
 * brokers: what one of them writes later with an earlier time is in no page that comes after it.
 */
import type { Client, Pool } from "pg";
import * as z from "zod/mini";
import { ClaimcheckError } from "../../shared/errors.ts";
import {
  type AuditFilter,
  type AuditPage,
  createPage,
  fits,
  type PageRequest,
  readCursor,
  writeCursor,
} from "./query.ts";
import { BrokenChain } from "./reader.ts";
import { decodeLine, newerForm, newerVersionOf } from "./record.ts";

interface Column {
  readonly type: string;
  /** Whether every line has it. */
  readonly always?: true;
  /** As what it is read, where that is not its name, so that it is text as in the line. */
  readonly read?: string;
}

const columns = {
  broker: { type: "text", always: true },
  seq: { type: "bigint", always: true, read: "row.seq::text" },
  time: {
    type: "timestamptz",
    always: true,
    read: `to_char(row.time AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`,
  },
  type: { type: "text", always: true },
  tenant: { type: "text" },
  principal: { type: "text" },
  uri: { type: "text" },
  line: { type: "text", always: true },
} satisfies Record<string, Column>;

type ColumnName = keyof typeof columns;

const columnNames = Object.keys(columns) as ColumnName[];

const described = Object.entries<Column>(columns);

type Row = readonly (string | null)[];

const definition = `
  CREATE TABLE IF NOT EXISTS claimcheck_audit (
    ${described.map(([name, { type, always }]) => `${name} ${type}${always ? " NOT NULL" : ""}`).join(", ")},
    PRIMARY KEY (broker, seq)
  );
  CREATE INDEX IF NOT EXISTS claimcheck_audit_time ON claimcheck_audit (time, broker, seq);
  CREATE INDEX IF NOT EXISTS claimcheck_audit_tenant ON claimcheck_audit (tenant, time, broker, seq)
    WHERE tenant IS NOT NULL`;

/** Of the lock under which the table is made: two brokers that start at once would be in each other's way. */
const creation = "4847163594611";

export async function createTable(client: Client): Promise<void> {
  const { rows } = await client.query("SELECT to_regclass('claimcheck_audit') AS found");
  if (rows[0]?.found) return;
  await client.query(`BEGIN; SELECT pg_advisory_xact_lock(${creation}); ${definition}; COMMIT`);
}

/** What is in the columns for a line, in their order. */
function columnsOf(broker: string, line: string): Row {
  const values = { ...JSON.parse(line), broker, line } as { [name in ColumnName]?: string | number };
  return columnNames.map((name) => {
    const value = values[name];
    return value === undefined ? null : storable(String(value));
  });
}

const storable = (text: string): string => text.replaceAll("\0", "\ufffd").toWellFormed();

const Place = z.tuple([z.iso.datetime(), z.string(), z.int()]);

export async function queryTable(pool: Pool, filter: AuditFilter, asked: PageRequest): Promise<AuditPage> {
  const beginning = [filter.since ?? "0001-01-01T00:00:00.000Z", "", -1] as const;
  const after = asked.after === undefined ? beginning : readCursor(asked.after, Place);
  const { conditions, values } = demandsOf(filter);
  const [time, broker, seq] = [1, 2, 3].map((nth) => `$${values.length + nth}`);
  const { rows } = await pool.query<StoredRow>(
    `SELECT ${storedColumns} FROM claimcheck_audit AS row
     WHERE ${conditions} AND (row.time, broker, row.seq) > (${time}::timestamptz, ${broker}, ${seq}::bigint)
     ORDER BY row.time, broker, row.seq LIMIT ${asked.limit + 1}`,
    [...values, ...after],
  );

  const page = createPage(asked);
  let place: readonly (string | number)[] = after;
  let isLast = true;
  for (const row of rows) {
    const { broker, line } = row as { broker: string; line: string };
    const entry = decodeLine(Buffer.from(line));
    // A row that no broker wrote: to pass over it would hide it, and to show it would be to believe it.
    if (!entry) throw await unreadable(pool, broker);
    if (wrongColumn(row)) throw changed();
    if (fits(filter, entry) && !page.add(entry, line.length)) {
      isLast = false;
      break;
    }
    place = [entry.time, broker, entry.seq];
  }
  return { entries: page.entries, next: writeCursor(place), isLast };
}

/** A place that has so many of the last entries that fit behind it; undefined where all of them are. */
export async function recentRow(pool: Pool, filter: AuditFilter, count: number): Promise<string | undefined> {
  const { conditions, values } = demandsOf(filter);
  const { rows } = await pool.query<{ broker: string; line: string }>(
    `SELECT broker, line FROM claimcheck_audit WHERE ${conditions}
     ORDER BY time DESC, broker DESC, seq DESC OFFSET ${count} LIMIT 1`,
    values,
  );
  const entry = rows[0] && decodeLine(Buffer.from(rows[0].line));
  return rows[0] && entry && writeCursor([entry.time, rows[0].broker, entry.seq]);
}

/** The same as `fits`, in SQL. */
function demandsOf({ tenant, principal, uris, until }: AuditFilter): {
  conditions: string;
  values: unknown[];
} {
  const demands: [condition: string, value: unknown][] = [];
  if (tenant !== undefined) demands.push(["tenant =", storable(tenant)]);
  if (principal !== undefined) demands.push(["principal =", storable(principal)]);
  if (uris !== undefined) demands.push(["uri = ANY", uris.map(storable)]);
  if (until !== undefined) demands.push(["time <", until]);
  const conditions = demands.map(([condition], nth) => `${condition} ($${nth + 1})`);
  return {
    conditions: ["type IN ('decision', 'summary')", ...conditions].join(" AND "),
    values: demands.map(([, value]) => value),
  };
}

/** The brokers that have a chain there. */
export async function brokersIn(pool: Pool): Promise<string[]> {
  const { rows } = await pool.query<{ broker: string }>(
    "SELECT broker FROM claimcheck_audit GROUP BY broker ORDER BY broker",
  );
  return rows.map(({ broker }) => broker);
}

/** How many lines are read at a time. */
const batch = 1000;

type StoredRow = { readonly [name in ColumnName]: string | null };

/** As `columnsOf` writes them. */
const storedColumns = described.map(([name, { read = name }]) => `${read} AS ${name}`).join(", ");

/** After a line with this number; nothing where that one is not there any more. */
export const insertion = `INSERT INTO claimcheck_audit (${columnNames.join(", ")})
  SELECT * FROM unnest(${described.map(([, { type }], nth) => `$${nth + 1}::${type}[]`).join(", ")})
  WHERE $${described.length + 2}::bigint < 0 OR EXISTS
    (SELECT FROM claimcheck_audit WHERE broker = $${described.length + 1} AND seq = $${described.length + 2}::bigint)`;

/** Rows for lines that follow each other. */
export function insertionOf(broker: string, lines: readonly string[]): unknown[] {
  const rows = lines.map((line) => columnsOf(broker, line));
  const before = Number(rows[0]?.[columnNames.indexOf("seq")]) - 1;
  return [...columnNames.map((_, column) => rows.map((row) => row[column])), broker, String(before)];
}

/** The column that says something else than the line, if one does. */
function wrongColumn(row: StoredRow): string | undefined {
  const expected = columnsOf(row.broker ?? "", row.line ?? "");
  return columnNames.find((name, nth) => row[name] !== expected[nth]);
}

/**
 * The lines of a broker's chain, and whatever else is there under its name.
 *
 * @throws {BrokenChain} where a column says something else than its line.
 */
export async function* readChain(pool: Pool, broker: string): AsyncGenerator<Uint8Array> {
  for (let last: string | null = null; ; ) {
    const { rows }: { rows: StoredRow[] } = await pool.query<StoredRow>(
      `SELECT ${storedColumns} FROM claimcheck_audit AS row
       WHERE broker = $1 AND ($2::bigint IS NULL OR row.seq > $2::bigint)
       ORDER BY row.seq LIMIT ${batch}`,
      [broker, last],
    );
    for (const row of rows) {
      const bytes = Buffer.from(row.line ?? "");
      const wrong = decodeLine(bytes) && wrongColumn(row);
      if (wrong) throw new BrokenChain(Number(row.seq), `its column ${wrong} to be as in the line`);
      yield bytes;
    }
    if (rows.length < batch) return;
    last = rows.at(-1)?.seq ?? last;
  }
}

/** For a line that this program cannot read; a newer version of it says so in the chain's last line. */
async function unreadable(pool: Pool, broker: string): Promise<ClaimcheckError> {
  const { rows } = await pool.query<{ line: string }>(
    "SELECT line FROM claimcheck_audit WHERE broker = $1 ORDER BY seq DESC LIMIT 1",
    [broker],
  );
  const newer = rows[0] && newerVersionOf(Buffer.from(rows[0].line));
  if (newer === undefined) return changed();
  return new ClaimcheckError("audit_unavailable", {
    detail: `${broker}: ${newerForm(newer)}; read it with that version`,
  });
}

const changed = () =>
  new ClaimcheckError("audit_unavailable", {
    detail: "the log was changed; `claimcheck audit verify` says where",
  });
