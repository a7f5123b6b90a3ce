/** claimcheck doctor: whether this host can run containers and reach its broker, and what to do where it cannot. */
import { existsSync } from "node:fs";
import { request } from "node:http";
import { Command } from "commander";
import { Failure } from "../../shared/failure.ts";
import { printable, printableJson } from "../../shared/printable.ts";
import { pinnedKeysOf } from "../connect/connection.ts";
import { connectRequester, type RequesterOptions, withBroker } from "../connect/requester.ts";
import { brokerChecks } from "../doctor/broker.ts";
import { type Check, examine, type Finding } from "../doctor/check.ts";
import { hostChecks } from "../doctor/host.ts";
import { containerFolder, toolEnvironment } from "../host/environment.ts";
import { printFaults } from "../host/print-faults.ts";

interface Options extends RequesterOptions {
  readonly config?: string;
}

/** As of a test that did not pass. */
const negative = 1;

export function doctorCommand(): Command {
  const command = new Command("doctor")
    .description(
      "Check this host and its connection to a broker: a line for each, with what to do; exit code 1 if one fails.",
    )
    .option("--config <FILE>", "check for the executor with this configuration");
  return withBroker(command).action(diagnose);
}

async function diagnose(options: Options): Promise<void> {
  const { format } = options;
  const checks = options.config === undefined ? await forUser(options) : await forExecutor(options.config);
  const findings = await examine(checks);
  process.stdout.write(format === "json" ? `${printableJson(findings)}\n` : findings.map(show).join(""));
  if (findings.some(({ ok }) => !ok)) process.exitCode = negative;
}

function show({ name, ok, says, remedy }: Finding): string {
  const line = `${ok ? "ok  " : "FAIL"}  ${name.padEnd(11)} ${printable(says)}\n`;
  return remedy === undefined ? line : `${line}      ${" ".repeat(11)} ${remedy}\n`;
}

async function forUser({ broker, tokenFile }: Options): Promise<Check[]> {
  const url = broker ?? process.env.CLAIMCHECK_BROKER;
  const host = hostChecks({
    state: containerFolder(process.env),
    runtime: "runc",
    seccomp: "strict",
    tools: toolEnvironment(process.env),
  });
  if (!url) return host;
  const requester = { broker: url, ...(tokenFile && { tokenFile }) };
  const whoAmI = async () => (await connectRequester(requester, process.env)).whoAmI();
  return [...host, ...brokerChecks({ url, pinned: pinsIn(process.env), whoAmI })];
}

/** None is a finding here, and no reason to say nothing of the rest. */
function pinsIn(environment: NodeJS.ProcessEnv): string[] {
  return environment.CLAIMCHECK_BROKER_KEYS ? pinnedKeysOf(environment) : [];
}

async function forExecutor(path: string): Promise<Check[]> {
  const { readExecutorConfig } = await import("../serve-executor/config.ts");
  const config = await readExecutorConfig(path);
  if ("faults" in config) {
    printFaults(path, config.faults);
    throw new Failure("usage", { detail: `${path} cannot be used` });
  }
  const { broker, state, runtime, seccomp, listen } = config;
  const requester = { broker: broker.url, ...(broker.tokenFile && { tokenFile: broker.tokenFile }) };
  const environment = { ...process.env, CLAIMCHECK_BROKER_KEYS: broker.keys.join(",") };
  return [
    ...hostChecks({ state, runtime, seccomp, tools: toolEnvironment(process.env) }),
    ...("socket" in listen ? [socketCheck(listen.socket)] : []),
    ...brokerChecks({
      url: broker.url,
      pinned: broker.keys,
      named: broker.principal,
      whoAmI: async () => (await connectRequester(requester, environment, state)).whoAmI(),
    }),
  ];
}

const socketCheck = (path: string): Check => ({
  name: "executor",
  remedy: "start the executor (systemctl start claimcheck-executor); its log says why it ended",
  look: () =>
    new Promise((resolve, reject) => {
      if (!existsSync(path)) return reject(new Error(`nothing listens: ${path} is not there`));
      const asked = request({ socketPath: path, path: "/healthz", timeout: 10_000 }, (answer) => {
        answer.resume();
        if (answer.statusCode === 200) resolve(`it answers at ${path}`);
        else reject(new Error(`${path} answers with HTTP status ${answer.statusCode}`));
      });
      asked.on("timeout", () => asked.destroy(new Error("no answer within 10 seconds")));
      asked.on("error", (error: NodeJS.ErrnoException) =>
        reject(new Error(`${path} does not answer (${error.code ?? error.message})`)),
      );
      asked.end();
    }),
});
