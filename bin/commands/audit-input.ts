/** The audit log that a command looks at: in files, or in a PostgreSQL database. */
import type { AuditFilter, AuditPage, PageRequest } from "../../broker/audit/query.ts";
import type { AuditEntry } from "../../broker/audit/record.ts";
import type { ChainPart } from "../../broker/audit/verify.ts";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";

export const postgresHelp =
  "read the logs in PostgreSQL of the brokers that the arguments name (CLAIMCHECK_AUDIT_URL, or psql's PGHOST, PGUSER …)";

export interface Chain {
  readonly name: string;
  readonly parts: readonly ChainPart[];
}

interface LogPosition {
  after?: string | undefined;
}

export interface AuditSource {
  /** For people. */
  readonly name: string;
  chains(): Promise<readonly Chain[]>;
  /** All entries that fit, from a place on, which is moved on as they are read. */
  pages(filter: AuditFilter, place?: LogPosition): AsyncGenerator<readonly AuditEntry[]>;
  /** A place that has about so many of the last entries behind it. */
  recent(filter: AuditFilter, count: number): Promise<string | undefined>;
  close(): Promise<void>;
}

/**
 * @param names files, the oldest first, of which the last is asked; or brokers, none being all of them.
 * @throws {Failure} `usage`.
 */
export async function openSource(
  names: readonly string[],
  postgres: boolean,
  environment: NodeJS.ProcessEnv,
): Promise<AuditSource> {
  if (postgres) return openDatabase(names, environment);
  const newest = names.at(-1);
  if (newest === undefined) throw new Failure("usage", { detail: "FILE or --postgres" });
  const [{ filePart }, { queryFiles, recentPlace }] = await Promise.all([
    import("../../broker/audit/verify.ts"),
    import("../../broker/audit/search-files.ts"),
  ]);
  const name = names.join(" ");
  return {
    name,
    chains: async () => [{ name, parts: names.map(filePart) }],
    pages: pager((filter, page) => queryFiles(newest, filter, page)),
    recent: () => recentPlace(newest),
    close: async () => {},
  };
}

async function openDatabase(names: readonly string[], environment: NodeJS.ProcessEnv): Promise<AuditSource> {
  const [{ openPool }, { brokersIn, queryTable, readChain, recentRow }] = await Promise.all([
    import("../../broker/audit/postgres.ts"),
    import("../../broker/audit/postgres-table.ts"),
  ]);
  const pool = openPool(environment.CLAIMCHECK_AUDIT_URL);
  return {
    name: "the database",
    async chains() {
      const brokers = names.length > 0 ? names : await brokersIn(pool);
      return brokers.map((name) => ({ name, parts: [{ name, lines: () => readChain(pool, name) }] }));
    },
    pages: pager((filter, page) => queryTable(pool, filter, page)),
    recent: (filter, count) => recentRow(pool, filter, count),
    close: () => pool.end(),
  };
}

/** How many entries are read at a time. */
const pageLimit = 1000;

function pager(query: (filter: AuditFilter, page: PageRequest) => Promise<AuditPage>): AuditSource["pages"] {
  return async function* pages(filter, place = {}) {
    for (let isLast = false; !isLast; ) {
      const page = await query(filter, { limit: pageLimit, after: place.after });
      yield page.entries;
      place.after = page.next;
      isLast = page.isLast;
    }
  };
}

/** What cannot be read of a log, or of a file that goes with it, as the user is told. */
export function unreadable({ name }: Pick<AuditSource, "name">, cause: unknown): Failure {
  if (cause instanceof Failure) return cause;
  const { code, path = name } = cause as NodeJS.ErrnoException;
  const why = cause instanceof ClaimcheckError ? cause.detail : code;
  return new Failure("usage", { detail: `${path} cannot be read (${why})`, cause });
}
