/**
 * What a run made, as an image: the layers of the one that it began with and those of its steps, and the configuration
 * of the one that it began with, with a line of history for each step.
 *
 * It gets into the storage as an OCI layout (image-spec, image-layout.md). The layers of the first image are not in the
 * layout: they are named by their diff ids, by which the storage finds that it has them.
 */
import { link, writeFile } from "node:fs/promises";
import { basename } from "node:path";
import { digestOf } from "../../shared/digest.ts";
import { Failure } from "../../shared/failure.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import type { Layer } from "../layers/layer-store.ts";
import { reasonOf, runBuildah } from "./image.ts";

export interface ImageLayer {
  readonly layer: Layer;
  /** Where its archive is, on one file system with `scratch`. */
  readonly archive: string;
  /** Of the step, for the image's history. */
  readonly title: string;
}

interface Wanted {
  /** Id of the image that the run began with. */
  readonly image: string;
  readonly layers: readonly ImageLayer[];
  /** Names for it on this host, and where to push it. */
  readonly tag?: string | undefined;
  readonly publish?: string | undefined;
  /** Called with what the image says of itself before there is an image. */
  readonly check: (configuration: Buffer) => void;
}

interface ExportSettings {
  /** A folder that goes with the run. */
  readonly scratch: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const types = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  configuration: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
};

/** As many bytes of holes as others may have to write out. */
const holeLimit = 1024 ** 3;

/** @throws {Failure} `image_not_made`. */
export async function exportImage(wanted: Wanted, surroundings: ExportSettings): Promise<void> {
  const buildah = (...args: string[]) =>
    runBuildah(args, surroundings).catch((cause) => {
      throw new Failure("image_not_made", { detail: `buildah ${args[0]}: ${reasonOf(cause)}`, cause });
    });
  const { image, layers, tag, publish, check } = wanted;
  const holes = layers.reduce((sum, { layer }) => sum + layer.holes, 0);
  if (holes > holeLimit) {
    throw new Failure("image_not_made", {
      detail: `its files have ${holes} bytes of holes, which other engines would write out`,
    });
  }
  const inspected = JSON.parse(await buildah("inspect", "--type", "image", image)) as { Config: string };
  const configuration = configure(JSON.parse(inspected.Config), layers);
  check(configuration.bytes);

  // Buildah makes a name of the layout's path, which has to be one, and no other run's.
  const name = `claimcheck-result-${basename(surroundings.scratch).toLowerCase()}`;
  await writeLayout(`${surroundings.scratch}/${name}`, configuration, layers);
  const id = await buildah("pull", "--quiet", `oci:${name}`);
  try {
    if (publish !== undefined) await buildah("push", "--quiet", id, `docker://${publish}`);
    if (tag !== undefined) await buildah("tag", id, tag);
  } finally {
    // Of several names it takes one away, with the last one the image.
    await buildah("rmi", `localhost/${name}`);
  }
}

interface Configuration {
  readonly bytes: Buffer;
  readonly diffIds: readonly string[];
}

interface OciConfiguration {
  readonly rootfs: { readonly diff_ids: readonly string[] };
  readonly history?: readonly object[];
}

/** Of an image in Docker's format, what OCI has too. */
const keptFields = ["author", "architecture", "os", "os.version", "os.features", "variant", "config"];

function configure(
  first: OciConfiguration & Readonly<Record<string, unknown>>,
  layers: readonly ImageLayer[],
): Configuration {
  const created = new Date().toISOString();
  const diffIds = [...first.rootfs.diff_ids, ...layers.map(({ layer }) => layer.digest)];
  const configuration = {
    created,
    ...Object.fromEntries(keptFields.flatMap((field) => (field in first ? [[field, first[field]]] : []))),
    rootfs: { type: "layers", diff_ids: diffIds },
    // The command is not in it: it may name secrets.
    history: [
      ...(first.history ?? []),
      ...layers.map(({ title }) => ({ created, created_by: `claimcheck: ${title}` })),
    ],
  };
  return { bytes: Buffer.from(JSON.stringify(configuration)), diffIds };
}

async function writeLayout(
  folder: string,
  { bytes, diffIds }: Configuration,
  layers: readonly ImageLayer[],
): Promise<void> {
  const blobs = `${folder}/blobs/sha256`;
  const pathOf = (digest: string) => `${blobs}/${digest.slice("sha256:".length)}`;
  const put = async (mediaType: string, content: Buffer) => {
    const digest = digestOf(content);
    await writeFile(pathOf(digest), content);
    return { mediaType, digest, size: content.length };
  };
  makeFolder(blobs);
  const added = new Map(layers.map(({ layer, archive }) => [layer.digest, { layer, archive }]));
  for (const { layer, archive } of added.values()) await link(archive, pathOf(layer.digest));

  const manifest = {
    schemaVersion: 2,
    mediaType: types.manifest,
    config: await put(types.configuration, bytes),
    // The size of one that is not in the layout is not looked at.
    layers: diffIds.map((digest) => ({
      mediaType: types.layer,
      digest,
      size: added.get(digest)?.layer.size ?? 1,
    })),
  };
  const index = {
    schemaVersion: 2,
    manifests: [await put(types.manifest, Buffer.from(JSON.stringify(manifest)))],
  };
  await writeFile(`${folder}/index.json`, JSON.stringify(index));
  await writeFile(`${folder}/oci-layout`, JSON.stringify({ imageLayoutVersion: "1.0.0" }));
}
