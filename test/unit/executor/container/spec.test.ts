import { describe, expect, test } from "vitest";
import { createSpec } from "../../../../executor/container/spec.ts";
import type { ImageConfig } from "../../../../executor/image/image.ts";
import { findUser } from "../../../../executor/image/user.ts";
import { plainStep, type Step } from "../../../../executor/plan/plan.ts";

const specOf = (config: ImageConfig = {}, step: Partial<Step> = { args: ["true"] }) =>
  createSpec(
    { ...plainStep, ...step },
    {
      config,
      user: findUser(step.user ?? config.User ?? "", "/nonexistent"),
      hostname: "run-1",
      cgroup: "run-1",
      firstUser: 1_000_000,
      seccomp: "strict",
      hook: { path: "/bin/sh", args: ["sh"] },
      screen: { columns: 80, rows: 24 },
    },
  );

describe("a container's command", () => {
  test.each<[string, ImageConfig, string[], string[]]>([
    ["the run's", {}, ["sh", "-c", "x"], ["sh", "-c", "x"]],
    ["the image's, where the run names none", { Cmd: ["serve"] }, [], ["serve"]],
    ["the run's instead of the image's", { Cmd: ["serve"] }, ["sh"], ["sh"]],
    [
      "the run's after the entrypoint",
      { Entrypoint: ["tini", "--"], Cmd: ["x"] },
      ["sh"],
      ["tini", "--", "sh"],
    ],
    ["the image's after the entrypoint", { Entrypoint: ["tini"], Cmd: ["serve"] }, [], ["tini", "serve"]],
  ])("is %s", (_, config, args, command) => expect(specOf(config, { args }).process.args).toEqual(command));
});

describe("a container's environment", () => {
  test("is a path, a host name and a home, and nothing of ours", () => {
    expect(specOf().process.env).toEqual([
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      "HOSTNAME=run-1",
      "HOME=/",
    ]);
  });

  test("has the kind of its terminal, where there is one, unless the image or the step says otherwise", () => {
    const withTerminal = (config: ImageConfig, env: Step["env"] = []) =>
      specOf(config, { terminal: true, env }).process;
    expect(withTerminal({})).toMatchObject({ terminal: true, env: expect.arrayContaining(["TERM=xterm"]) });
    expect(withTerminal({ Env: ["TERM=vt100"] }).env).toContain("TERM=vt100");
    expect(withTerminal({}, [["TERM", "linux"]]).env).toContain("TERM=linux");
    expect(specOf().process.terminal).toBe(false);
  });

  test("is what the image says, once a name", () => {
    const { env } = specOf({ Env: ["PATH=/opt/bin", "A=b=c", "EMPTY=", "BARE"] }).process;
    expect(env).toEqual(["PATH=/opt/bin", "HOSTNAME=run-1", "HOME=/", "A=b=c", "EMPTY=", "BARE="]);
  });
});

describe("a container is shut in", () => {
  const { process, linux, mounts, root } = specOf();

  test("in namespaces of its own, network included", () => {
    const types = linux.namespaces.map(({ type }) => type);
    expect(types.sort()).toEqual(["cgroup", "ipc", "mount", "network", "pid", "user", "uts"]);
    expect(linux).toMatchObject({
      uidMappings: [{ containerID: 0, hostID: 1_000_000, size: 65_536 }],
      gidMappings: [{ containerID: 0, hostID: 1_000_000, size: 65_536 }],
    });
  });

  test("without a way to more privileges", () => expect(process.noNewPrivileges).toBe(true));

  test.each([
    "SYS_ADMIN",
    "SYS_PTRACE",
    "SYS_MODULE",
    "NET_ADMIN",
    "NET_RAW",
    "MKNOD",
    "DAC_READ_SEARCH",
    "BPF",
  ])("without CAP_%s", (capability) => {
    const { bounding, effective, permitted } = process.capabilities;
    expect([...bounding, ...effective, ...permitted]).not.toContain(`CAP_${capability}`);
  });

  test("without any capability when it is not root's", () => {
    expect(specOf({ User: "1000" }).process.capabilities).toMatchObject({ effective: [], permitted: [] });
  });

  test("without devices but those that the runtime gives everyone, and with a limit of processes", () => {
    expect(linux.resources?.devices).toEqual([{ allow: false, access: "rwm" }]);
    expect(linux.resources?.pids.limit).toBeGreaterThan(0);
  });

  test("with nothing of the host mounted into it", () => {
    const ofTheHost = mounts.filter(({ type, source }) => type === "bind" || source.startsWith("/"));
    expect(ofTheHost).toEqual([]);
    expect(root).toEqual({ path: "/rootfs", readonly: false });
  });

  test.each(["/sys", "/sys/fs/cgroup"])("with %s read-only", (destination) => {
    expect(mounts.find((mount) => mount.destination === destination)?.options).toContain("ro");
  });

  test("away from the kernel's memory, keys and switches", () => {
    expect(linux.maskedPaths).toEqual(expect.arrayContaining(["/proc/kcore", "/proc/keys", "/sys/firmware"]));
    expect(linux.readonlyPaths).toEqual(expect.arrayContaining(["/proc/sys", "/proc/sysrq-trigger"]));
  });
});

describe("a container's user and folder", () => {
  test("are root's and / unless the image says otherwise", () => {
    expect(specOf().process).toMatchObject({ user: { uid: 0, gid: 0, additionalGids: [] }, cwd: "/" });
  });

  test("are the image's", () => {
    const { process } = specOf({ User: "1000:1001", WorkingDir: "/app" });
    expect(process).toMatchObject({ user: { uid: 1000, gid: 1001, additionalGids: [] }, cwd: "/app" });
  });
});
