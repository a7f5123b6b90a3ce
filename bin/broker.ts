/** claimcheck broker: serves the broker over HTTP. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { Command } from "commander";
import { Failure } from "../executor/failure.ts";
import { Secret } from "../shared/secret.ts";

const day = 24 * 60 * 60;

interface Options {
  dev?: boolean;
  listen: string;
  env?: string[];
  fileRoot?: string[];
  command?: string[];
  audit?: string;
}

export function brokerCommand(): Command {
  return new Command("broker")
    .description("Serve a broker.")
    .option("--dev", "for trying out: memory store, throw-away keys and issuer; prints a token")
    .option("--listen <HOST:PORT>", "where to listen", "127.0.0.1:7878")
    .option("--env <NAME>", "let env:// read this variable (repeatable)", collect)
    .option("--file-root <FOLDER>", "let file:// read what lies in this folder (repeatable)", collect)
    .option("--command <COMMAND>", "let cmd:// run exactly this command (repeatable)", collect)
    .option("--audit <FILE>", "write down every decision")
    .action(serve);
}

const collect = (each: string, before: string[] = []) => [...before, each];

async function serve({ dev, listen, env = [], fileRoot = [], command = [], audit }: Options): Promise<void> {
  if (!dev) throw new Failure("usage", { detail: "only --dev exists so far" });
  const [host, port] = splitAddress(listen);
  const url = `http://${listen}`;
  const [{ createLocalBroker }, { allowedProviders }, { serve: listenOn }] = await Promise.all([
    import("./local-broker.ts"),
    import("./providers.ts"),
    import("@hono/node-server"),
  ]);
  const broker = await createLocalBroker({
    url,
    rootKey: new Secret(randomBytes(32)),
    providers: allowedProviders(process.env, {
      variables: env,
      roots: fileRoot.map((folder) => resolve(folder)),
      commands: command,
    }),
    auditFile: audit,
    rule: "dev: everything",
    tokenLifetime: day,
    log: ({ request, method, path, status, code }) =>
      process.stderr.write(
        `${JSON.stringify({ time: new Date().toISOString(), request, method, path, status, code })}\n`,
      ),
  });
  const server = listenOn({ fetch: broker.app.fetch, hostname: host, port }, () => {
    process.stderr.write(
      "claimcheck: a broker for trying out; whoever has the token below gets every secret that it reads\n",
    );
    process.stdout.write(
      `export CLAIMCHECK_BROKER=${url}\n` +
        `export CLAIMCHECK_BROKER_KEYS=${broker.keyThumbprints.join(",")}\n` +
        `export CLAIMCHECK_TOKEN=${broker.accessToken}\n`,
    );
  });
  server.on("error", (error: NodeJS.ErrnoException) => {
    process.stderr.write(
      `claimcheck: ${new Failure("state_unusable", { detail: `${listen}: ${error.code}` })}\n`,
    );
    process.exit(125);
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.once(signal, () => server.close(() => void broker.close()));
  }
}

function splitAddress(listen: string): [host: string, port: number] {
  const at = listen.lastIndexOf(":");
  const port = Number(listen.slice(at + 1));
  if (at < 1 || !Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Failure("usage", { detail: "--listen takes HOST:PORT" });
  }
  return [listen.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port];
}
