/** What an executor lets a plan have of its host's images, whatever the plan calls them. */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { startPrivateRegistry, user } from "../parts/private-registry.ts";
import { image } from "../support/command.ts";
import { ask, type ExecutorHost, outputOf, planOf, startHost } from "../support/executor.ts";

/** How a run of this image ends, and what it printed. */
async function run(host: ExecutorHost, name: string, more: object = {}, sent: object = {}) {
  const plan = { ...planOf({ script: "echo ran" }), image: name, ...more };
  const { status, text, events } = await ask(host.socket, { plan, cache: false, ...sent });
  if (status !== 200) return { code: JSON.parse(text).code, printed: "" };
  const end = events.at(-1) as { type: string; code: string | number };
  return { code: end.code, printed: outputOf(events, "stdout") };
}

interface Listed {
  readonly id: string;
  readonly digest: string;
}

const [local] = JSON.parse(
  execFileSync("buildah", ["images", "--json", "--no-trunc", image], { encoding: "utf8" }),
) as [Listed];

test("an image is what it is, and not what a plan calls it: by its digest or id it is still another one", async () => {
  const host = await startHost({
    images: ["alpine:*", "registry.example/**", "0*", "1*", `${local.id[7]}*`],
  });
  const names = [
    `alpine:latest@${local.digest}`,
    `registry.example/a/b@${local.digest}`,
    local.id.slice("sha256:".length),
    local.id.slice("sha256:".length, 20),
  ];
  for (const name of names) {
    expect(await run(host, name), name).toEqual({ code: "not_permitted", printed: "" });
    // What was found out before is no way around it.
    expect(await run(host, name), name).toEqual({ code: "not_permitted", printed: "" });
  }
});

test("by its own name and digest it runs, whatever its tag is there", async () => {
  const host = await startHost();
  for (const name of [image, `localhost/claimcheck-busybox@${local.digest}`, `${image}@${local.digest}`]) {
    expect(await run(host, name), name).toEqual({ code: 0, printed: "ran\n" });
  }
});

test("an image that was pulled with one job's password is not there for another", async () => {
  const password = `claimcheck-${randomBytes(16).toString("hex")}`;
  const registry = await startPrivateRegistry(password);
  const host = await startHost({
    images: [`${registry.address}/team/*`, `${registry.address}/team/app`],
    environment: { REGISTRY_PASSWORD: password, OTHER: "another-password" },
    variables: registry.env,
  });
  const token = await host.sign("job-1");
  const { address } = registry;
  const loginWith = (uri: string) => ({ registryAuth: [{ address, user, password: uri }] });
  const own = loginWith("env://REGISTRY_PASSWORD");
  const ran = { code: 0, printed: "ran\n" };
  const refused = { code: "image_unavailable", printed: "" };

  expect(await run(host, registry.image)).toEqual(refused);
  expect(await run(host, registry.image, own, { token })).toEqual(ran);
  const [{ digest }] = JSON.parse(
    execFileSync("buildah", ["images", "--json", registry.image], { encoding: "utf8" }),
  ) as [Listed];
  for (const name of [registry.image, `${registry.image}@${digest}`]) {
    expect(await run(host, name), name).toEqual(refused);
    const other = await run(host, name, loginWith("env://OTHER"), { token });
    expect(other, name).toEqual(refused);
    expect(await run(host, name, own, { token }), name).toEqual(ran);
    expect(await run(host, name), name).toEqual(refused);
  }
  // An executor that was started again knows it too.
  host.executor.child.kill("SIGTERM");
  await host.executor.finished;
  await host.startExecutor();
  expect(await run(host, registry.image)).toEqual(refused);
  expect(await run(host, registry.image, own, { token })).toEqual(ran);
  registry.forget();
});
