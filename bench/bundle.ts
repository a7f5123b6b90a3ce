/** What bare `runc run` needs to run the same program on the same image: the least that anybody could do. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSpec } from "../executor/container/spec.ts";
import { findUser } from "../executor/image/user.ts";
import { plainStep } from "../executor/plan/plan.ts";

/** What setup.sh builds. */
export const image = "localhost/claimcheck-busybox:latest";

export interface Bundle {
  readonly folder: string;
  remove(): void;
}

/** A bundle on a root file system that is there already, with what `runc spec` says. */
export function bareBundle(program: readonly string[], env: readonly string[] = []): Bundle {
  return makeBundle((folder) => {
    execFileSync("runc", ["spec"], { cwd: folder });
    const spec = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    Object.assign(spec.process, { terminal: false, args: program, rlimits: [] });
    spec.process.env.push(...env);
    return spec;
  });
}

/** The same, shut in as a container of ours is. */
export function shutInBundle(program: readonly string[], env: readonly string[] = []): Bundle {
  return makeBundle(() => {
    const { hooks: _, ...spec } = createSpec(
      {
        ...plainStep,
        init: false,
        args: program,
        env: env.map((variable) => variable.split("=") as [string, string]),
      },
      {
        config: {},
        user: findUser("", "/nonexistent"),
        hostname: "bench",
        cgroup: "bench",
        firstUser: undefined,
        seccomp: "strict",
        hook: { path: "", args: [] },
        screen: { columns: 0, rows: 0 },
      },
    );
    return spec;
  });
}

function makeBundle(describe: (folder: string) => object): Bundle {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-bundle-"));
  const container = execFileSync("buildah", ["from", "--pull-never", image]).toString().trim();
  const rootfs = execFileSync("buildah", ["mount", container]).toString().trim();
  const spec = { ...describe(folder), root: { path: rootfs, readonly: false } };
  writeFileSync(join(folder, "config.json"), JSON.stringify(spec));
  return {
    folder,
    remove() {
      execFileSync("buildah", ["rm", container]);
      rmSync(folder, { recursive: true });
    },
  };
}
