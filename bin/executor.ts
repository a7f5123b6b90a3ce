/** claimcheck executor: the service on a host that runs what jobs send it, with keys and a token of its own. */
import { randomBytes } from "node:crypto";
import { chmodSync, chownSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { Command } from "commander";
import { Failure } from "../executor/failure.ts";
import type { ServedRequest } from "../executor/server/server.ts";
import { brokerUrl, directFetch } from "./broker-connection.ts";
import { stateFolder, toolEnvironment } from "./environment.ts";
import type { ExecutorConfig, Listening } from "./executor-config.ts";
import { loadProofKey } from "./root-key.ts";
import { tokenSource } from "./token.ts";

interface Options {
  readonly config?: string;
  readonly checkConfig?: boolean;
}

export function executorCommand(): Command {
  return (
    new Command("executor")
      .description("Run what jobs on this host send, as far as its configuration allows.")
      // An option after `key` is that one's.
      .enablePositionalOptions()
      .option("--config <FILE>", "serve as this file says (YAML)")
      .option("--check-config", "say what is wrong with --config, and end")
      .action(serve)
      .addCommand(
        new Command("key")
          .description("Print the thumbprint of its proof key, for the policy and for `issue --jkt`.")
          .option(
            "--config <FILE>",
            "of the executor with this configuration; without it, of this user's runs",
          )
          .action(printKey),
      )
      .addCommand(
        new Command("schema")
          .description("Print the JSON Schema of the file of --config, for editors.")
          .action(printSchema),
      )
  );
}

async function printSchema(): Promise<void> {
  const { executorSchema } = await import("./executor-config.ts");
  process.stdout.write(`${JSON.stringify(executorSchema(), undefined, 2)}\n`);
}

async function printKey({ config }: Options): Promise<void> {
  const folder = config === undefined ? stateFolder(process.env) : (await load(config)).state;
  const { createIdentity } = await import("../executor/identity.ts");
  const { jkt } = await createIdentity(await loadProofKey(folder));
  process.stdout.write(`${jkt}\n`);
}

async function load(path: string): Promise<ExecutorConfig> {
  const { readExecutorConfig } = await import("./executor-config.ts");
  const config = await readExecutorConfig(path);
  if (!("faults" in config)) return config;
  for (const { line, message } of config.faults) process.stderr.write(`${path}:${line}: ${message}\n`);
  throw new Failure("usage", { detail: `${path} cannot be used` });
}

async function serve({ config: path, checkConfig }: Options): Promise<void> {
  if (path === undefined) throw new Failure("usage", { detail: "--config FILE" });
  const config = await load(path);
  if (checkConfig) {
    process.stdout.write(`${path} is in order\n`);
    return;
  }
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    throw new Failure("unsupported_host", { detail: "containers need Linux and root" });
  }
  const [
    { createExecutorServer },
    { createPlaces },
    { createBrokerClient },
    { createIdentity },
    { headsIn },
  ] = await Promise.all([
    import("../executor/server/server.ts"),
    import("../executor/server/places.ts"),
    import("../executor/broker-client.ts"),
    import("../executor/identity.ts"),
    import("../executor/audit-heads.ts"),
  ]);
  const { broker, limits, listen } = config;
  const url = brokerUrl(broker.url);
  const identity = await createIdentity(await loadProofKey(config.state));
  const findToken = tokenSource(broker.tokenFile, process.env, url);
  const keepHeads = headsIn(join(config.state, "audit-heads"));
  const token = "address" in listen ? makeToken(listen.tokenFile) : undefined;
  const executor = createExecutorServer({
    ...config,
    token,
    environment: toolEnvironment(process.env),
    places: createPlaces(limits.runs, limits.waiting),
    connect: async (jobToken, signal) =>
      createBrokerClient({
        url,
        fetch: directFetch,
        findToken,
        requester: { findToken: () => jobToken ?? missingToken(), audience: broker.principal },
        pinnedKeys: broker.keys,
        identity,
        keepHeads,
        signal,
      }),
    log,
  });
  const where = await listenOn(executor.server, listen);
  process.stderr.write(`claimcheck: executor at ${where}, proof key ${identity.jkt}\n`);
  let stopping = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stopping) executor.cancel();
      stopping = true;
      const late = setTimeout(executor.cancel, config.drainLimit);
      void executor.drain().then(() => clearTimeout(late));
    });
  }
}

function missingToken(): never {
  throw new Failure("token_unavailable", { detail: "the request carries no token of the job's" });
}

/** Known to this process and to whoever may read the file. */
function makeToken(path: string): string {
  const token = randomBytes(32).toString("base64url");
  try {
    rmSync(path, { force: true });
    writeFileSync(path, `${token}\n`, { mode: 0o600, flag: "wx" });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Failure("state_unusable", { detail: `${path} cannot be written (${code})`, cause });
  }
  return token;
}

/** @returns what clients are told. */
async function listenOn(server: import("node:http").Server, listen: Listening): Promise<string> {
  if ("address" in listen) {
    const { host, port } = listen.address;
    await bind(server, { host, port });
    return `${host}:${port}`;
  }
  const { socket, mode, gid } = listen;
  await removeAbandoned(socket);
  // Nobody is to find it open before it is whose it is to be.
  const umask = process.umask(0o177);
  try {
    await bind(server, { path: socket });
  } finally {
    process.umask(umask);
  }
  chownSync(socket, 0, gid);
  chmodSync(socket, mode);
  return socket;
}

function bind(
  server: import("node:http").Server,
  where: { path: string } | { host: string; port: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const place = "path" in where ? where.path : `${where.host}:${where.port}`;
      reject(new Failure("state_unusable", { detail: `${place}: ${cause.code}`, cause }));
    });
    server.listen(where, resolve);
  });
}

/** What a process that was killed left: nobody answers there. */
async function removeAbandoned(socket: string): Promise<void> {
  const code = await new Promise<string | undefined>((resolve) => {
    const probe = connectSocket(socket, () => {
      probe.destroy();
      resolve(undefined);
    });
    probe.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
  });
  if (code === "ECONNREFUSED") unlinkSync(socket);
}

/** A line of JSON. Of a cause only its name or the system's word for it: a message may quote what it was given. */
function log({ cause, ...entry }: ServedRequest): void {
  const named = cause as { code?: unknown; name?: unknown } | undefined;
  const line = {
    time: new Date().toISOString(),
    ...entry,
    ...(named && { cause: named.code ?? named.name }),
  };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
