/**
 * Pulls an image. What its registry wants to know first lies in a tmpfs that only the pulling process's mount namespace
 * has, and goes with that process, which ends when this one does.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { makeFolder } from "../../shared/make-folder.ts";
import type { Secret } from "../../shared/secret.ts";
import { isRootless } from "../host/rootless.ts";

const exec = promisify(execFile);

export interface Login {
  /** Of a registry, or of a part of it: `registry.example:5000/team`. */
  readonly address: string;
  readonly user: string;
  readonly password: Secret;
}

interface PullSettings {
  /** An empty folder, made if need be. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Whether the image may be there, and the registry is to be asked all the same. */
  readonly isThere: boolean;
}

/** FOLDER POLICY NAME; the authfile is read from standard input. */
const script = `
{ mount -t tmpfs -o mode=0700,noswap tmpfs "$1" 2>/dev/null || mount -t ramfs -o mode=0700 ramfs "$1"; } &&
  cat > "$1/auth.json" && exec buildah pull --quiet --policy "$2" --authfile "$1/auth.json" -- "$3" < /dev/null`;

const namespaces = () => (isRootless() ? ["buildah", "unshare"] : ["unshare", "--mount"]);
/** Said twice, because `buildah unshare` would leave its child behind. */
const mortal = ["--pdeathsig", "KILL"];
const alone = () => [...mortal, ...namespaces(), "--", "setpriv", ...mortal, "sh", "-c", script, "sh"];

/** @throws what execFile throws, with buildah's words in `stderr`. */
export async function pull(
  name: string,
  logins: readonly Login[],
  surroundings: PullSettings,
): Promise<void> {
  const { folder, environment, signal } = surroundings;
  const policy = surroundings.isThere ? "always" : "missing";
  const options = { env: environment, signal };
  if (logins.length === 0) {
    await exec("buildah", ["pull", "--quiet", "--policy", policy, "--", name], options);
    return;
  }
  makeFolder(folder);
  const pulling = exec("setpriv", [...alone(), folder, policy, name], options);
  const authfile = authfileOf(logins);
  const { stdin } = pulling.child;
  stdin?.on("error", () => {}); // Whoever ends without having read it all has something to say.
  stdin?.end(authfile, () => authfile.fill(0));
  await pulling;
}

/** containers-auth.json(5), as bytes: a password is never part of a string. */
export function authfileOf(logins: readonly Login[]): Buffer {
  const parts = logins.flatMap(({ address, user, password }, index) => {
    const pair = Buffer.concat([Buffer.from(`${user}:`), password.expose()]);
    const encoded = base64(pair);
    pair.fill(0);
    const start = `${index === 0 ? "" : ","}${JSON.stringify(address)}:{"auth":"`;
    return [Buffer.from(start), encoded, Buffer.from('"}')];
  });
  const whole = Buffer.concat([Buffer.from('{"auths":{'), ...parts, Buffer.from("}}")]);
  for (const part of parts) part.fill(0);
  return whole;
}

const letters = Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");

/** RFC 4648, section 4. Node.js would make a string of it. */
function base64(bytes: Uint8Array): Buffer {
  const out = Buffer.alloc(Math.ceil(bytes.length / 3) * 4, "=");
  for (let digit = 0; digit < Math.ceil((bytes.length * 8) / 6); digit++) {
    const bit = digit * 6;
    const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
    out[digit] = letters[(pair >> (10 - (bit & 7))) & 63] as number;
  }
  return out;
}
