/** Images that a test makes, in the storage that buildah, podman and Claimcheck share. */
import { execFileSync } from "node:child_process";
import { onTestFinished } from "vitest";

const buildah = (...args: string[]) => execFileSync("buildah", args, { encoding: "utf8" });

/** With the working container that a run of it has made. */
export function removeImageAfterwards(name: string): void {
  onTestFinished(() => {
    const { FromImageID: id } = JSON.parse(buildah("inspect", "--type", "image", name)) as {
      FromImageID: string;
    };
    if (buildah("containers", "--noheading").includes(`claimcheck-${id}`)) buildah("rm", `claimcheck-${id}`);
    buildah("rmi", name);
  });
}
