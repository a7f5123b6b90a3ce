import { expect, test } from "vitest";
import { plainStep } from "../../executor/plan.ts";
import { permit } from "../../executor/server/permissions.ts";

const permissions = {
  images: ["**"],
  volumes: [],
  networks: ["none" as const],
  ceilings: { memory: 1, cpus: 1, pidsLimit: 1, timeout: 1 },
};
const plan = { image: "alpine:latest", steps: [plainStep] };

test("no job has an executor make an image, in whose place ever or under whose name", () => {
  expect(permit(plan, permissions)).toHaveLength(1);
  for (const wish of [{ tag: "alpine:latest" }, { publish: "registry.example/a:1" }]) {
    expect(() => permit({ ...plan, ...wish }, permissions)).toThrow(
      expect.objectContaining({ code: "not_permitted", detail: "to make an image" }),
    );
  }
});
