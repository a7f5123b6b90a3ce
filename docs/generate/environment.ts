/** docs/reference/environment.md. What each variable means is here; which there are, the sources say. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { cell, code, page, table } from "./markdown.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

const ofClients: Record<string, string> = {
  CLAIMCHECK_BROKER: "The broker's URL, as `--broker`.",
  CLAIMCHECK_BROKER_KEYS:
    "Thumbprints of the broker's keys, with commas between them. Clients believe no other key.",
  CLAIMCHECK_TOKEN: "The token for the broker. It counts before CLAIMCHECK_TOKEN_FILE.",
  CLAIMCHECK_TOKEN_FILE: "A file with the token, as `--token-file`. Clients read it again at each use.",
  CLAIMCHECK_SOURCE_TOKENS:
    "Where your own tokens are, for [sources that log in with them](../sources.md#log-in-with-the-jobs-own-token): `SOURCE=env://VARIABLE` or `SOURCE=file://PATH`, with commas between them.",
  CLAIMCHECK_EXECUTOR: "The socket of an executor, or HOST:PORT, as `--executor`.",
  CLAIMCHECK_EXECUTOR_TOKEN: "For an executor on HOST:PORT: the content of its `listen.tokenFile`.",
  CLAIMCHECK_HANDLE_NAME:
    "The handle for the variable NAME, or for what a plan calls NAME, as `--handle`. Any NAME.",
  CLAIMCHECK_CACHE_DIR: "Where cached results are, as `--cache-dir`.",
  CLAIMCHECK_NO_MASKING: "`1` shows secrets in the output, as `--no-masking`.",
  CLAIMCHECK_AUDIT_URL:
    "The PostgreSQL database of the audit log, for `claimcheck audit … --postgres`. Without it, psql's own variables count.",
  CLAIMCHECK_NODE: "The Node.js that the command `claimcheck` starts with; without it, the one on the PATH.",
  CLAIMCHECK_COMMAND:
    "The `claimcheck` command that the front ends start. Without it: the package's own, or the one on the PATH.",
  ACTIONS_ID_TOKEN_REQUEST_URL:
    "GitHub Actions sets it in a job with `id-token: write`; Claimcheck then asks GitHub for a token.",
  ACTIONS_ID_TOKEN_REQUEST_TOKEN: "The same.",
};

const ofSources: Record<string, string> = {
  VAULT_ADDR: "Where Vault or OpenBao is. For each of these variables, `BAO_…` counts before `VAULT_…`.",
  VAULT_CACERT: "A file with the certificate authority of that server, in PEM.",
  VAULT_NAMESPACE: "The namespace of URIs that name none.",
  VAULT_PATH_PREFIX: "The mount of URIs that name none; `secret` without it. It has no `BAO_` form.",
  VAULT_TOKEN:
    "A token. The log-ins below count in this order, where it is not set; the last is `~/.vault-token`.",
  VAULT_APPROLE_ROLE_ID: "Logs in by AppRole.",
  VAULT_APPROLE_SECRET_ID: "The same.",
  VAULT_JWT_ROLE: "Logs in with a JWT.",
  VAULT_JWT_FILE: "The file with that JWT; read again at each log-in.",
  VAULT_KUBERNETES_ROLE: "Logs in with the service account of this pod.",
  VAULT_KUBERNETES_TOKEN_FILE: "The file with its token, if it is not where Kubernetes puts it.",
  VAULT_AUTH_MOUNT: "Where the log-in method is mounted, if not under its own name.",
  OP_SERVICE_ACCOUNT_TOKEN: "The token of a 1Password service account.",
  CLAIMCHECK_OP_SIGN_IN_ORIGINS:
    "Origins beside 1Password's own that this token may lead to, with commas between them.",
};

const ofFolders: Record<string, string> = {
  XDG_STATE_HOME: "Keys and heads of audit logs are in `claimcheck` below it; `~/.local/state` without it.",
  XDG_DATA_HOME:
    "Containers of users who are not root are in `claimcheck` below it; `~/.local/share` without it. Root's are in `/var/lib/claimcheck`.",
  XDG_CACHE_HOME: "Node.js's compiled code is in `claimcheck` below it; `~/.cache` without it.",
  XDG_CONFIG_HOME: "Where podman and buildah keep a user's settings and log-ins.",
  XDG_RUNTIME_DIR: "The same, for log-ins of this session.",
};

/** Between processes of ours, or of our tests. */
const internal = ["CLAIMCHECK_BYTES", "CLAIMCHECK_ENVIRON", "CLAIMCHECK_HANDLE", "CLAIMCHECK_TEST_IMAGE"];

const folders = ["bin", "broker", "executor", "shared", "sdk/typescript", "sdk/python/src", "sdk/go"];
const known = { ...ofClients, ...ofSources, ...ofFolders };

/** The names in the sources: Vault's stand there without their beginning too. */
export function namesInSources(): {
  readonly all: ReadonlySet<string>;
  readonly undescribed: readonly string[];
} {
  const texts = folders.flatMap((folder) =>
    (readdirSync(`${root}/${folder}`, { recursive: true }) as string[])
      .filter((name) => /\.(ts|cjs|py|go)$/.test(name))
      .map((name) => readFileSync(`${root}/${folder}/${name}`, "utf8")),
  );
  const text = texts.join("\n");
  const names = text.match(/\b(CLAIMCHECK|VAULT|OP|ACTIONS|XDG)(_[A-Z]+)+\b/g) ?? [];
  const found = [...text.matchAll(/(?:find|either)\("([A-Z_]+)"\)/g)].map(([, name]) => `VAULT_${name}`);
  const all = new Set([...names, ...found]);
  return { all, undescribed: [...all].filter((name) => !(name in known) && !internal.includes(name)) };
}

export function environment(): string {
  const { all, undescribed } = namesInSources();
  const gone = Object.keys(known).filter((name) => !all.has(name));
  if (undescribed.length + gone.length > 0) {
    throw new Error(`docs/generate/environment.ts lacks ${undescribed}, and has no use for ${gone}`);
  }
  return page(
    "# Environment variables",
    "A flag beats the variable that says the same.",
    "## Clients",
    rows(ofClients),
    "## Providers",
    "For the embedded broker and for a central one.",
    rows(ofSources),
    "## Folders",
    rows(ofFolders),
    "Of the rest of its environment, Claimcheck passes on to runc, buildah and mount what they need: `PATH`, `HOME`, `USER`, `LANG`, `LC_…`, `TMPDIR`, `TZ`, `XDG_…`, the proxy variables, `SSL_CERT_FILE`, `SSL_CERT_DIR`, `REGISTRY_AUTH_FILE`, `BUILDAH_…`, `CONTAINERS_…` and `STORAGE_…`. A broker's `url:`, `rootKey:`, `redis:` and `postgres:` can name variables of your choice (`{ env: NAME }`).",
  );
}

const rows = (described: Record<string, string>) =>
  table(
    ["variable", "means"],
    Object.entries(described).map(([name, means]) => [code(name), cell(means)]),
  );
