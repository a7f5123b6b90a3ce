/** A real gnome-keyring on a session bus of its own, which setup.sh installs; secret-tool writes into it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export type Keyring = Awaited<ReturnType<typeof startKeyring>>;

export async function startKeyring() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-keyring-"));
  const environment = { PATH: process.env.PATH ?? "", HOME: folder, XDG_RUNTIME_DIR: folder };
  // The daemon goes with its bus, and the bus with this shell, which ends when its input does.
  const script =
    'printf password | gnome-keyring-daemon --unlock --components=secrets >/dev/null 2>&1; echo "$DBUS_SESSION_BUS_ADDRESS"; cat >/dev/null';
  const child = spawn("dbus-run-session", ["--", "sh", "-c", script], {
    env: environment,
    stdio: ["pipe", "pipe", "ignore"],
  });
  const address = await new Promise<string>((resolve, reject) => {
    child.once("error", () =>
      reject(new Error("there is no dbus-run-session; run the tests by 'npm test', or install dbus")),
    );
    child.once("exit", () => reject(new Error("the session bus ended before the keyring was ready")));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("\n")) resolve(output.trim());
    });
  });
  const env = { ...environment, DBUS_SESSION_BUS_ADDRESS: address };

  /** @returns what the program prints. */
  async function run(program: string, args: readonly string[], input: string | Buffer = ""): Promise<string> {
    const started = spawn(program, args, { env, stdio: ["pipe", "pipe", "pipe"] });
    started.stdin.end(input);
    let [output, errors] = ["", ""];
    started.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    started.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    const [code] = await Promise.race([
      once(started, "close"),
      once(started, "error").then(() => {
        throw new Error(`there is no ${program}; run the tests by 'npm test'`);
      }),
    ]);
    if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${errors}`);
    return output;
  }

  return {
    address,
    env,
    run,
    /** Writes an item into the collection "login". */
    store: (label: string, attributes: Readonly<Record<string, string>>, value: string) =>
      run("secret-tool", ["store", `--label=${label}`, ...Object.entries(attributes).flat()], value),
    async close(): Promise<void> {
      const ended = once(child, "exit");
      child.stdin.end();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
