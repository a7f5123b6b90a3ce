/** What an executor lets plans do. Nothing is allowed that its configuration does not name. */
import { normalize } from "node:path";
import { ClaimcheckError } from "../../shared/errors.ts";
import { compileGlob, matches } from "../../shared/glob.ts";
import { type ImageName, parseImageName, spellingsOf } from "../image/name.ts";
import type { FieldsWith } from "../plan/field.ts";
import type { BindMount, Network, Plan, PlanFields, Step, Storage } from "../plan/plan.ts";
import { planFields, planRowOf, type planTable } from "../plan/plan-table.ts";
import { rowOf, stepFields, type stepTable } from "../plan/step-table.ts";
import { usualInodes } from "../plan/storage.ts";

export interface SharedFolder {
  /** Absolute, without links in it. Plans can name what is below it. */
  readonly path: string;
  /**
   * `UID:GID`, not root's: whoever writes in it is this user, or a file that belongs to root, and can be run by
   * everybody as root, could be made on the host. Without a user it can only be read.
   */
  readonly user?: string | undefined;
}

/**
 * A step has at most so much of it; that much, if it does not say. Memory in bytes, the time in seconds. A field with
 * this permission in step-table.ts needs one here.
 */
export type Ceilings = { readonly [Name in CeilingField]: number } & {
  /** Of all steps of a run together; without it a run has the limit that its plan says. */
  readonly storage?: Required<Storage> | undefined;
};

type CeilingField = FieldsWith<typeof stepTable, "permission", "ceiling">;

export interface Permissions {
  /** Names as plans spell them; `*` is any text without /, `**` any text, and neither is a digest. */
  readonly images: readonly string[];
  readonly volumes: readonly SharedFolder[];
  readonly networks: readonly Network[];
  readonly ceilings: Ceilings;
}

/** A name that buildah takes for a path of the host, or for another program's images. */
const transport =
  /^(containers-storage|dir|docker|docker-archive|docker-daemon|oci|oci-archive|ostree|sif|tarball):/;

/** A step as it was asked for, and what is decided about all of it together. */
interface AskedStep {
  readonly step: Step;
  readonly permissions: Permissions;
  readonly binds: readonly BindMount[];
  readonly user: string | undefined;
  readonly refuse: (what: string) => never;
}

/** For each field that step-table.ts leaves to a rule of its own. */
const decisions: {
  readonly [Name in FieldsWith<typeof stepTable, "permission", "decided">]: (one: AskedStep) => Step[Name];
} = {
  user: ({ user }) => user,
  binds: ({ binds }) => binds,
  network: ({ step: { network }, permissions: { networks }, refuse }) =>
    networks.includes(network) ? network : refuse(`network ${network}`),
};

/** A field as it may be. What has no row in the table is in no step. */
function permitField(field: keyof Step, one: AskedStep): unknown {
  const { permission } = rowOf(field);
  if (permission === "free") return one.step[field];
  if (permission === "ceiling") return bounded(field as CeilingField, one);
  if (permission === "decided") return decisions[field as keyof typeof decisions](one);
  return one.step[field] && one.refuse(permission.never);
}

/** The same for what a plan says of all its steps. */
const planDecisions: {
  readonly [Name in FieldsWith<typeof planTable, "permission", "decided">]: (
    asked: Plan[Name],
    ceilings: Ceilings,
  ) => Plan[Name];
} = { storage: boundedStorage };

/**
 * @returns the plan as it may run.
 * @throws {ClaimcheckError} `not_permitted`.
 */
export function permit(plan: PlanFields, permissions: Permissions): PlanFields {
  const decided: Record<string, unknown> = {};
  for (const field of planFields) {
    const { permission } = planRowOf(field);
    const asked = (plan as Partial<Plan>)[field];
    if (typeof permission === "object" && asked !== undefined) throw notPermitted(permission.never);
    const value =
      permission === "decided"
        ? planDecisions[field as keyof typeof planDecisions](asked as never, permissions.ceilings)
        : asked;
    if (value !== undefined) decided[field] = value;
  }
  permitImage(plan.image, permissions.images);
  const steps = plan.steps.map((step, index) => permitStep(step, permissions, `steps[${index}]`));
  return { ...(decided as Omit<PlanFields, "image" | "steps">), image: plan.image, steps };
}

