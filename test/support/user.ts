/** A user of this host who is not root, with subordinate numbers and the tests' image, for one test file. */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { image } from "./command.ts";

export function addUser() {
  const name = `claimcheck-${process.pid}`;
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-user-"));
  chmodSync(folder, 0o755);
  execFileSync("useradd", ["--create-home", "--home-dir", join(folder, "home"), name]);
  const home = join(folder, "home");
  const data = join(home, "data");

  // The variables that name folders are this user's, whatever those of the tests are.
  const own = [`HOME=${home}`, `XDG_DATA_HOME=${data}`, `XDG_STATE_HOME=${home}/state`];
  const become = `setpriv --reuid=${name} --regid=${name} --init-groups env ${own.join(" ")}`;
  const node = join(folder, "node");
  writeFileSync(node, `#!/bin/sh\ncd ${home} && exec ${become} "${process.execPath}" "$@"\n`);
  chmodSync(node, 0o755);

  const run = (...command: string[]) =>
    execFileSync("sh", ["-c", `cd ${home} && exec ${become} "$@"`, "sh", ...command], { stdio: "pipe" });
  const archive = join(folder, "image.tar");
  execFileSync("buildah", ["push", "--quiet", image, `oci-archive:${archive}:${image}`]);
  chmodSync(archive, 0o644);
  run("buildah", "pull", "--quiet", `oci-archive:${archive}`);

  return {
    /** Node.js as this user. */
    node,
    home,
    runs: join(data, "claimcheck", "runs"),

    remove(): void {
      run("buildah", "unshare", "rm", "-rf", data);
      execFileSync("userdel", ["--remove", name], { stdio: "ignore" });
      if (existsSync(folder)) execFileSync("rm", ["-rf", folder]);
    },
  };
}
