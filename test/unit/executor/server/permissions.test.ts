/** What an executor's configuration lets plans do. */
import { describe, expect, test } from "vitest";
import {
  type BindMount,
  type PlanFields,
  plainStep,
  type Step,
  type Storage,
} from "../../../../executor/plan/plan.ts";
import { type Permissions, permit, permitFound } from "../../../../executor/server/permissions.ts";

const permissions: Permissions = {
  images: ["alpine:*", "registry.example/payments/**", "exact:1"],
  volumes: [
    { path: "/srv/shared" },
    { path: "/srv/builds", user: "1000:1000" },
    { path: "/srv/shared/drop", user: "7:7" },
  ],
  networks: ["none"],
  ceilings: { memory: 100, cpus: 2, pidsLimit: 10, timeout: 60 },
};

/** The one step as it may run. */
const permitted = (step: Partial<Step>, image = "exact:1", changed: Partial<Permissions> = {}) =>
  permit({ image, registries: [], steps: [{ ...plainStep, ...step }] }, { ...permissions, ...changed })
    .steps[0] as Step;

const refused = (...asked: Parameters<typeof permitted>) =>
  expect(() => permitted(...asked)).toThrow(expect.objectContaining({ code: "not_permitted" }));

const bind = (source: string, readOnly = true): Pick<Step, "binds"> => ({
  binds: [{ source, target: "/v", readOnly }],
});

const boundTo = (step: Step) => (step.binds[0] as BindMount).within;

describe("an image", () => {
  test.each(["alpine:latest", "alpine:3", "registry.example/payments/a/b:1", "exact:1"])(
    "%s is allowed",
    (image) => {
      permitted({}, image);
    },
  );

  test.each(["alpine", "alpine:a/b", "xalpine:1", "registry.example/other/a", "exact:12", "exactly1", ""])(
    "%s is not",
    (image) => refused({}, image),
  );

  test.each(["dir:/etc", "oci:/x", "oci:x", "docker-archive:/x", "docker://alpine", "containers-storage:x"])(
    "%s is none, whatever is allowed",
    (image) => refused({}, image, { images: ["**"] }),
  );
});

/**
 * Images' patterns had a matcher of their own, a regular expression. Where it and the policies' glob (shared/glob.ts)
 * differ, this says what holds.
 */
const globs: [pattern: string, image: string, isLike: boolean, wins: "both" | "image" | "policy"][] = [
  ["a/*", "a/b", true, "both"],
  ["a/*", "a/b/c", false, "both"],
  ["a/**", "a/b/c", true, "both"],
  ["a/***", "a/b/c", true, "both"],
  ["a.b", "axb", false, "both"],
  ["a/*:1", "a/b:1", true, "both"],
  // No wildcard stands for the @ before a digest.
  ["a**6:0", "a@sha256:0", false, "image"],
  ["a**@**", "a@sha256:0", true, "both"],
  ["a@*", "a@sha256:0", true, "both"],
  ["a@sha256:*", "a@sha256:0", true, "both"],
  // No image's name has a #, so the narrower one costs nobody anything.
  ["a*", "a#b", false, "policy"],
  ["**", "a#b", true, "both"],
];

test.each(globs)("the pattern %s and the image %s: %s, as in %s", (pattern, image, isLike) => {
  const images = [pattern];
  if (isLike) permitted({}, image, { images });
  else refused({}, image, { images });
});

const digest = `sha256:${"a".repeat(64)}`;

describe("an image by its digest", () => {
  test.each([
    ["alpine", ["docker.io/library/alpine:3"]],
    ["alpine", [`docker.io/library/alpine@${digest}`]],
    ["alpine:latest", ["localhost/other:1", "docker.io/library/alpine:3"]],
    ["registry.example/payments/a", [`registry.example/payments/a@${digest}`]],
    ["exact:1", ["docker.io/library/exact:1"]],
  ])("%s is allowed where the host has it as %j", (name, names) => {
    permitted({}, `${name}@${digest}`);
    permitFound(`${name}@${digest}`, names, permissions.images);
  });

  test.each([
    ["alpine", ["registry.example/alpine:3"]],
    ["alpine:latest", ["localhost/claimcheck-busybox:latest"]],
    ["alpine:latest", []],
    ["registry.example/payments/a", ["registry.example/other:1"]],
    // Which of them has the tag 1 nobody knows.
    ["exact:1", [`docker.io/library/exact@${digest}`]],
    ["exact:1", ["docker.io/library/exact:2"]],
  ])("%s is not where the host has it as %j", (name, names) => {
    const found = () => permitFound(`${name}@${digest}`, names, permissions.images);
    expect(found).toThrow(expect.objectContaining({ code: "not_permitted" }));
  });

  test.each(["alpin", "registry.example/other/a", "exact:2"])("%s is refused by its name alone", (name) =>
    refused({}, `${name}@${digest}`),
  );

  test("is allowed by name and digest where a pattern says both", () => {
    const images = [`alpine:3@${digest}`];
    permitted({}, `alpine:3@${digest}`, { images });
    permitFound(`alpine:3@${digest}`, [`docker.io/library/alpine@${digest}`], images);
    refused({}, "alpine:3", { images });
  });
});

