/** The configuration file of `claimcheck executor --config FILE`. What it does not allow, no plan may do. */
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import { findUser } from "../../executor/image/user.ts";
import { networks } from "../../executor/plan/plan.ts";
import { parseDuration, parseSize } from "../../executor/plan/quantities.ts";
import { toStorage, usualInodes } from "../../executor/plan/storage.ts";
import type { Permissions, SharedFolder } from "../../executor/server/permissions.ts";
import type { ExecutorLimits } from "../../executor/server/server.ts";
import { described } from "../../shared/described.ts";
import { Failure } from "../../shared/failure.ts";
import { isTrustworthy } from "../../shared/origin.ts";
import { type Fault, inOrder, readDocument } from "../../shared/yaml-document.ts";
import { type Address, splitAddress } from "../host/address.ts";

const word = z.string().check(z.minLength(1));
const count = z.int().check(z.positive());
const absolute = z.string().check(z.regex(/^\/[^\0]*$/, { error: "an absolute path" }));
const thumbprint = z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/));

const Listen = z.union(
  [
    z.strictObject({
      socket: described(
        absolute,
        "The path of a unix socket. Everybody who can write to the socket can send plans.",
      ),
      mode: described(
        z._default(z.string().check(z.regex(/^0?[0-7]{3}$/)), "0660"),
        "Permissions in octal, as text.",
      ),
      group: z.optional(described(word, "The socket's owner, as a name or a number; root by default.")),
    }),
    z.strictObject({
      tcp: described(word, "HOST:PORT on loopback, for clients that know the token."),
      tokenFile: described(
        word,
        "The file for the token that the executor makes at each start; only its owner can read it.",
      ),
    }),
  ],
  { error: "either { socket: PATH } or { tcp: HOST:PORT, tokenFile: PATH }" },
);

const Volume = z.strictObject({
  source: described(
    absolute,
    "A folder. Plans may mount it and what it contains; links inside it are not followed.",
  ),
  user: z.optional(
    described(
      z
        .string()
        .check(
          z.regex(/^[1-9]\d{0,9}:[1-9]\d{0,9}$/, { error: "UID:GID, as numbers, neither of them root's" }),
        ),
      "UID:GID of the host: steps write to the folder as this user. Without it every job can read the folder, and none can write.",
    ),
  ),
});

const Storage = z.strictObject({
  size: described(z._default(z.string(), "10g"), "The maximum size, for example 10g."),
  inodes: z.optional(
    described(
      count,
      "The maximum number of files, folders and links; one for each 16k of the size by default.",
    ),
  ),
});

const Ceilings = z.strictObject({
  memory: described(z._default(z.string(), "1g"), "The memory limit, for example 512m."),
  cpus: described(z._default(z.number().check(z.gte(0.01)), 1), "The number of CPUs, for example 1.5."),
  pids: described(z._default(count, 512), "Processes."),
  timeout: described(z._default(z.string(), "1h"), "The time limit, for example 90s."),
  storage: described(
    z._default(
      z.union([z.literal("none"), Storage], { error: "none or { size: …, inodes: … }" }),
      z.parse(Storage, {}),
    ),
    "What all steps of a run together may write into their containers' files; with none, as much as the plan says or the disk has.",
  ),
});

const Limits = z.strictObject({
  runs: described(z._default(count, 8), "The maximum number of runs at the same time."),
  waiting: described(z._default(z.int().check(z.nonnegative()), 32), "The maximum number of waiting runs."),
  connections: described(
    z._default(count, 64),
    "The maximum number of connections; the executor closes further ones at once.",
  ),
  body: described(z._default(z.string(), "8m"), "The largest request."),
  headersTimeout: described(z._default(count, 10), "The time limit for a request's headers, in seconds."),
  requestTimeout: described(z._default(count, 30), "The time limit for a whole request, in seconds."),
  stall: described(
    z._default(z.string(), "5m"),
    "The broker disconnects a client that reads nothing for this long.",
  ),
  drain: described(
    z._default(z.string(), "30s"),
    "How long runs may go on after SIGTERM; then the executor ends them.",
  ),
});

