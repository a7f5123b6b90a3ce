/**
 * Where Vault is and how to log in, by the variables that its own command knows, `BAO_` before `VAULT_`:
 *
 *     VAULT_ADDR, VAULT_CACERT
 *     VAULT_TOKEN                                           a token
 *     VAULT_APPROLE_ROLE_ID, VAULT_APPROLE_SECRET_ID        else AppRole
 *     VAULT_JWT_ROLE, VAULT_JWT_FILE                        else a JWT, read again for each log-in
 *     VAULT_KUBERNETES_ROLE, VAULT_KUBERNETES_TOKEN_FILE    else the service account of this pod
 *     ~/.vault-token                                        else what `vault login` left
 *     VAULT_AUTH_MOUNT                                      where the method is mounted, if not under its name
 *
 * White space around a value is no part of it.
 */
import type { VaultServer } from "../../broker/providers/vault-client.ts";
import type { LogIn } from "../../broker/providers/vault-session.ts";

interface Files {
  readonly read: (path: string) => Promise<string>;
  readonly tokenFile: string;
}

/** Where Kubernetes puts it. */
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/** @returns the server, or a sentence about what is missing. */
export function vaultServer(
  environment: Readonly<Record<string, string | undefined>>,
  { read, tokenFile }: Files,
): (VaultServer & { readonly logIn: LogIn }) | { readonly missing: string } {
  const find = (name: string) =>
    environment[`BAO_${name}`]?.trim() || environment[`VAULT_${name}`]?.trim() || undefined;
  const address = find("ADDR");
  if (address === undefined) return { missing: "VAULT_ADDR is not set" };
  if (!/^https?:\/\/[^/?#@]+(?:\/[^?#]*)?$/.test(address) || !URL.canParse(address)) {
    return { missing: "VAULT_ADDR is not an http or https URL" };
  }
  if (!/^[\x21-\x7e]*$/.test(find("TOKEN") ?? "")) {
    return { missing: "VAULT_TOKEN is not a token: it contains blanks or line breaks" };
  }
  const caFile = find("CACERT");
  const ca = caFile === undefined ? undefined : () => read(caFile);
  const shown = `the Vault server at ${new URL(address).origin} (VAULT_ADDR)`;
  return { address, ca, shown, logIn: logInBy(find, read, tokenFile) };
}

function logInBy(find: (name: string) => string | undefined, read: Files["read"], tokenFile: string): LogIn {
  const mount = find("AUTH_MOUNT");
  const token = find("TOKEN");
  if (token !== undefined) return { method: "token", token: async () => token };
  const roleId = find("APPROLE_ROLE_ID");
  if (roleId !== undefined) {
    const secretId = find("APPROLE_SECRET_ID") ?? "";
    return { method: "approle", mount: mount ?? "approle", roleId, secretId };
  }
  const role = find("JWT_ROLE");
  const jwtFile = find("JWT_FILE");
  if (role !== undefined && jwtFile !== undefined) {
    return { method: "jwt", mount: mount ?? "jwt", role, jwt: () => read(jwtFile) };
  }
  const podRole = find("KUBERNETES_ROLE");
  if (podRole !== undefined) {
    const file = find("KUBERNETES_TOKEN_FILE") ?? podToken;
    return { method: "kubernetes", mount: mount ?? "kubernetes", role: podRole, jwt: () => read(file) };
  }
  return { method: "token", token: () => read(tokenFile) };
}