describe("an image by a name", () => {
  test.each([
    ["alpine:3", ["docker.io/library/alpine:3"]],
    ["alpine:3", ["quay.example/mirror/alpine:3"]],
    ["exact:1", ["localhost/exact:1"]],
  ])("%s is allowed where the host has it as %j", (name, names) =>
    permitFound(name, names, permissions.images),
  );

  test.each([
    ["0123456789ab", ["registry.example/private:1"]],
    ["alpine:3", ["quay.example/mirror/alpine:4"]],
  ])("%s is not where the host has it as %j", (name, names) => {
    expect(() => permitFound(name, names, [...permissions.images, "0*"])).toThrow();
  });
});

test("a field that nobody has decided about is in no step", () => {
  const step = { ...plainStep, privileged: true } as Step;
  expect(permitted(step)).not.toHaveProperty("privileged");
});

describe("a volume", () => {
  test.each([
    ["/srv/shared", "/srv/shared"],
    ["/srv/shared/a/b", "/srv/shared"],
    ["/srv/shared/drop/x", "/srv/shared/drop"],
  ])("%s is mounted from within %s", (source, folder) => {
    expect(boundTo(permitted(bind(source)))).toBe(folder);
  });

  test.each([
    "/",
    "/srv",
    "/srv/shared2",
    "/srv/shared/../secret",
    "/srv/shared/..",
    "/srv/shared/./a",
    "/srv/shared//a",
    "relative",
    "",
  ])("%s is not", (source) => refused(bind(source)));

  test("is written to by the user of its folder, and by no other", () => {
    expect(permitted(bind("/srv/builds/x", false)).user).toBe("1000:1000");
    expect(permitted({ ...bind("/srv/builds/x", false), user: "1000:1000" }).user).toBe("1000:1000");
    for (const user of ["0", "0:0", "root", "1000", "1000:0"])
      refused({ ...bind("/srv/builds/x", false), user });
    refused(bind("/srv/shared/x", false));
  });

  test("is not written to beside another user's", () => {
    refused({
      binds: ["/srv/builds", "/srv/shared/drop"].map((source) => ({
        source,
        target: source,
        readOnly: false,
      })),
    });
  });

  test("is read by whoever the step says", () => {
    expect(permitted({ ...bind("/srv/builds/x"), user: "root" }).user).toBe("root");
  });
});

describe("a limit", () => {
  test("is the ceiling where the step has none, and its own below that", () => {
    expect(permitted({})).toMatchObject({ memory: 100, cpus: 2, pidsLimit: 10, timeout: 60 });
    expect(permitted({ memory: 50, timeout: 1 })).toMatchObject({ memory: 50, timeout: 1 });
  });

  test.each([{ memory: 101 }, { cpus: 2.1 }, { pidsLimit: 11 }, { timeout: 61 }])("%j is too much", (step) =>
    refused(step),
  );
});

test("a network is one of those that are listed", () => {
  refused({ network: "host" });
  permitted({ network: "host" }, "exact:1", { networks: ["host"] });
});

test.each([{ tag: "alpine:latest" }, { publish: "registry.example/payments/a:1" }])(
  "an image is made for nobody: %j",
  (image) => {
    const asked = { image: "exact:1", registries: [], steps: [plainStep], ...image } as PlanFields;
    expect(() => permit(asked, permissions)).toThrow(expect.objectContaining({ code: "not_permitted" }));
  },
);

describe("storage of a run", () => {
  const mib = 1024 ** 2;
  const ceiling = { size: 100 * mib, inodes: 5000 };
  const storageOf = (storage: Storage | undefined) =>
    permit(
      { image: "exact:1", registries: [], steps: [plainStep], ...(storage && { storage }) },
      { ...permissions, ceilings: { ...permissions.ceilings, storage: ceiling } },
    ).storage;

  test.each<[what: string, asked: Storage | undefined, given: Storage]>([
    ["the ceiling, where the plan says nothing", undefined, ceiling],
    ["less, where the plan says so", { size: 50 * mib, inodes: 10 }, { size: 50 * mib, inodes: 10 }],
    ["as many inodes as are usual for its size", { size: 16 * mib }, { size: 16 * mib, inodes: 1024 }],
    ["no more inodes than the ceiling's", { size: 100 * mib }, ceiling],
  ])("is %s", (_, asked, given) => expect(storageOf(asked)).toEqual(given));

  test.each([{ size: 100 * mib + 1 }, { size: 100 * mib, inodes: 5001 }])("is never %j", (asked) => {
    expect(() => storageOf(asked)).toThrow(expect.objectContaining({ code: "not_permitted" }));
  });

  test("is the plan's own where the host has no ceiling", () => {
    const { storage: _, ...ceilings } = permissions.ceilings;
    const plan = { image: "exact:1", registries: [], steps: [plainStep] };
    expect(permit({ ...plan, storage: { size: 1 } }, { ...permissions, ceilings }).storage).toEqual({
      size: 1,
    });
    expect(permit(plan, { ...permissions, ceilings }).storage).toBeUndefined();
  });
});
