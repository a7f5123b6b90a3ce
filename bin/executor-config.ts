/** The configuration file of `claimcheck executor --config FILE`. What it does not allow, no plan may do. */
import { realpathSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import * as z from "zod/mini";
import { type Fault, inOrder, readDocument } from "../broker/access/document.ts";
import { Failure } from "../executor/failure.ts";
import { networks } from "../executor/plan.ts";
import { parseDuration, parseSize } from "../executor/quantities.ts";
import type { Permissions, SharedFolder } from "../executor/server/permissions.ts";
import type { ServerLimits } from "../executor/server/server.ts";
import { findUser } from "../executor/user.ts";
import { described } from "../shared/described.ts";
import { isTrustworthy } from "../shared/origin.ts";
import { type Address, splitAddress } from "./address.ts";

const word = z.string().check(z.minLength(1));
const count = z.int().check(z.positive());
const absolute = z.string().check(z.regex(/^\/[^\0]*$/, { error: "an absolute path" }));
const thumbprint = z.string().check(z.regex(/^[A-Za-z0-9_-]{43}$/));

const Listen = z.union(
  [
    z.strictObject({
      socket: described(absolute, "Of a unix socket; whoever may write to it may send plans."),
      mode: described(z._default(z.string().check(z.regex(/^0?[0-7]{3}$/)), "0660"), "As text in octal."),
      group: z.optional(described(word, "Whose the socket is, by name or number; root's by default.")),
    }),
    z.strictObject({
      tcp: described(word, "HOST:PORT on loopback, for clients that know the token."),
      tokenFile: described(word, "Where a token is written that is made at each start; its owner's alone."),
    }),
  ],
  { error: "either { socket: PATH } or { tcp: HOST:PORT, tokenFile: PATH }" },
);

const Volume = z.strictObject({
  source: described(absolute, "A folder; plans can mount what is in it, and no link in it is followed."),
  user: z.optional(
    described(
      z
        .string()
        .check(
          z.regex(/^[1-9]\d{0,9}:[1-9]\d{0,9}$/, { error: "UID:GID, as numbers, neither of them root's" }),
        ),
      "UID:GID. Steps that write to it are this user. Without it, it can only be read, by every job.",
    ),
  ),
});

const Ceilings = z.strictObject({
  memory: described(z._default(z.string(), "1g"), "Such as 512m."),
  cpus: described(z._default(z.number().check(z.gte(0.01)), 1), "Such as 1.5."),
  pids: described(z._default(count, 512), "Processes."),
  timeout: described(z._default(z.string(), "1h"), "Such as 90s."),
});

const Limits = z.strictObject({
  runs: described(z._default(count, 8), "Runs at once."),
  waiting: described(
    z._default(z.int().check(z.nonnegative()), 32),
    "Runs that wait for one of them to end.",
  ),
  connections: described(z._default(count, 64), "Connections; more are closed at once."),
  body: described(z._default(z.string(), "8m"), "The largest request."),
  headersTimeout: described(z._default(count, 10), "For a request's headers to arrive, in seconds."),
  requestTimeout: described(z._default(count, 30), "For a whole request to arrive, in seconds."),
  stall: described(z._default(z.string(), "5m"), "A client that reads nothing for so long is gone."),
  drain: described(
    z._default(z.string(), "30s"),
    "After SIGTERM, what is still running after this long is ended.",
  ),
});

const ExecutorConfig = described(
  z.strictObject({
    listen: Listen,
    broker: z.strictObject({
      url: described(z.url(), "Where it is, as it says itself."),
      keys: described(
        z.array(thumbprint).check(z.minLength(1)),
        "Thumbprints of its keys: no other is believed.",
      ),
      tokenFile: z.optional(
        described(
          word,
          "Where the executor's own token lies; read at each use. Or CLAIMCHECK_TOKEN and its kin.",
        ),
      ),
      principal: described(word, "What the broker calls this executor: handles are asked for it."),
    }),
    state: described(
      z._default(absolute, "/var/lib/claimcheck"),
      "For its proof key and what runs need; root's.",
    ),
    images: described(z._default(z.array(word), []), "Names; * is any text without /, ** any text."),
    volumes: described(z._default(z.array(Volume), []), "Folders of this host that plans can mount."),
    networks: described(z._default(z.array(z.enum(networks)), ["none"]), "What containers can reach."),
    runtime: described(z._default(word, "runc"), "The OCI runtime, with runc's command line."),
    userns: described(
      z._default(z.enum(["own", "host"]), "own"),
      "Users of containers: in a user namespace of each run's own, or the host's, with weaker walls.",
    ),
    seccomp: described(
      z._default(z.enum(["strict", "podman"]), "strict"),
      "System calls: strict, or podman's, which lets containers make namespaces and mounts of their own.",
    ),
    ceilings: described(
      z._default(Ceilings, z.parse(Ceilings, {})),
      "What a step has at most, and if it does not say.",
    ),
    cache: described(
      z._default(z.string(), "10g"),
      "So much is kept of what runs printed and left, in `state`, for runs of the same; none for nothing.",
    ),
    pulledImages: described(
      z._default(z.string(), "20g"),
      "So much stays of the images that were pulled for runs; the rest goes after the next pull, but for what runs use. Or all.",
    ),
    limits: z._default(Limits, z.parse(Limits, {})),
  }),
  "What the executor of this host may do, for whom.",
);

type Fields = z.infer<typeof ExecutorConfig>;

export type Listening =
  | { readonly socket: string; readonly mode: number; readonly gid: number }
  | { readonly address: Address; readonly tokenFile: string };

export interface ExecutorConfig extends Pick<Fields, "state" | "runtime" | "userns" | "seccomp"> {
  readonly listen: Listening;
  readonly broker: Fields["broker"];
  readonly permissions: Permissions;
  readonly limits: ServerLimits & Pick<Fields["limits"], "runs" | "waiting">;
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
  if (around) throw new Failure("usage", { detail: `${path} and ${around} lie in each other` });
  return { path, ...(user !== undefined && { user }) };
}

const isWithin = (path: string, folder: string) => `${path}/`.startsWith(folder === "/" ? "/" : `${folder}/`);
