/**
 * Images, from the storage that buildah, podman and CRI-O share. A name means what it means to them, and what
 * is not there is pulled.
 *
 * Runs of one image share one read-only mount of it: a buildah working container that is made at the first use
 * and stays, because to make one for every run would cost more than the run.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { Failure } from "./failure.ts";
import { type Login, pull } from "./pull.ts";
import { isRootless } from "./rootless.ts";

const exec = promisify(execFile);

/** What an image says of how to run it: the OCI image configuration's `config`. */
export interface ImageConfig {
  readonly Env?: readonly string[];
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
}

export interface Image {
  readonly id: string;
  readonly config: ImageConfig;
  /** Folders with its files, the upper ones first. Only to be read. */
  readonly layers: readonly string[];
}

interface Surroundings {
  /** The folder where answers are remembered. */
  readonly state: string;
  /** For the programs that are started: what they need, and no secret. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
  /** Called when the image has to be pulled. */
  readonly logins: () => Promise<readonly Login[]>;
}

/** @throws {Failure} `image_unavailable`. */
export async function prepareImage(name: string, surroundings: Surroundings): Promise<Image> {
  if (name === "" || name.startsWith("-")) {
    throw new Failure("image_unavailable", { detail: `"${name}" is no image name` });
  }
  const memory = `${surroundings.state}/images/${createHash("sha256").update(name).digest("hex")}.json`;
  const remembered = recall(memory, surroundings);
  if (remembered) return remembered;
  const image = await askBuildah(name, surroundings);
  remember(memory, image, surroundings);
  return image;
}

interface BuildahSurroundings extends Pick<Surroundings, "environment" | "signal"> {
  /** Where relative paths begin. */
  readonly scratch?: string;
}

/** @returns what a command of buildah's printed. */
export async function runBuildah(
  args: readonly string[],
  { environment, signal, scratch }: BuildahSurroundings,
): Promise<string> {
  const { stdout } = await exec("buildah", args, {
    env: environment,
    signal,
    cwd: scratch,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

async function askBuildah(name: string, surroundings: Surroundings): Promise<Image> {
  const { environment, signal, onProgress, state } = surroundings;
  const buildah = (...args: string[]) => runBuildah(args, surroundings);

  const inspect = () => buildah("inspect", "--type", "image", name);
  const inspected = await inspect().catch(async (error) => {
    if (isMissing(error))
      throw new Failure("unsupported_host", { detail: "buildah is not installed", cause: error });
    signal.throwIfAborted();
    const logins = await surroundings.logins();
    onProgress(`pulling ${name}`);
    try {
      await pull(name, logins, { folder: `${state}/registries`, environment, signal });
      return await inspect();
    } catch (cause) {
      throw new Failure("image_unavailable", { detail: `${name} (${reasonOf(cause)})`, cause });
    }
  });
  const { id, config } = readInspection(inspected);

  // Two first runs at once race for the name; whoever loses finds the container made.
  const container = `claimcheck-${id}`;
  const mount = async () =>
    layersOf(isRootless ? await buildah(...mountUnshared, container) : await mounted(buildah, container));
  const layers = await mount().catch(async () => {
    await buildah("from", "--pull-never", "--name", container, id).catch(() => {});
    return mount().catch((cause) => {
      throw new Failure("image_unavailable", {
        detail: `${name} cannot be mounted (${reasonOf(cause)})`,
        cause,
      });
    });
  });
  return { id, config, layers };
}

/**
 * Buildah's answer of another time, while it must still be true: nothing has been changed in the list of images
 * since or in what names stand for, and the mount is there. Asking costs more than half of a `runc run`.
 */
function recall(memory: string, { environment }: Surroundings): Image | undefined {
  try {
    const { witness, image } = JSON.parse(readFileSync(memory, "utf8")) as { witness: string; image: Image };
    return image.layers.every(existsSync) && witness === witnessOf(image.layers, environment)
      ? image
      : undefined;
  } catch {
    return undefined;
  }
}

/** Where it cannot be kept, buildah is asked again the next time. */
function remember(memory: string, image: Image, { environment }: Surroundings): void {
  const witness = witnessOf(image.layers, environment);
  if (!witness) return;
  const draft = `${memory}.${process.pid}`;
  try {
    mkdirSync(dirname(memory), { recursive: true, mode: 0o700 });
    writeFileSync(draft, JSON.stringify({ witness, image }), { mode: 0o600 });
    renameSync(draft, memory);
  } catch {
    rmSync(draft, { force: true });
  }
}

/** Of what is remembered: the image's own layers. Before it was a mount of buildah's. */
const format = "layers";

/** The state of the files that decide what an image name stands for; none for a storage that is laid out otherwise. */
function witnessOf(layers: readonly string[], { HOME }: Surroundings["environment"]): string | undefined {
  const storage = /^(.+\/(?:overlay|vfs))\/(?:l|dir|[0-9a-f]+)\/\w+$/.exec(layers[0] ?? "")?.[1];
  if (!storage) return undefined;
  const deciding = [
    `${storage}-images/images.json`,
    "/etc/containers/registries.conf",
    "/etc/containers/registries.conf.d",
    `${HOME}/.config/containers/registries.conf`,
  ];
  const states = deciding.map((file) => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
    return stat ? `${stat.ino} ${stat.size} ${stat.mtimeNs}` : "";
  });
  return states[0] && [format, ...states].join("\n");
}

/**
 * What buildah mounts is an overlay, which is taken apart again: its lower folders stay, and a mount that maps users can be
 * made of them alone. A storage without overlays has one plain folder. Who is not root sees the mount only in the
 * namespaces that buildah makes for one command.
 */
const mountUnshared = ["unshare", "--", "sh", "-c", 'buildah mount "$1" && cat /proc/self/mountinfo', "sh"];

function layersOf(mounted: string): string[] {
  const [path = "", ...mountinfo] = mounted.split("\n");
  const options = mountinfo.find((line) => line.includes(` ${path} `) && line.includes(" - overlay "));
  return /[ ,]lowerdir=([^, ]+)/.exec(options ?? "")?.[1]?.split(":") ?? [path];
}

async function mounted(buildah: (...args: string[]) => Promise<string>, container: string): Promise<string> {
  const path = await buildah("mount", container);
  const mountinfo = readFileSync("/proc/self/mountinfo", "utf8");
  await buildah("umount", container);
  return `${path}\n${mountinfo}`;
}

function readInspection(json: string): { id: string; config: ImageConfig } {
  const inspected = JSON.parse(json) as { FromImageID: string; OCIv1: { config?: ImageConfig } };
  return { id: inspected.FromImageID, config: inspected.OCIv1.config ?? {} };
}

const isMissing = (error: unknown) => (error as { code?: unknown }).code === "ENOENT";

/** The last line that buildah wrote, bounded: the ones before it tell the same story from further away. */
export function reasonOf(error: unknown): string {
  const stderr = String((error as { stderr?: unknown }).stderr ?? "").trim();
  const line = stderr.slice(stderr.lastIndexOf("\n") + 1).replace(/^Error: /, "");
  return line.slice(0, 300) || "buildah failed";
}
