/** `claimcheck broker --config` outside of a test runner: a folder of files, and a process that can be ended and begun again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../parts/free-port.ts";
import { entry } from "./command.ts";
import { sourcesFor } from "./sources.ts";

interface Settings {
  /** What the policy file says. */
  readonly policy: string;
  /** More of the configuration, in YAML. */
  readonly fields?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Where its log is, in YAML; a file in its folder where it is missing. */
  readonly audit?: string;
}

export type BrokerProcess = Awaited<ReturnType<typeof startBrokerProcess>>;

export async function startBrokerProcess({ policy, fields = "", env = {}, audit = "audit.jsonl" }: Settings) {
  const folder = await mkdtemp(join(tmpdir(), "claimcheck-broker-"));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  await writeFile(join(folder, "root-key"), Buffer.alloc(32, 7), { mode: 0o600 });
  await writeFile(join(folder, "policy.yaml"), policy);
  await writeFile(
    join(folder, "broker.yaml"),
    `url: ${url}\nlisten: 127.0.0.1:${port}\nrootKey: { file: root-key }\npolicy: policy.yaml\naudit: ${audit}\n${/^sources:/m.test(fields) ? "" : sourcesFor(policy)}${fields}`,
  );
  const said: string[] = [];
  let child: ChildProcess;

  async function launch(): Promise<void> {
    // Whatever ends us ends it.
    const command = ["setpriv", "--pdeathsig", "KILL", process.execPath];
    const started = spawn(
      command[0]!,
      [...command.slice(1), entry, "broker", "--config", join(folder, "broker.yaml")],
      {
        env: { PATH: process.env.PATH ?? "", HOME: folder, API_TOKEN: "guessme", ...env },
        stdio: ["ignore", "ignore", "pipe"],
      },
    );
    child = started;
    await new Promise<void>((resolve, reject) => {
      started.stderr!.setEncoding("utf8").on("data", (text: string) => {
        said.push(text);
        if (text.includes("serving")) resolve();
      });
      started.once("close", () => reject(new Error(`the broker ended: ${said.slice(-5).join("")}`)));
    });
  }

  await launch();
  return {
    url,
    port,
    folder,
    auditFile: resolve(folder, audit),
    said,
    get pid() {
      return child.pid!;
    },
    get ended() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    launch,
    async end(signal: NodeJS.Signals): Promise<number | null> {
      if (child.exitCode === null && child.signalCode === null) {
        child.kill(signal);
        await once(child, "exit");
      }
      return child.exitCode;
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
