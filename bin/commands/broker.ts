/** claimcheck broker: serves the broker over HTTP. */
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { Command } from "commander";
import { Failure } from "../../shared/failure.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import { Secret } from "../../shared/secret.ts";
import { type Address, splitAddress } from "../host/address.ts";
import { printFaults } from "../host/print-faults.ts";
import type { FaultsByFile } from "../serve-broker/config.ts";

const day = 24 * 60 * 60;
const defaultListen = "127.0.0.1:7878";

interface ServeOptions {
  config?: string;
  insecureHttp?: boolean;
  dev?: boolean;
  listen?: string;
  env?: string[];
  fileRoot?: string[];
  command?: string[];
  audit?: string;
}

export function brokerCommand(): Command {
  return new Command("broker")
    .description("Serve a broker.")
    .option("--config <FILE>", "the configuration file (YAML)")
    .option(
      "--insecure-http",
      "serve without TLS on an address that others can reach: they can read every token on the network",
    )
    .option(
      "--dev",
      "serve a broker for trying out, with handles in memory and temporary keys, and print a token for it",
    )
    .option("--listen <HOST:PORT>", `with --dev: where to listen (default: ${defaultListen})`)
    .option("--env <NAME>", "with --dev: let env:// read this variable (repeatable)", collect)
    .option("--file-root <FOLDER>", "with --dev: let file:// read this folder's files (repeatable)", collect)
    .option("--command <COMMAND>", "with --dev: let cmd:// run exactly this (repeatable)", collect)
    .option("--audit <FILE>", "with --dev: write every decision to this audit log")
    .action(start)
    .enablePositionalOptions()
    .addCommand(
      new Command("check")
        .description(
          "Print every fault in a broker's configuration and policy, and try to log in to each source.",
        )
        .argument("<FILE>", "a broker.yaml")
        .option("--insecure-http", "accept what a broker accepts that is started with this flag")
        .action(checkFile),
    )
    .addCommand(
      new Command("keys")
        .description(
          "Print the thumbprints of a broker's keys for its clients to pin, also for a root key that it does not use yet.",
        )
        .option("--config <FILE>", "print the keys of the broker with this configuration")
        .option("--root-key <FILE>", "print the keys of a broker with this root key")
        .action(printKeys),
    )
    .addCommand(
      new Command("schema")
        .description("Print the JSON Schema of the configuration file, for editors.")
        .action(printSchema),
    );
}

const collect = (each: string, before: string[] = []) => [...before, each];

async function printSchema(): Promise<void> {
  const { brokerSchema } = await import("../serve-broker/schema.ts");
  process.stdout.write(`${JSON.stringify(brokerSchema(), undefined, 2)}\n`);
}

async function printKeys({
  config: path,
  rootKey: file,
}: {
  config?: string;
  rootKey?: string;
}): Promise<void> {
  if (Boolean(path) === Boolean(file))
    throw new Failure("usage", { detail: "--config FILE or --root-key FILE" });
  const [{ createKeys }, { loadKeys }] = await Promise.all([
    import("../../broker/keys/keys.ts"),
    import("./broker-keys.ts"),
  ]);
  const { rootKey, previous } = await loadKeys(path, file);
  const { jwks } = await createKeys(rootKey, { ...(previous && { previous }) });
  process.stdout.write(`${jwks.keys.map(({ kid }) => kid).join(",")}\n`);
}

async function start(options: ServeOptions): Promise<void> {
  const { config, dev } = options;
  if (Boolean(config) === Boolean(dev)) throw new Failure("usage", { detail: "--config FILE or --dev" });
  if (!config) return serveDev(options);
  const { listen, env, fileRoot, command, audit } = options;
  if ([listen, env, fileRoot, command, audit].some((option) => option !== undefined)) {
    throw new Failure("usage", { detail: "--config FILE replaces the flags of --dev; leave these out" });
  }
  return serveConfigured(config, options.insecureHttp ?? false);
}

