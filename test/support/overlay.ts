/** Layers as containers make them: through a real overlay, in a mount namespace of its own. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A folder for one test. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-layers-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Runs a shell script in the overlay of these folders, the upper ones first, and gives its output. It writes to `upper`. */
export function inOverlay(script: string, lower: readonly string[], upper?: string): string {
  const folder = scratch();
  for (const name of ["merged", "work"]) mkdirSync(`${folder}/${name}`);
  const writable = upper ? `,upperdir=${upper},workdir=${folder}/work` : "";
  const options = `lowerdir=${lower.join(":")}${writable}`;
  const mounted = `mount -t overlay -o ${options} overlay ${folder}/merged && cd ${folder}/merged`;
  const output = execFileSync("unshare", ["--mount", "--", "bash", "-ec", `${mounted}\n${script}`], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return output.toString("latin1");
}

/** Sets an extended attribute, as no program does that is sure to be here. */
export function setAttribute(path: string, name: string, value: string): void {
  const lsetxattr = { x64: 189, arm64: 6 }[process.arch as "x64" | "arm64"];
  const call = `syscall(${lsetxattr}, @ARGV[0..2], length $ARGV[2], 0) and die "$!\\n"`;
  execFileSync("perl", ["-e", call, path, name, value]);
}

/** For the script: everything that a file tree is, in an order of its own; first to be read, then as a sum of it all. */
export const describe = `
  describe() { tar --create --sparse --sparse-version=0.0 --format=pax --sort=name --numeric-owner --xattrs \
    --xattrs-include='*' --pax-option=exthdr.name=x,delete=atime,delete=ctime . ; }
  describe | tar --list --verbose --full-time --numeric-owner
  describe | sha256sum`;
