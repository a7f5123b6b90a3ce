/** Runs with a cache, as far as where the container would be: what it would print is said by the test. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requestSecrets } from "../../executor/broker-client/secrets.ts";
import { openKeptLayers } from "../../executor/cache/kept-layers.ts";
import { openSharedResults } from "../../executor/cache/shared-results.ts";
import { openStepCache } from "../../executor/cache/step-cache.ts";
import type { CacheStore } from "../../executor/cache/store.ts";
import { plainStep, type SecretSource, type Step } from "../../executor/plan/plan.ts";
import type { Executor } from "./broker.ts";

export const step = (source?: SecretSource, more: Partial<Step> = {}): Step => ({
  ...plainStep,
  args: ["make"],
  secretVariables: source ? [{ name: "TOKEN", source }] : [],
  ...more,
});

export const env = (name: string, cacheKey?: string): SecretSource => ({
  uri: `env://${name}`,
  ...(cacheKey !== undefined && { cacheKey }),
});

interface Settings {
  readonly image?: string;
  /** Layers that are not on this host any more; all others are. */
  readonly gone?: readonly string[];
  /** The registries, if results are shared. */
  readonly sharing?: Omit<Parameters<typeof openSharedResults>[0], "layers">;
}

/** Those that results of these tests name, as far as a folder shows them. */
function keptLayers(gone: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-layers-"));
  for (const digit of "0123456789abcdef") {
    const hex = digit.repeat(64);
    if (!gone.includes(`sha256:${hex}`)) writeFileSync(join(folder, `${hex}.tar`), "");
  }
  return openKeptLayers(folder, { unpack: async () => {}, receive: async () => {} });
}

export async function begin(
  store: CacheStore,
  { client }: Pick<Executor, "client">,
  steps: readonly Step[],
  { image = "image", sharing, gone = [] }: Settings = {},
) {
  const told: string[] = [];
  const tell = (line: string) => told.push(line);
  const secrets = await requestSecrets({ registries: [], steps, masked: true }, async () => client);
  const plan = { image, registries: [], steps, masked: true, shortSecrets: "refuse" } as const;
  const layers = keptLayers(gone);
  const shared = sharing && openSharedResults({ ...sharing, layers }, tell);
  const cache = openStepCache(
    { store, layers, sizeLimit: 1e9, explains: true, ...(shared && { shared }) },
    { plan, image, secrets, signal: new AbortController().signal, tell },
  );
  return { cache, secrets, told };
}

/** One run of one step, up to where the container would be and from there on. */
export async function run(
  store: CacheStore,
  executor: Pick<Executor, "client">,
  what: Step,
  {
    layers = [],
    print = "made\n",
    ...settings
  }: Settings & { layers?: readonly string[]; print?: string } = {},
) {
  const { cache, secrets, told } = await begin(store, executor, [what], settings);
  const [result] = await cache.take({ index: 0, layers: [] });
  if (!result) {
    await secrets.redeem(what);
    await cache.keep(0, { layers, stdout: Buffer.from(print), stderr: Buffer.of() });
  }
  await cache.close();
  return { hit: result !== undefined, stdout: result?.stdout.toString() ?? print, told };
}