const ExecutorConfig = described(
  z.strictObject({
    listen: Listen,
    broker: z.strictObject({
      url: described(z.url(), "The broker's URL, as in its own configuration."),
      keys: described(
        z.array(thumbprint).check(z.minLength(1)),
        "The thumbprints of the broker's keys; the executor accepts no other key.",
      ),
      tokenFile: z.optional(
        described(
          word,
          "The file with the executor's own token, read at each use. CLAIMCHECK_TOKEN or CLAIMCHECK_TOKEN_FILE can give it instead.",
        ),
      ),
      principal: described(
        word,
        "The executor's principal at the broker; handles name it as their audience.",
      ),
    }),
    state: described(
      z._default(absolute, "/var/lib/claimcheck"),
      "The folder for the executor's proof key and for runs; root must own it.",
    ),
    images: described(z._default(z.array(word), []), "Names; * is any text without /, ** any text."),
    volumes: described(z._default(z.array(Volume), []), "The folders of this host that plans may mount."),
    networks: described(z._default(z.array(z.enum(networks)), ["none"]), "What containers can reach."),
    runtime: described(z._default(word, "runc"), "The OCI runtime, with runc's command line."),
    userns: described(
      z._default(z.enum(["own", "host"]), "own"),
      "The users of containers: own, in a user namespace of each run; or host, with weaker isolation.",
    ),
    seccomp: described(
      z._default(z.enum(["strict", "podman"]), "strict"),
      "The system call filter: strict, or podman's, which lets containers make namespaces and mounts.",
    ),
    ceilings: described(
      z._default(Ceilings, z.parse(Ceilings, {})),
      "The maximum of each step, or of each run, which is also the default.",
    ),
    cache: described(
      z._default(z.string(), "10g"),
      "The maximum size of the cache of results in `state`; none turns the cache off.",
    ),
    pulledImages: described(
      z._default(z.string(), "20g"),
      "The maximum size of the images that were pulled for runs; after each pull the executor removes the least recently used ones that no run uses. With all it removes none.",
    ),
    limits: z._default(Limits, z.parse(Limits, {})),
  }),
  "The configuration of this host's executor: what it may do, and for which jobs.",
);

type Fields = z.infer<typeof ExecutorConfig>;

export type Listening =
  | { readonly socket: string; readonly mode: number; readonly gid: number }
  | { readonly address: Address; readonly tokenFile: string };

export interface ExecutorConfig extends Pick<Fields, "state" | "runtime" | "userns" | "seccomp"> {
  readonly listen: Listening;
  readonly broker: Fields["broker"];
  readonly permissions: Permissions;
  readonly limits: ExecutorLimits & Pick<Fields["limits"], "runs" | "waiting">;
  /** Of all results, in bytes; 0 where none are kept. */
  readonly cacheSize: number;
  /** Of all pulled images, in bytes. */
  readonly imagesSize: number;
  /** In milliseconds. */
  readonly stallLimit: number;
  /** In milliseconds. */
  readonly drainLimit: number;
}

/** JSON Schema 2020-12, for editors: what may be written, defaults left out. */
export function executorSchema(): object {
  return z.toJSONSchema(ExecutorConfig, { io: "input" });
}

