/**
 * The command as it was at 1095231, which counts as version 0.1.0: built from the history with today's tools, and kept in
 * .tools for the next test.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const commit = "1095231";
const project = fileURLToPath(new URL("../..", import.meta.url));

/** @returns the path of its `claimcheck.cjs`. */
export function buildFirstVersion(): string {
  const built = join(project, ".tools", `claimcheck-${commit}`);
  const entry = join(built, "dist", "claimcheck.cjs");
  if (existsSync(entry)) return entry;
  mkdirSync(join(project, ".tools"), { recursive: true });
  // In a folder of its own until it is whole: several tests may build it at once.
  const folder = mkdtempSync(`${built}-`);
  try {
    const archive = join(folder, "sources.tar");
    archiveTo(archive);
    execFileSync("tar", ["-xf", archive, "-C", folder]);
    symlinkSync(join(project, "node_modules"), join(folder, "node_modules"));
    const rolldown = join(project, "node_modules", ".bin", "rolldown");
    execFileSync(rolldown, ["-c", "--logLevel", "silent"], {
      cwd: folder,
      stdio: ["ignore", "ignore", "inherit"],
    });
    if (!existsSync(entry)) renameSync(folder, built);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return entry;
}

function archiveTo(path: string): void {
  try {
    execFileSync("git", ["archive", "--format=tar", "-o", path, commit], { cwd: project, stdio: "pipe" });
  } catch (cause) {
    throw new Error(
      `this test builds version 0.1.0 from commit ${commit}, which this checkout does not have: it needs git and the whole history (git fetch --unshallow)`,
      { cause },
    );
  }
}
