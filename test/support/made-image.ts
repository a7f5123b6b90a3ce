/** Images that a test makes, in the storage that buildah, podman and Claimcheck share. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { onTestFinished } from "vitest";
import { image } from "./command.ts";

const buildah = (...args: string[]) => execFileSync("buildah", args, { encoding: "utf8" });

export function removeImageAfterwards(name: string): void {
  onTestFinished(() => {
    const { FromImageID: id } = JSON.parse(buildah("inspect", "--type", "image", name)) as {
      FromImageID: string;
    };
    if (buildah("containers", "--noheading").includes(`claimcheck-${id}`)) buildah("rm", `claimcheck-${id}`);
    buildah("rmi", name);
  });
}

/**
 * The tests' image, after a shell script has changed its files from inside their root folder.
 *
 * @param isRemoved whether the test removes it itself.
 * @returns its name.
 */
export function makeImage(script: string, { isRemoved = false } = {}): string {
  const working = buildah("from", "--pull-never", image).trim();
  const name = `localhost/claimcheck-test-${randomBytes(4).toString("hex")}:1`;
  execFileSync("sh", ["-ec", script], { cwd: buildah("mount", working).trim() });
  buildah("commit", "--quiet", "--rm", working, name);
  if (!isRemoved) removeImageAfterwards(name);
  return name;
}
