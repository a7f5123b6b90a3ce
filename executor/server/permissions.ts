/** What an executor lets plans do. Nothing is allowed that its configuration does not name. */
import { normalize } from "node:path";
import { ClaimcheckError } from "../../shared/errors.ts";
import type { BindMount, Network, Plan, Step } from "../plan.ts";

export interface SharedFolder {
  /** Absolute, without links in it. Plans can name what is below it. */
  readonly path: string;
  /**
   * `UID:GID`, not root's: whoever writes in it is this user, or a file that belongs to root, and can be run by
   * everybody as root, could be made on the host. Without a user it can only be read.
   */
  readonly user?: string | undefined;
}

/** A step has at most so much of it; that much, if it does not say. Memory in bytes, the time in seconds. */
export interface Ceilings {
  readonly memory: number;
  readonly cpus: number;
  readonly pidsLimit: number;
  readonly timeout: number;
}

export interface Permissions {
  /** Names as plans spell them; `*` is any text without /, `**` any text. */
  readonly images: readonly string[];
  readonly volumes: readonly SharedFolder[];
  readonly networks: readonly Network[];
  readonly ceilings: Ceilings;
}

/** A name that buildah takes for a path of the host, or for another program's images. */
const transport =
  /^(containers-storage|dir|docker|docker-archive|docker-daemon|oci|oci-archive|ostree|sif|tarball):/;

/**
 * @returns the steps as they may run.
 * @throws {ClaimcheckError} `not_permitted`.
 */
export function permit(
  { image, steps, tag, publish }: Pick<Plan, "image" | "steps" | "tag" | "publish">,
  permissions: Permissions,
): Step[] {
  // An image of the host's could be put in another one's place, or pushed with the host's credentials.
  if (tag !== undefined || publish !== undefined) throw refusal("to make an image");
  if (transport.test(image) || !permissions.images.some((pattern) => isLike(image, pattern))) {
    throw refusal(`the image ${image}`);
  }
  return steps.map((step, index) => {
    const refuse = (what: string): never => {
      throw refusal(`steps[${index}]: ${what}`);
    };
    if (!permissions.networks.includes(step.network)) refuse(`network ${step.network}`);
    const binds = step.binds.map((bind) => place(bind, permissions.volumes, refuse));
    const users = new Set(binds.flatMap(({ user }) => (user === undefined ? [] : [user])));
    if (step.user !== undefined) users.add(step.user);
    if (users.size > 1 && binds.some(({ user }) => user !== undefined)) {
      refuse(`to write to a folder as another user than ${[...users].join(" and ")}`);
    }
    const [user] = users;
    return {
      ...step,
      ...bounded(step, permissions.ceilings, refuse),
      ...(user !== undefined && { user }),
      binds: binds.map(({ bind }) => bind),
    };
  });
}

const refusal = (what: string) => new ClaimcheckError("not_permitted", { detail: what.slice(0, 500) });

function isLike(image: string, pattern: string): boolean {
  const expression = pattern
    .split(/(\*+)/)
    .map((part) =>
      part === "*" ? "[^/]*" : /^\*+$/.test(part) ? ".*" : part.replace(/[.+?^${}()|[\]\\]/g, "\\$&"),
    )
    .join("");
  return new RegExp(`^${expression}$`, "s").test(image);
}

/** A mount from within the folder that is nearest to its source, and whom its writer has to be. */
function place(bind: BindMount, volumes: readonly SharedFolder[], refuse: (what: string) => never) {
  const { source, readOnly } = bind;
  const around = volumes
    .filter(({ path }) => source === path || source.startsWith(`${path}/`))
    .toSorted((a, b) => b.path.length - a.path.length);
  const [folder] = around;
  if (!folder || normalize(source) !== source) return refuse(`the volume ${source}`);
  if (!readOnly && folder.user === undefined) return refuse(`to write to ${source}`);
  const [uid = 0, gid = 0] = folder.user?.split(":").map(Number) ?? [];
  const owner = folder.user === undefined ? ("nobody" as const) : { uid, gid };
  return { bind: { ...bind, within: folder.path, owner }, user: readOnly ? undefined : folder.user };
}

function bounded(step: Step, ceilings: Ceilings, refuse: (what: string) => never): Ceilings {
  const limit = (name: keyof Ceilings): number => {
    const asked = step[name] ?? ceilings[name];
    return asked > ceilings[name] ? refuse(`${name} ${asked}; at most ${ceilings[name]}`) : asked;
  };
  return {
    memory: limit("memory"),
    cpus: limit("cpus"),
    pidsLimit: limit("pidsLimit"),
    timeout: limit("timeout"),
  };
}
