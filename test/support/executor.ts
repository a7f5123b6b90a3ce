/** A host with an executor, as its operator would set it up: a central broker, an issuer of tokens, a socket for jobs. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type IncomingMessage, request } from "node:http";
import { basename, join } from "node:path";
import { RunEvent } from "../../executor/server/wire.ts";
import { freePort } from "../parts/free-port.ts";
import { processesContaining } from "../parts/host.ts";
import { startIssuer } from "../parts/issuer.ts";
import { startListener } from "../parts/listener.ts";
import { claimcheck, image, printed, start, startDelayed } from "./command.ts";
import { makeFolder } from "./served.ts";
import { sourcesOf } from "./sources.ts";

/** Fields of the executor's configuration, in YAML; and what `env://` finds at the broker. */
interface Host {
  readonly fields?: string;
  readonly listen?: string;
  readonly environment?: Record<string, string>;
  /** The claims of jobs' tokens. */
  readonly job?: Record<string, string>;
  /** Patterns. */
  readonly images?: readonly string[];
  /** Of the executor's process. */
  readonly variables?: Record<string, string>;
  /** In microseconds: how late each wait of the executor and of what it starts begins. */
  readonly delay?: number;
}

export type ExecutorHost = Awaited<ReturnType<typeof startHost>>;

const policyOf = (issuer: string, jkt: string, job: Record<string, string>) => `version: 1
issuers:
  ci: { issuer: "${issuer}", algorithms: [ES256], prefix: "ci:" }
tenants:
  acme:
    principals:
      - { issuer: ci, claims: ${JSON.stringify(job)}, roles: [requester] }
      - { issuer: ci, claims: { sub: executor-1 }, roles: [executor], proofKeys: [${jkt}] }
      - { issuer: ci, claims: { sub: executor-2 }, roles: [executor], dangerouslyTokenAlone: true }
    rules:
      - name: jobs ask for handles
        actions: [issue, wrap]
        secrets: ["env://**", "wrap://**"]
        limits: { keyBinding: true, uses: 10, audience: ["ci:executor-*"] }
      - { name: executors redeem, actions: [redeem, check], who: { sub: "executor-*" }, secrets: ["env://**", "wrap://**"] }
`;

export async function startHost({
  fields = "",
  listen,
  environment = { API_TOKEN: "guessme" },
  job = { sub: "job-*" },
  images = ["localhost/claimcheck-busybox:*"],
  variables = {},
  delay = 0,
}: Host = {}) {
  const [issuer, port, listenPort] = await Promise.all([startIssuer("ES256"), freePort(), freePort()]);
  const heard = await startListener(port, listenPort);
  const url = `http://127.0.0.1:${port}`;
  const folder = makeFolder({ "root-key": Uint8Array.from({ length: 32 }, (_, index) => index) });
  const [socket, state] = [join(folder, "executor.sock"), join(folder, "state")];
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text, { mode: 0o600 });
  const sign = (sub: string) => issuer.sign({ sub, aud: url });

  write(
    "broker.yaml",
    `url: ${url}
listen: 127.0.0.1:${listenPort}
rootKey: { file: root-key }
policy: policy.yaml
audit: audit.jsonl
${sourcesOf(["acme"], { variables: { provider: "env", variables: Object.keys(environment) } })}`,
  );
  const configure = (keys: string, more = fields) =>
    write(
      "executor.yaml",
      `listen: ${listen ?? `{ socket: ${socket} }`}
broker: { url: "${url}", keys: [${keys}], principal: "ci:executor-1", tokenFile: executor-token }
state: ${state}
images: ${JSON.stringify(images)}
${more}
`,
    );
  configure("A".repeat(43), "");
  const renewToken = async () => write("executor-token", await sign("executor-1"));
  await renewToken();
  const config = join(folder, "executor.yaml");
  const { stdout: jkt } = await claimcheck(["executor", "key", "--config", config]);
  write("policy.yaml", policyOf(issuer.url, jkt.trim(), job));
  const broker = start(["broker", "--config", join(folder, "broker.yaml")], { env: environment });
  await printed(broker, "serving");
  const keys = /keys ([\w,-]+)/.exec(broker.output.stderr)?.[1] as string;
  configure(keys);

  async function startExecutor() {
    const [args, settings] = [["executor", "--config", config], { env: variables }];
    const executor = delay > 0 ? startDelayed(args, delay, settings) : start(args, settings);
    await printed(executor, "claimcheck: executor at");
    return executor;
  }

  return {
    url,
    /** All that was sent to the broker so far. */
    heard,
    issuer,
    folder,
    socket,
    state,
    jkt: jkt.trim(),
    keys,
    config,
    broker,
    executor: await startExecutor(),
    /** Another process in the place of the first. */
    startExecutor,
    /** A job's token. */
    sign,
    /** Gives the executor another token, as an operator's host does before the last one expires. */
    renewToken,

    /** What is left of runs, and what waits for them. */
    remains: () => remainsIn(join(state, "runs")),

    /** What is left of runs, of an executor that goes on: two supervisors may wait for the next ones. */
    leftovers: () => {
      const runs = join(state, "runs");
      const idle = foldersIn(runs).filter((run) => isIdle(join(runs, run)));
      const supervisors = idle.slice(0, 2).flatMap((run) => processesContaining("cmdline", run));
      const waiting = [...idle.slice(0, 2), ...supervisors.map((pid) => `process ${pid}`)];
      return remainsIn(runs).filter((each) => !waiting.includes(each));
    },
  };
}

