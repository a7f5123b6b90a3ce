/**
 * Images, from the storage that buildah, podman and CRI-O share. A name means what it means to them, and what
 * is not there is pulled.
 *
 * Runs of one image share the folders of its layers. A buildah working container tells where they are, and is removed
 * when it has (working-containers.ts). Every run locks the folders that it uses (supervisor.pl).
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import { ClaimcheckError } from "../../shared/errors.ts";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { isRootless } from "../host/rootless.ts";
import { parseImageName } from "./name.ts";
import { openPrivateImages } from "./private-images.ts";
import { type Login, pull } from "./pull.ts";
import { openPulledImages } from "./pulled-images.ts";
import { containerOf, openWorkingContainers } from "./working-containers.ts";

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
  /** All that the storage has for it, in full; asked for only where somebody wants to `admit` it. */
  readonly names?: readonly string[];
  /** Folders with its files, the upper ones first. Only to be read. */
  readonly layers: readonly string[];
}

interface ImageSettings {
  /** The folder where answers are remembered. */
  readonly state: string;
  /** For the programs that are started: what they need, and no secret. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onProgress: (line: string) => void;
  /** Called when the storage has grown, and the run is about to use what was pulled. */
  readonly onPulled?: () => void;
  /** Called when the image has to be pulled. */
  readonly logins: () => Promise<readonly Login[]>;
  /**
   * For whoever runs other people's plans: throws where the image that a name stands for is none that they may run. They
   * get no image either that was pulled with somebody's password, unless the registry gives it to them too.
   */
  readonly admit?: (names: readonly string[]) => void;
}

/** @throws {Failure} `image_unavailable`. */
export async function prepareImage(name: string, surroundings: ImageSettings): Promise<Image> {
  if (name === "" || name.startsWith("-")) {
    throw new Failure("image_unavailable", { detail: `"${name}" is not an image's name` });
  }
  await sweepContainers(surroundings);
  const memory = `${surroundings.state}/images/${createHash("sha256").update(meaningOf(name)).digest("hex")}.json`;
  const pulled = openPulledImages(surroundings.state);
  const remembered = recall(memory, surroundings);
  if (remembered) {
    pulled.use(remembered);
    return remembered;
  }
  const image = await askBuildah(name, surroundings);
  remember(memory, image, surroundings);
  if (pulled.use(image)) surroundings.onPulled?.();
  return image;
}

/** Removes the working containers of runs that were killed. */
export const sweepContainers = (surroundings: Pick<ImageSettings, "state" | "environment" | "signal">) =>
  openWorkingContainers(surroundings).sweep((container) => runBuildah(["rm", container], surroundings));

/** A tag says nothing where there is a digest, and somebody could write one after the other. */
function meaningOf(name: string): string {
  const { repository, digest } = parseImageName(name);
  return digest === undefined ? name : `${repository}@${digest}`;
}

interface BuildahSettings extends Pick<ImageSettings, "environment" | "signal"> {
  /** Where relative paths begin. */
  readonly scratch?: string;
}

