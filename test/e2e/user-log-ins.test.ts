/**
 * What a user's own broker reads without any token in its environment: with what `vault login` left, the keyring of the
 * session, and the `op` command. That command cannot be installed here, so a script stands for it: it prints what the
 * documentation of 1Password's command line says that `op` does.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Keyring, startKeyring } from "../parts/keyring.ts";
import { type Bao, startBao } from "../parts/openbao.ts";
import { claimcheck, image } from "../support/command.ts";

const home = mkdtempSync(join(tmpdir(), "claimcheck-home-"));
const calls = join(home, "calls");

/** Two items; everything else is none. */
const standIn = `#!/bin/sh
echo "$1" >>"${calls}"
[ -z "$OP_SIGNED_OUT" ] || { echo '[ERROR] 2026/11/28 10:00:00 You are not currently signed in. Please run op signin --help' >&2; exit 1; }
value() {
  case $1 in
    op://infra/database/password) printf 'from op\\nwith a line' ;;
    op://infra/deploy/token) printf 'from-op-too' ;;
    *) echo "[ERROR] 2026/11/28 10:00:00 could not read secret '$1': could not get item infra/none: \\"none\\" isn't an item in the \\"infra\\" vault" >&2; return 1 ;;
  esac
}
case $1 in
  read) value "$3" ;;
  inject)
    template=$(cat)
    while [ -n "$template" ]; do
      rest=\${template#*\\{\\{ }
      value "\${rest%% \\}\\}*}" || exit 1
      rest=\${rest#* \\}\\}}
      printf %s "\${rest%%\\{\\{*}"
      case $rest in *\\{\\{*) template="{{\${rest#*\\{\\{}" ;; *) template= ;; esac
    done ;;
esac
`;

let bao: Bao;
let keyring: Keyring;
let mount: string;

beforeAll(async () => {
  [bao, keyring] = await Promise.all([startBao(), startKeyring()]);
  mount = await bao.mount("user", 2);
  await bao.call("POST", `${mount}/data/app`, { data: { token: "from-vault" } });
  await keyring.store("GitHub token", { service: "github" }, "from-keyring");
  writeFileSync(join(home, ".vault-token"), `${bao.token}\n`, { mode: 0o600 });
  mkdirSync(join(home, "bin"));
  writeFileSync(join(home, "bin/op"), standIn);
  chmodSync(join(home, "bin/op"), 0o755);
});

afterAll(async () => {
  rmSync(home, { recursive: true });
  await Promise.all([bao.close(), keyring.close()]);
});

const environment = (path = `${home}/bin:${process.env.PATH}`) => ({
  HOME: home,
  PATH: path,
  VAULT_ADDR: bao.address,
  DBUS_SESSION_BUS_ADDRESS: keyring.address,
});

function run(uris: Record<string, string>, script: string, env: Record<string, string> = environment()) {
  rmSync(calls, { force: true });
  const variables = Object.entries(uris).flatMap(([name, uri]) => ["--secret-env", `${name}=${uri}`]);
  return claimcheck(["run", ...variables, image, "--", "sh", "-c", script], { env });
}

test("reads with the token that vault login left, the keyring, and the op command", async () => {
  const uris = {
    A: `vault://${mount}/app#token`,
    B: "libsecret://login/GitHub token",
    C: "op://infra/database/password",
    D: "op://infra/deploy/token",
  };
  const script =
    '[ "$A,$B,$C,$D" = "from-vault,from-keyring,from op\nwith a line,from-op-too" ] && echo same; echo "$A $B $D"';
  expect(await run(uris, script)).toEqual({ code: 0, stdout: "same\n*** *** ***\n", stderr: "" });
  // All of them with one call, so that the user is asked once.
  expect(readFileSync(calls, "utf8")).toBe("inject\n");
});

test("says which item the op command does not find", async () => {
  const { code, stderr } = await run({ A: "op://infra/deploy/token", B: "op://infra/none/token" }, "true");
  expect(code).toBe(125);
  expect(stderr).toContain("op://infra/none/token names no item (for B) [secret_not_found]");
  expect(stderr).not.toContain("(for A)");
});

test("says that the op command is not signed in", async () => {
  const env = { ...environment(), OP_SIGNED_OUT: "1" };
  const { code, stderr } = await run({ A: "op://infra/deploy/token" }, "true", env);
  expect(code).toBe(125);
  expect(stderr).toContain("the op command is not signed in: run `op signin`");
});

test("says that there is neither a token nor the op command", async () => {
  const { code, stderr } = await run({ A: "op://infra/deploy/token" }, "true", environment(process.env.PATH));
  expect(code).toBe(125);
  expect(stderr).toContain("OP_SERVICE_ACCOUNT_TOKEN is not set, and there is no `op` command on the PATH");
});