async function checkFile(path: string, { insecureHttp }: { insecureHttp?: boolean }): Promise<void> {
  const [{ readBrokerConfig }, { surroundingsOf }, { createSources }, { tryLogIns }] = await Promise.all([
    import("../serve-broker/config.ts"),
    import("../serve-broker/central-broker.ts"),
    import("../serve-broker/sources.ts"),
    import("../serve-broker/check-sources.ts"),
  ]);
  const config = await readBrokerConfig(path, process.env);
  if ("faults" in config) refuse(path, config.faults);
  if (!config.tls && !insecureHttp) requireLoopback(config.address);
  const sources = createSources(surroundingsOf(config, process.env));
  const tried = await tryLogIns(sources.take(config));
  await sources.close();
  for (const { name, failure } of tried) {
    process.stdout.write(`source ${name}: ${failure ?? "logged in"}\n`);
  }
  if (tried.some(({ failure }) => failure !== undefined)) {
    throw new Failure("usage", { detail: `${path}: the broker cannot log in to every source` });
  }
  process.stdout.write(`${path} and its policy are in order\n`);
}

function refuse(path: string, faults: FaultsByFile): never {
  for (const [file, own] of faults) printFaults(file, own);
  throw new Failure("usage", { detail: `${path} cannot be used` });
}

async function serveConfigured(path: string, insecureHttp: boolean): Promise<void> {
  const [{ readBrokerConfig }, { createCentralBroker }, { createLog }, { closeProcess }] = await Promise.all([
    import("../serve-broker/config.ts"),
    import("../serve-broker/central-broker.ts"),
    import("../serve-broker/log.ts"),
    import("../host/close-process.ts"),
  ]);
  // Before the root key is read.
  const open = await closeProcess(process.env);
  const config = await readBrokerConfig(path, process.env);
  if ("faults" in config) refuse(path, config.faults);
  if (!config.tls && !insecureHttp) requireLoopback(config.address);
  const { endOnError, serve } = await import("../serve-broker/listen.ts");
  const broker = await createCentralBroker(config, process.env, createLog(), open);
  process.on("SIGHUP", () => void broker.reload());
  if (config.metricsAddress) {
    const { createMetricsServer } = await import("../serve-broker/metrics-server.ts");
    const { host, port } = config.metricsAddress;
    const server = createMetricsServer(broker.metrics);
    endOnError(server, config.metricsAddress);
    // Until the process ends, which it does not keep from doing so.
    server.listen(port, host).unref();
  }
  const { limits, shutdown } = config;
  const onListening = (where: string) => {
    process.stderr.write(
      `claimcheck: serving ${config.url} on ${where}, keys ${broker.keyThumbprints.join(",")}` +
        `${config.redis === undefined ? "; the broker keeps handles in memory, and a restart voids them" : ""}\n`,
    );
  };
  serve(broker, config.address, { limits, shutdown, onListening });
}

async function serveDev(options: ServeOptions): Promise<void> {
  const { listen: where = defaultListen, env = [], fileRoot = [], command = [], audit } = options;
  const address = splitAddress(where);
  if (!address) throw new Failure("usage", { detail: "--listen takes HOST:PORT" });
  if (!options.insecureHttp) requireLoopback(address);
  const url = `http://${where}`;
  const [{ createLocalBroker }, { allowedProviders }, { createLog }, serving, { closeProcess }] =
    await Promise.all([
      import("../serve-broker/local-broker.ts"),
      import("../serve-broker/providers.ts"),
      import("../serve-broker/log.ts"),
      import("../serve-broker/listen.ts"),
      import("../host/close-process.ts"),
    ]);
  await closeProcess(process.env);
  const broker = await createLocalBroker({
    url,
    rootKey: new Secret(randomBytes(32)),
    providers: allowedProviders(process.env, {
      variables: env,
      roots: fileRoot.map((folder) => ({ folder: resolve(folder) })),
      commands: command,
    }),
    audit: { file: audit },
    rule: "dev: everything",
    tokenLifetime: day,
    log: createLog(),
  });
  const onListening = () => {
    process.stderr.write(
      "claimcheck: a broker for trying out: the token below gives access to every secret that it reads\n",
    );
    process.stdout.write(
      `export CLAIMCHECK_BROKER=${url}\n` +
        `export CLAIMCHECK_BROKER_KEYS=${broker.keyThumbprints.join(",")}\n` +
        `export CLAIMCHECK_TOKEN=${broker.accessToken}\n`,
    );
  };
  // Nobody looks at whether it is ready.
  const shutdown = { ...serving.defaultShutdown, delay: 0 };
  serving.serve(broker, address, { shutdown, onListening });
}

/** Tokens and handles are in what is sent. */
function requireLoopback({ host, port }: Address): void {
  if (isTrustworthy(`http://${host.includes(":") ? `[${host}]` : host}:${port}`)) return;
  throw new Failure("usage", {
    detail: `${host} is not this host alone: set tls, or say --insecure-http behind a proxy that ends TLS`,
  });
}