/** @returns what a command of buildah's printed. */
export async function runBuildah(
  args: readonly string[],
  { environment, signal, scratch }: BuildahSettings,
): Promise<string> {
  const { stdout } = await exec("buildah", args, {
    env: environment,
    signal,
    cwd: scratch,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

async function askBuildah(name: string, surroundings: ImageSettings): Promise<Image> {
  const buildah = (...args: string[]) => runBuildah(args, surroundings);
  const { id, config, names } = await obtain(name, surroundings);

  // Two first runs at once may remove each other's container.
  const container = containerOf(id);
  const mount = async () =>
    layersOf(isRootless() ? await buildah(...mountUnshared, container) : await mounted(buildah, container));
  const made: Awaited<ReturnType<typeof working.make>>[] = [];
  const working = openWorkingContainers(surroundings);
  try {
    let layers: Layers | undefined;
    for (let attempt = 1; !layers; attempt++) {
      layers = await mount().catch(async (cause) => {
        surroundings.signal.throwIfAborted();
        if (attempt > mountAttempts) {
          throw new Failure("image_unavailable", {
            detail: `${name} cannot be mounted (${reasonOf(cause)})`,
            cause,
          });
        }
        made.push(await working.make(id));
        return undefined;
      });
    }
    if (layers.areShared) await buildah("rm", container).catch(() => surroundings.signal.throwIfAborted());
    for (const each of made) each.isGone();
    return { id, config, layers: layers.folders, ...(names && { names }) };
  } finally {
    for (const each of made) await each.close();
  }
}

const mountAttempts = 5;

type Found = Pick<Image, "id" | "config" | "names">;

/** The image that a name stands for, pulled if that has to be. */
async function obtain(name: string, surroundings: ImageSettings): Promise<Found> {
  const { environment, signal, onProgress, state, admit } = surroundings;
  const privates = openPrivateImages(privatesIn(state));
  const pulled = openPulledImages(state);

  async function find(): Promise<Found> {
    const found = readInspection(await runBuildah(["inspect", "--type", "image", name], surroundings));
    if (!admit) return found;
    const names = (await listImages(surroundings)).find(({ id }) => id === found.id)?.names ?? [];
    admit(names);
    return { ...found, names };
  }

  async function get(logins: readonly Login[], isThere: boolean): Promise<Found> {
    try {
      const before = await listImages(surroundings);
      await pull(name, logins, { folder: `${state}/registries`, environment, signal, isThere });
      const got = await find();
      const now = await listImages(surroundings);
      if (!before.some(({ id }) => id === got.id)) {
        pulled.note(got.id, now.find(({ id }) => id === got.id)?.names ?? []);
      }
      return got;
    } catch (cause) {
      if (isRefusal(cause)) throw cause;
      throw new Failure("image_unavailable", { detail: `${name} (${reasonOf(cause)})`, cause });
    }
  }

  const getWith = (logins: readonly Login[], isThere: boolean) =>
    privates.during(name, async () => ({ names: [], ...(await get(logins, isThere)) }));

  /** What everybody may have is no secret, whoever pulls it with a password. */
  async function getShared(isThere: boolean): Promise<Found> {
    try {
      const found = await get([], isThere);
      privates.forget({ names: [], ...found });
      return found;
    } catch (thrown) {
      const logins = isRefusal(thrown) ? [] : await surroundings.logins();
      if (logins.length === 0) throw thrown;
      return getWith(logins, isThere);
    }
  }

  let found: Found;
  try {
    found = await find();
  } catch (error) {
    if (isRefusal(error)) throw error;
    if (isMissing(error))
      throw new Failure("unsupported_host", { detail: "buildah is not installed", cause: error });
    signal.throwIfAborted();
    const logins = admit ? [] : await surroundings.logins();
    onProgress(`pulling ${name}`);
    if (admit) return getShared(false);
    return logins.length > 0 ? getWith(logins, false) : get([], false);
  }
  if (!admit || !privates.has({ names: [], ...found })) return found;
  onProgress(`asking the registry for ${name}, which was pulled with a password`);
  return getShared(true);
}

const privatesIn = (state: string) => `${state}/images/private`;

/** What `admit` throws, and no program. */
const isRefusal = (thrown: unknown) => thrown instanceof ClaimcheckError;

/** All images of the storage. */
export async function listImages(
  surroundings: BuildahSettings,
): Promise<{ readonly id: string; readonly names: readonly string[] }[]> {
  const json = await runBuildah(["images", "--json", "--no-trunc"], surroundings);
  const images = (JSON.parse(json) ?? []) as { id: string; names?: string[] | null }[];
  return images.map(({ id, names }) => ({ id: id.replace("sha256:", ""), names: names ?? [] }));
}

/**
 * Buildah's answer of another time, while it must still be true: nothing has been changed in the list of images
 * since or in what names stand for, and the mount is there. Asking costs more than half of a `runc run`.
 */
function recall(memory: string, { environment, admit, state }: ImageSettings): Image | undefined {
  let remembered: Image;
  try {
    const { witness, image } = JSON.parse(readFileSync(memory, "utf8")) as { witness: string; image: Image };
    if (!image.layers.every(existsSync) || witness !== witnessOf(image.layers, environment)) return undefined;
    if (!admit) return image;
    const { id, names } = image;
    if (!names || openPrivateImages(privatesIn(state)).has({ id, names })) return undefined;
    remembered = { ...image, names };
  } catch {
    return undefined;
  }
  admit(remembered.names ?? []);
  return remembered;
}

/** Where it cannot be kept, buildah is asked again the next time. */
function remember(memory: string, image: Image, { environment }: ImageSettings): void {
  const witness = witnessOf(image.layers, environment);
  if (!witness) return;
  const draft = `${memory}.${process.pid}`;
  try {
    makeFolder(dirname(memory));
    writeFileSync(draft, JSON.stringify({ witness, image }), { mode: 0o600 });
    renameSync(draft, memory);
  } catch {
    rmSync(draft, { force: true });
  }
}

/** Of what is remembered: the image's own layers, by their real paths. Before it was a mount of buildah's, then links. */
const format = "layers 2";

/** The state of the files that decide what an image name stands for; none for a storage that is laid out otherwise. */
function witnessOf(layers: readonly string[], { HOME }: ImageSettings["environment"]): string | undefined {
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

interface Layers {
  readonly folders: readonly string[];
  /** Whether they are the image's own, and not the container's. */
  readonly areShared: boolean;
}

function layersOf(mounted: string): Layers {
  const [path = "", ...mountinfo] = mounted.split("\n");
  const options = mountinfo.find((line) => line.includes(` ${path} `) && line.includes(" - overlay "));
  const lower = /[ ,]lowerdir=([^, ]+)/.exec(options ?? "")?.[1]?.split(":");
  if (lower) return { folders: lower.map((folder) => realpathSync(folder)), areShared: true };
  // Another run may have removed the container, and its mount, meanwhile.
  if (path.endsWith("/merged")) throw new Error("its mount is gone");
  return { folders: [path], areShared: false };
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
