/** A PostgreSQL server for tests: the real one, a cluster of its own in a temporary folder, a port on loopback. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync, globSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Client } from "pg";
import { freePort } from "./free-port.ts";

export type PostgresServer = Awaited<ReturnType<typeof startPostgres>>;

/** Debian has them out of the path. */
function program(name: string): string {
  const folders = [
    ...(process.env.PATH ?? "").split(":"),
    ...globSync("/usr/lib/postgresql/*/bin").sort().reverse(),
  ];
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (!found) throw new Error(`${name} is missing: install Debian's postgresql (sh setup.sh tests does)`);
  return found;
}

/** The server refuses to be root. */
const id = (what: "-u" | "-g") => Number(execFileSync("id", [what, "postgres"]).toString());
const asServer = () =>
  process.getuid?.() === 0
    ? ["setpriv", "--reuid", String(id("-u")), "--regid", String(id("-g")), "--clear-groups"]
    : ["setpriv"];

/** To be ended by `stop`. */
export async function startPostgres() {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-postgres-"));
  if (process.getuid?.() === 0) chownSync(folder, id("-u"), id("-g"));
  const [command, ...as] = asServer() as [string, ...string[]];
  const data = join(folder, "data");
  const flags = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "-D", data];
  execFileSync(command, [...as, program("initdb"), ...flags], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const port = await freePort();
  let server = await launch(data, port, folder);
  let databases = 0;
  const urlOf = (database: string, user = "postgres") => `postgres://${user}@127.0.0.1:${port}/${database}`;

  const self = {
    /** One statement, as an operator would give it. */
    async query(database: string, sql: string, values: readonly unknown[] = []) {
      const client = new Client({ connectionString: urlOf(database) });
      client.on("error", () => {});
      await client.connect();
      try {
        return (await client.query(sql, [...values])).rows;
      } finally {
        await client.end();
      }
    },

    /** A database of its own. */
    async create(): Promise<{ readonly name: string; readonly url: string }> {
      databases += 1;
      const name = `test${databases}`;
      await self.query("postgres", `CREATE DATABASE ${name}`);
      return { name, url: urlOf(name) };
    },

    urlOf,

    /** As if the power went: nothing is flushed or said goodbye to. */
    async kill(): Promise<void> {
      server.kill("SIGQUIT");
      await ended(server);
    },

    /** With what is on the disk. */
    async restart(): Promise<void> {
      server = await launch(data, port, folder);
    },

    /** To all processes that serve a connection, and that take one. */
    signal(name: "STOP" | "CONT"): void {
      execFileSync("pkill", [`-${name}`, "-P", String(server.pid)]);
      server.kill(`SIG${name}`);
    },

    async stop(): Promise<void> {
      server.kill("SIGQUIT");
      await ended(server);
      await rm(folder, { recursive: true, force: true });
    },
  };
  return self;
}

async function launch(data: string, port: number, folder: string): Promise<ChildProcess> {
  const settings = {
    listen_addresses: "127.0.0.1",
    port,
    unix_socket_directories: "",
    shared_buffers: "16MB",
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const [command, ...as] = asServer() as [string, ...string[]];
  // A worker that is killed cleans nothing up: the server dies with whoever started it.
  const server = spawn(command, [...as, "--pdeathsig", "QUIT", program("postgres"), "-D", data, ...flags], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said: string[] = [];
  for await (const line of createInterface(server.stderr)) {
    said.push(line);
    if (line.includes("ready to accept connections")) {
      // Nobody reads on, and a full pipe would stop the server.
      server.stderr.resume();
      return server;
    }
  }
  throw new Error(`postgres ended:\n${said.join("\n")}`);
}

async function ended(server: ChildProcess): Promise<void> {
  if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
}