/** All faults at once, with their lines. Paths are relative to the file. */
export async function readExecutorConfig(
  path: string,
): Promise<ExecutorConfig | { readonly faults: readonly Fault[] }> {
  const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
    throw new Failure("usage", { detail: `${path} cannot be read (${cause.code})`, cause });
  });
  const document = readDocument(text, ExecutorConfig);
  if ("faults" in document) return document;
  const { value, lineOf } = document;
  const faults: Fault[] = [];
  const report = (at: readonly PropertyKey[], message: string) => {
    faults.push({ line: lineOf(at), message: `${at.join(".")}: ${message}` });
  };
  const read = <T>(at: readonly PropertyKey[], from: () => T, otherwise: T): T => {
    try {
      return from();
    } catch (error) {
      const { detail, code = "unknown" } = error as Failure;
      report(at, detail ?? `it cannot be read (${code})`);
      return otherwise;
    }
  };
  const beside = (name: string) => resolve(dirname(path), name);
  const { broker, ceilings, limits } = value;
  const { origin } = new URL(broker.url);
  if (broker.url !== origin || !isTrustworthy(origin)) {
    report(["broker", "url"], "an origin such as https://broker.example; http only on loopback");
  }
  const listen = read<Listening | undefined>(
    ["listen"],
    () => whereToListen(value.listen, beside),
    undefined,
  );
  const own = [
    value.state,
    "/proc",
    "/sys",
    "/dev",
    ...(listen && "socket" in listen ? [listen.socket] : []),
  ];
  const volumes = value.volumes.map((volume, index) =>
    read<SharedFolder>(["volumes", index], () => share(volume, own), { path: volume.source }),
  );
  const size = (at: readonly PropertyKey[], written: string) => read(at, () => parseSize(written), 0);
  const time = (at: readonly PropertyKey[], written: string) => read(at, () => parseDuration(written), 0);
  const readStorage = (written: Fields["ceilings"]["storage"]) => {
    if (written === "none") return undefined;
    const { size: most, inodes } = read(["ceilings", "storage"], () => toStorage(written), { size: 0 });
    return { size: most, inodes: inodes ?? usualInodes(most) };
  };
  const config = {
    state: value.state,
    runtime: value.runtime,
    userns: value.userns,
    seccomp: value.seccomp,
    broker: { ...broker, ...(broker.tokenFile !== undefined && { tokenFile: beside(broker.tokenFile) }) },
    permissions: {
      images: value.images,
      volumes,
      networks: value.networks,
      ceilings: {
        memory: size(["ceilings", "memory"], ceilings.memory),
        cpus: ceilings.cpus,
        pidsLimit: ceilings.pids,
        timeout: time(["ceilings", "timeout"], ceilings.timeout),
        storage: readStorage(ceilings.storage),
      },
    },
    cacheSize: value.cache === "none" ? 0 : size(["cache"], value.cache),
    imagesSize:
      value.pulledImages === "all" ? Number.POSITIVE_INFINITY : size(["pulledImages"], value.pulledImages),
    limits: { ...limits, body: size(["limits", "body"], limits.body) },
    stallLimit: time(["limits", "stall"], limits.stall) * 1000,
    drainLimit: time(["limits", "drain"], limits.drain) * 1000,
  };
  return faults.length > 0 || !listen ? { faults: inOrder(faults) } : { ...config, listen };
}

function whereToListen(listen: Fields["listen"], beside: (name: string) => string): Listening {
  if ("socket" in listen) {
    const { socket, mode, group = "0" } = listen;
    return { socket, mode: Number.parseInt(mode, 8), gid: findUser(`0:${group}`, "").gid };
  }
  const address = splitAddress(listen.tcp);
  if (!address || !isTrustworthy(`http://${listen.tcp}`)) {
    throw new Failure("usage", { detail: "tcp is HOST:PORT on loopback" });
  }
  return { address, tokenFile: beside(listen.tokenFile) };
}

/** @param own what no job is to have, whatever folder it lies in. */
function share({ source, user }: Fields["volumes"][number], own: readonly string[]): SharedFolder {
  const path = realpathSync(source);
  const around = own.find((each) => isWithin(each, path) || isWithin(path, each));
  if (around)
    throw new Failure("usage", {
      detail: `${path} and ${around} overlap: one contains the other; choose separate paths`,
    });
  return { path, ...(user !== undefined && { user }) };
}

const isWithin = (path: string, folder: string) => `${path}/`.startsWith(folder === "/" ? "/" : `${folder}/`);
