/** What bare `runc run` needs to run the same program on the same image: the least that anybody could do. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** What setup.sh builds. */
export const image = "localhost/claimcheck-busybox:latest";

export interface Bundle {
  readonly folder: string;
  remove(): void;
}

/** A bundle on a root file system that is there already. */
export function bareBundle(program: readonly string[], env: readonly string[] = []): Bundle {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bundle-"));
  const container = execFileSync("buildah", ["from", "--pull-never", image]).toString().trim();
  const rootfs = execFileSync("buildah", ["mount", container]).toString().trim();
  execFileSync("runc", ["spec"], { cwd: folder });
  const path = join(folder, "config.json");
  const spec = JSON.parse(readFileSync(path, "utf8"));
  Object.assign(spec.process, { terminal: false, args: program, rlimits: [] });
  spec.process.env.push(...env);
  Object.assign(spec.root, { path: rootfs, readonly: false });
  writeFileSync(path, JSON.stringify(spec));
  return {
    folder,
    remove() {
      execFileSync("buildah", ["rm", container]);
      rmSync(folder, { recursive: true });
    },
  };
}