function permitStep(step: Step, permissions: Permissions, whose: string): Step {
  const refuse = (what: string): never => {
    throw notPermitted(`${whose}: ${what}`);
  };
  const binds = step.binds.map((bind) => place(bind, permissions.volumes, refuse));
  const users = new Set(binds.flatMap(({ user }) => (user === undefined ? [] : [user])));
  if (step.user !== undefined) users.add(step.user);
  if (users.size > 1 && binds.some(({ user }) => user !== undefined)) {
    refuse(`to write to a folder as another user than ${[...users].join(" and ")}`);
  }
  const [user] = users;
  const one: AskedStep = { step, permissions, binds: binds.map(({ bind }) => bind), user, refuse };
  const fields = stepFields.map((field) => [field, permitField(field, one)]);
  return Object.fromEntries(fields.filter(([, value]) => value !== undefined)) as Step;
}

/**
 * What can be said of a name before anybody has looked what it stands for.
 *
 * @throws {ClaimcheckError} `not_permitted`.
 */
function permitImage(asked: string, patterns: readonly string[]): void {
  const { repository, tag, digest } = parseImageName(asked);
  const meant = digest === undefined ? [asked] : [asked, ...namesOf(repository, { tag, digest })];
  if (transport.test(asked) || !areLike(meant, patterns)) throw notPermitted(`the image ${asked}`);
}

/**
 * A name of an image need not be what an image is: by a digest or an id the host's storage finds whatever it has.
 *
 * @param asked is what a plan calls it.
 * @param names all that the storage has for what it found, in full.
 * @throws {ClaimcheckError} `not_permitted`.
 */
export function permitFound(asked: string, names: readonly string[], patterns: readonly string[]): void {
  const wanted = parseImageName(asked);
  const meant = names.flatMap((name) => {
    const { repository: full, tag, digest } = parseImageName(name);
    // Which registry a short name means is for the host to say.
    const isAsked = digest === undefined && wanted.digest === undefined && isShortFor(wanted, { full, tag });
    return [
      ...(isAsked ? [asked] : []),
      ...spellingsOf(full).flatMap((repository) => [
        ...namesOf(repository, { tag, digest }),
        // It is in the repository that was asked for, whatever its tag there.
        ...(wanted.repository === repository && wanted.digest
          ? [asked, `${repository}@${wanted.digest}`]
          : []),
      ]),
    ];
  });
  if (areLike(meant, patterns)) return;
  throw notPermitted(`the image ${asked}: this host has another image of this name`);
}

function isShortFor(wanted: ImageName, { full, tag }: { full: string; tag: string | undefined }): boolean {
  return `/${full}`.endsWith(`/${wanted.repository}`) && (wanted.tag ?? "latest") === tag;
}

/** For patterns: an image that is known by its digest alone has any tag, but none that a pattern could spell out. */
const namesOf = (repository: string, { tag, digest }: Omit<ImageName, "repository">): string[] => [
  ...(tag === undefined ? [] : [`${repository}:${tag}`]),
  ...(digest === undefined ? [] : [`${repository}@${digest}`, `${repository}:${digest.replace(":", "-")}`]),
];

const notPermitted = (what: string) => new ClaimcheckError("not_permitted", { detail: what.slice(0, 500) });

const areLike = (names: readonly string[], patterns: readonly string[]) =>
  names.some((name) => patterns.some((pattern) => isLike(name, pattern)));

/** As in policies (shared/glob.ts); but no wildcard stands for a digest or a part of one. */
function isLike(image: string, pattern: string): boolean {
  const [parts, globs] = [image.split("@"), pattern.split("@")];
  return (
    parts.length === globs.length &&
    parts.every((part, index) => matches(compileGlob(globs[index] as string), part))
  );
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

/** What the step asks for, or as much as there is. */
function bounded(field: CeilingField, { step, permissions: { ceilings }, refuse }: AskedStep): number {
  const asked = step[field] ?? ceilings[field];
  return asked > ceilings[field] ? refuse(`${field} ${asked}; at most ${ceilings[field]}`) : asked;
}

/** What the plan asks for, or as much as there is. */
function boundedStorage(asked: Storage | undefined, { storage: ceiling }: Ceilings): Storage | undefined {
  if (!ceiling) return asked;
  const size = asked?.size ?? ceiling.size;
  const inodes = asked?.inodes ?? Math.min(ceiling.inodes, usualInodes(size));
  if (size > ceiling.size) throw notPermitted(`storage of ${size} bytes; at most ${ceiling.size}`);
  if (inodes > ceiling.inodes) throw notPermitted(`storage of ${inodes} inodes; at most ${ceiling.inodes}`);
  return { size, inodes };
}