const foldersIn = (runs: string) => (existsSync(runs) ? readdirSync(runs) : []);

const remainsIn = (runs: string) => [
  ...foldersIn(runs),
  ...processesContaining("cmdline", runs).map((pid) => `process ${pid}`),
];

/** Whether this is what a supervisor has before any container: no process beside its own and an init, no files. */
function isIdle(folder: string): boolean {
  const [supervisor, ...others] = processesContaining("cmdline", basename(folder));
  return (
    supervisor !== undefined &&
    others.length === 0 &&
    foldersIn(join(folder, "1", "upper")).length === 0 &&
    childrenOf(supervisor).every(isInit)
  );
}

const childrenOf = (pid: number) => readProcess(`${pid}/task/${pid}/children`).split(" ").filter(Boolean);

const isInit = (pid: string) => readProcess(`${pid}/cmdline`).startsWith("init");

/** Empty where the process has ended. */
function readProcess(file: string): string {
  try {
    return readFileSync(`/proc/${file}`, "utf8");
  } catch {
    return "";
  }
}

/** A plan of steps on the tests' image, each a script for its shell. */
export const planOf = (...steps: { readonly script: string; readonly [field: string]: unknown }[]) => ({
  version: 1,
  image,
  steps: steps.map(({ script, ...fields }) => ({ args: ["sh", "-c", script], ...fields })),
});

export interface Answer {
  readonly status: number | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
  /** All of them, where it is a stream of events. */
  readonly events: readonly RunEvent[];
}

/** Sends a request to a unix socket; the answer's body is left to be read. */
export function open(
  socketPath: string,
  body: unknown,
  headers: Record<string, string> = {},
  path = "/v1/runs",
) {
  const sent = request({
    socketPath,
    method: body === undefined ? "GET" : "POST",
    path,
    agent: false,
    headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
  });
  sent.end(typeof body === "string" || body === undefined ? body : JSON.stringify(body));
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sent.on("response", resolve);
    sent.on("error", reject);
  });
  return { request: sent, answered };
}

export async function ask(...asked: Parameters<typeof open>): Promise<Answer> {
  const response = await open(...asked).answered;
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  const isStream = response.headers["content-type"] === "application/x-ndjson";
  const lines = isStream ? text.trimEnd().split("\n") : [];
  return {
    status: response.statusCode,
    headers: response.headers,
    text,
    events: lines.map((line) => RunEvent.parse(JSON.parse(line))),
  };
}

/** What a run printed on one of its streams. */
export const outputOf = (events: readonly RunEvent[], type: "stdout" | "stderr"): string =>
  Buffer.concat(
    events.flatMap((event) =>
      event.type === type && "data" in event ? [Buffer.from(event.data, "base64")] : [],
    ),
  ).toString();
