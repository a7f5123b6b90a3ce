/** The audit log that a command looks at: in files, or in a PostgreSQL database. */
import type { AuditFilter, AuditPage, PageRequest } from "../broker/audit/query.ts";
import type { ChainPart } from "../broker/audit/verify.ts";
import { Failure } from "../executor/failure.ts";

export const postgresHelp =
  "of PostgreSQL, where the arguments name brokers (CLAIMCHECK_AUDIT_URL, or PGHOST, PGUSER … as psql knows them)";

export interface Chain {
  readonly name: string;
  readonly parts: readonly ChainPart[];
}

export interface AuditSource {
  chains(): Promise<readonly Chain[]>;
  query(filter: AuditFilter, page: PageRequest): Promise<AuditPage>;
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
  const [{ filePart }, { queryFiles }] = await Promise.all([
    import("../broker/audit/verify.ts"),
    import("../broker/audit/scan.ts"),
  ]);
  return {
    chains: async () => [{ name: names.join(" "), parts: names.map(filePart) }],
    query: (filter, page) => queryFiles(newest, filter, page),
    close: async () => {},
  };
}

async function openDatabase(names: readonly string[], environment: NodeJS.ProcessEnv): Promise<AuditSource> {
  const [{ openPool }, { brokersIn, queryTable, readChain }] = await Promise.all([
    import("../broker/audit/postgres.ts"),
    import("../broker/audit/postgres-table.ts"),
  ]);
  const pool = openPool(environment.CLAIMCHECK_AUDIT_URL);
  return {
    async chains() {
      const brokers = names.length > 0 ? names : await brokersIn(pool);
      return brokers.map((name) => ({ name, parts: [{ name, lines: () => readChain(pool, name) }] }));
    },
    query: (filter, page) => queryTable(pool, filter, page),
    close: () => pool.end(),
  };
}
