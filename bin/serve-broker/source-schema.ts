/** `sources:` of broker.yaml: the upstreams that tenants read from, and how the broker logs in to each. */
import * as z from "zod/mini";
import { fileUri } from "../../broker/providers/file.ts";
import { described } from "../../shared/described.ts";
import { record } from "../../shared/record.ts";
import { sourceName } from "../../shared/source-name.ts";

const text = z.string().check(z.minLength(1));
const path = z.string().check(z.regex(/^[^/?#%\s]+(?:\/[^/?#%\s]+)*$/, { error: "a path such as team/one" }));

/** Never the secret itself: a file of settings is read by more people than its secrets are for. */
const credential = z.string().check(
  z.regex(/^[a-z][a-z0-9]*:\/\/\S/, {
    error:
      "the URI of a secret, never the secret itself: env://NAME for a variable of the broker, file://PATH for a file, or vault://PATH#FIELD?source=NAME for a secret of another source",
  }),
);

const kindOfSource = "The provider, which is the scheme of its URIs.";

const tenants = described(
  z.array(z.string().check(z.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/))).check(z.minLength(1)),
  "The tenants that read from it. Each has its own log-in and connections there.",
);

const folder = z.string().check(z.regex(/^\/[^\0]*$/));
const root = z.union(
  [
    folder,
    z.strictObject({
      folder: described(folder, "Its absolute path."),
      hardLinks: described(
        z._default(z.boolean(), false),
        "Whether its files may have other names (hard links). Somebody who may write to it can then give a file of another folder a name in it.",
      ),
    }),
  ],
  { error: "a folder by its absolute path, or { folder: PATH, hardLinks: true }" },
);

const mount = (name: string) =>
  described(z._default(path, name), "The mount of the log-in method in the Vault server.");
const role = described(text, "The role to log in with.");

const vaultAuth = z.union(
  [
    z.strictObject({ token: described(credential, "A token.") }),
    z.strictObject({
      approle: described(
        z.strictObject({
          roleId: described(text, "The role's id, which is not a secret."),
          secretId: described(credential, "The role's secret id."),
          mount: mount("approle"),
        }),
        "An AppRole.",
      ),
    }),
    z.strictObject({
      kubernetes: described(
        z.strictObject({
          role,
          jwt: described(
            z._default(credential, fileUri("/var/run/secrets/kubernetes.io/serviceaccount/token")),
            "The service account's token. The broker reads it again for each log-in.",
          ),
          mount: mount("kubernetes"),
        }),
        "The service account that the broker runs as in Kubernetes.",
      ),
    }),
    z.strictObject({
      jwt: described(
        z.strictObject({
          role,
          jwt: described(credential, "A token that identifies this broker, read again for each log-in."),
          mount: mount("jwt"),
        }),
        "A JWT.",
      ),
    }),
    z.strictObject({
      requester: described(
        z.strictObject({ role, mount: mount("jwt") }),
        "The JWT that each requester sends for this source, so that the server's own policies apply to the very job.",
      ),
    }),
  ],
  { error: "one of { token: … }, { approle: … }, { kubernetes: … }, { jwt: … } and { requester: … }" },
);

const vault = z.strictObject({
  provider: described(z.literal("vault"), kindOfSource),
  tenants,
  address: described(z.url(), "Such as https://vault.example:8200; http only on loopback."),
  namespace: described(z.optional(path), "The namespace of every request."),
  prefix: described(z._default(path, "secret"), "The mount for a path of one segment."),
  ca: described(z.optional(text), "A file of certificates (PEM) to trust instead of the system's."),
  clientCertificate: described(
    z.optional(
      z.strictObject({
        certificate: described(text, "A file with the certificate and its chain, in PEM."),
        key: described(credential, "Its key, in PEM."),
      }),
    ),
    "The certificate and key by which the broker identifies itself in TLS.",
  ),
  auth: described(vaultAuth, "How the broker logs in."),
});

const op = z.strictObject({
  provider: described(z.literal("op"), kindOfSource),
  tenants,
  token: described(credential, "The token of a 1Password service account."),
  signInOrigins: described(
    z._default(z.array(z.string().check(z.regex(/^https?:\/\/[^/]+$/))), []),
    "Origins besides 1Password's own that the token may lead to.",
  ),
});

const env = z.strictObject({
  provider: described(z.literal("env"), kindOfSource),
  tenants,
  variables: described(
    z.array(z.string().check(z.regex(/^[A-Za-z_][A-Za-z0-9_]*$/))),
    "Variables of the broker's environment that env:// can read.",
  ),
});

const file = z.strictObject({
  provider: described(z.literal("file"), kindOfSource),
  tenants,
  roots: described(
    z.array(root),
    "Folders, by absolute path, that file:// can read from. Links lead only within their own folder.",
  ),
});

const cmd = z.strictObject({
  provider: described(z.literal("cmd"), kindOfSource),
  tenants,
  commands: described(z.array(text), "Commands that cmd:// can run, to the byte."),
});

export const SourceEntry = z.discriminatedUnion("provider", [vault, op, env, file, cmd], {
  error: "provider: vault, op, env, file or cmd",
});
export type SourceEntry = z.infer<typeof SourceEntry>;
export type VaultEntry = z.infer<typeof vault>;

export const SourceEntries = record(
  z.string().check(z.regex(sourceName, { error: "a name of lower-case letters, digits and -, at most 63" })),
  SourceEntry,
);
export type SourceEntries = Readonly<Record<string, SourceEntry>>;

/** Whether each requester logs in there with a token of its own. */
export const isByRequester = (entry: SourceEntry): boolean =>
  entry.provider === "vault" && "requester" in entry.auth;

/** The URIs of what a source logs in with. */
export function credentialsOf(entry: SourceEntry): string[] {
  if (entry.provider === "op") return [entry.token];
  if (entry.provider !== "vault") return [];
  const { auth, clientCertificate } = entry;
  const key = clientCertificate ? [clientCertificate.key] : [];
  if ("token" in auth) return [auth.token, ...key];
  if ("approle" in auth) return [auth.approle.secretId, ...key];
  if ("requester" in auth) return key;
  return ["jwt" in auth ? auth.jwt.jwt : auth.kubernetes.jwt, ...key];
}
