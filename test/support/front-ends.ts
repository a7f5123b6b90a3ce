/** The tool chains of the front ends that are not TypeScript, and the command that all of them start. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { entry } from "./command.ts";

const project = fileURLToPath(new URL("../..", import.meta.url));
export const pythonSources = join(project, "sdk/python/src");
export const goModule = join(project, "sdk/go");

/** Why Go's tests are left out, which neither the command nor the other tests need; undefined where it is there. */
export const withoutGo = has("go", "version")
  ? undefined
  : "Go is not on the PATH; install golang-go to test sdk/go";

/** Every Debian has it. */
export function needPython(): void {
  if (!has("python3", "--version")) throw new Error("python3 is not on the PATH; install it");
}

/** The command as a program without arguments of its own, which is what CLAIMCHECK_COMMAND names. */
export function commandFile(): string {
  const file = join(mkdtempSync(join(tmpdir(), "claimcheck-command-")), "claimcheck");
  writeFileSync(file, `#!/bin/sh\nexec "${process.execPath}" -- "${entry}" "$@"\n`);
  chmodSync(file, 0o755);
  return file;
}

function has(program: string, argument: string): boolean {
  try {
    execFileSync(program, [argument], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}
