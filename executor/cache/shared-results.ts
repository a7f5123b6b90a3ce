/**
 * Results in a registry that many executors share. Under the key as its tag lies an index, which names the result's
 * manifest and carries the broker's receipt for it as an annotation:
 *
 *     index  { manifests: [ M ], annotations: { dev.claimcheck.receipt: JWS over key, tenant, secrets, digest of M } }
 *     M      { artifactType, config: {}, layers: [ output, as in a local result without its MAC; what the steps left, each a
 *              layer that the output names ] }
 *
 * Whoever can push there can make a result be missing, and that is all: the receipt is the broker's, the manifest is
 * what it says, the output is what that says, and the layers are what the output says.
 */
import { stat } from "node:fs/promises";
import * as z from "zod/mini";
import { digestOf } from "../../shared/digest.ts";
import { Failure } from "../../shared/failure.ts";
import { type CachedResult, decodeBody, encodeBody } from "./entry.ts";
import type { KeptLayers } from "./kept-layers.ts";
import { sizeLimit } from "./recording.ts";
import { indexType, manifestType, type Registry, RegistryError } from "./registry.ts";

const artifactType = "application/vnd.claimcheck.result.v1";
const otherVersions = new Set(["receipt_outdated", "receipt_newer", "result_newer"]);
const outputType = "application/vnd.claimcheck.output.v1";
const layerType = "application/vnd.oci.image.layer.v1.tar";
const receiptAnnotation = "dev.claimcheck.receipt";

/** Of an output's own header. */
const headerLimit = 1024 * 1024;

/** Of a layer, in bytes: a registry that sends more fills the disk. */
const layerLimit = 4 * 1024 ** 3;

const Index = z.object({ annotations: z.object({ [receiptAnnotation]: z.string() }) });
const Manifest = z.object({
  artifactType: z.string(),
  layers: z.tuple([z.object({ digest: z.string() })], z.object({ digest: z.string() })),
});

export type SharedResults = ReturnType<typeof openSharedResults>;

interface SharedResultsSettings {
  readonly from: Registry | undefined;
  readonly to: Registry | undefined;
  readonly layers: KeptLayers;
}

/** @returns what works as long as the registries do; once one fails, it is left alone. */
export function openSharedResults({ from, to, layers }: SharedResultsSettings, tell: (line: string) => void) {
  const failed = new Set<string>();

  async function attempt<T>(registry: Registry | undefined, what: (registry: Registry) => Promise<T>) {
    if (!registry || failed.has(registry.reference)) return undefined;
    try {
      return await what(registry);
    } catch (thrown) {
      if (!(thrown instanceof RegistryError)) throw thrown;
      failed.add(registry.reference);
      tell(`the run continues without ${registry.reference} (${thrown.code})`);
      return undefined;
    }
  }

  const describeLayer = async (digest: string) => {
    const { size } = await stat(layers.archiveOf(digest));
    return { mediaType: layerType, digest, size };
  };

  async function readOrSay(...asked: Parameters<typeof read>): Promise<CachedResult | undefined> {
    // Not by its key: who sees that sees whether two runs had equal secrets.
    const say = (code: string) =>
      tell(`a result at ${asked[0].reference} cannot be used (${code}); the step runs again`);
    try {
      const result = await read(...asked);
      if (!result) say("result_untrusted");
      return result;
    } catch (thrown) {
      if (!(thrown instanceof Failure && otherVersions.has(thrown.code))) throw thrown;
      say(thrown.code);
      return undefined;
    }
  }

  async function receiveAll(registry: Registry, digests: readonly string[]): Promise<boolean> {
    try {
      for (const digest of digests) {
        const receive = (archive: AsyncIterable<Uint8Array>) => layers.receive(archive, digest);
        if (!layers.has(digest) && !(await registry.getFile(digest, layerLimit, receive))) return false;
      }
      return true;
    } catch (thrown) {
      if (!(thrown instanceof Failure)) throw thrown;
      tell(`a layer at ${registry.reference} is not authentic`);
      return false;
    }
  }

  return {
    /**
     * @param believe the digest of the manifest that a receipt is about, for results of this key that are ours.
     * @param wantsFiles whether its layers are wanted too. A result of which one cannot be had has none.
     */
    fetch: (
      key: string,
      believe: (receipt: string) => Promise<string | undefined>,
      wantsFiles: boolean,
    ): Promise<CachedResult | undefined> =>
      attempt(from, async (registry) => {
        const tagged = await registry.getManifest(key);
        if (!tagged) return undefined;
        const result = await readOrSay(registry, key, tagged, believe);
        if (!result || !wantsFiles) return result;
        return (await receiveAll(registry, result.layers)) ? result : { ...result, layers: [] };
      }),

    /** @param attest asks for a receipt for a manifest; undefined where there is none to be had. */
    push: (key: string, result: CachedResult, attest: (manifest: string) => Promise<string | undefined>) =>
      attempt(to, async (registry) => {
        const config = Buffer.from("{}");
        const isWhole = result.layers.every(layers.has);
        const shared = isWhole ? [...new Set(result.layers)] : [];
        const output = encodeBody(key, isWhole ? result : { ...result, layers: [] });
        const manifest = encode({
          mediaType: manifestType,
          artifactType,
          config: describe("application/vnd.oci.empty.v1+json", config),
          layers: [describe(outputType, output), ...(await Promise.all(shared.map(describeLayer)))],
        });
        const receipt = await attest(digestOf(manifest));
        if (receipt === undefined) return;
        await registry.putBlob(config);
        await registry.putBlob(output);
        for (const digest of shared) await registry.putFile(digest, layers.archiveOf(digest));
        await registry.putManifest(digestOf(manifest), manifestType, manifest);
        const index = encode({
          mediaType: indexType,
          manifests: [describe(manifestType, manifest)],
          annotations: { [receiptAnnotation]: receipt },
        });
        await registry.putManifest(key, indexType, index);
      }),
  };
}

const encode = (document: object) => Buffer.from(JSON.stringify({ schemaVersion: 2, ...document }));

const describe = (mediaType: string, bytes: Buffer) => ({
  mediaType,
  digest: digestOf(bytes),
  size: bytes.length,
});

async function read(
  registry: Registry,
  key: string,
  tagged: Buffer,
  believe: (receipt: string) => Promise<string | undefined>,
): Promise<CachedResult | undefined> {
  const index = Index.safeParse(parse(tagged)).data;
  const digest = index && (await believe(index.annotations[receiptAnnotation] as string));
  const manifest = digest && (await registry.getManifest(digest));
  if (!manifest || digestOf(manifest) !== digest) return undefined;
  const said = Manifest.safeParse(parse(manifest)).data;
  const [, version = "1"] =
    /^application\/vnd\.claimcheck\.result\.v(\d+)$/.exec(said?.artifactType ?? "") ?? [];
  if (Number(version) > 1) throw new Failure("result_newer");
  const named = said?.layers[0].digest;
  const output = named && (await registry.getBlob(named, sizeLimit + headerLimit));
  return output && digestOf(output) === named ? decodeBody(key, output) : undefined;
}

function parse(json: Buffer): unknown {
  try {
    return JSON.parse(json.toString());
  } catch {
    return undefined;
  }
}
