import { describe, expect, test } from "vitest";
import { loadSeccomp, tighten, translate } from "../../../../executor/container/seccomp.ts";

const allow = "SCMP_ACT_ALLOW";
const profile = {
  defaultAction: "SCMP_ACT_ERRNO",
  defaultErrnoRet: 38,
  archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"] }],
  syscalls: [
    { names: ["read"], action: allow, args: [] },
    { names: ["personality"], action: allow, args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] },
    { names: ["chroot"], action: allow, includes: { caps: ["CAP_SYS_CHROOT"] } },
    { names: ["mount"], action: allow, includes: { caps: ["CAP_SYS_ADMIN"] } },
    { names: ["mount"], action: "SCMP_ACT_ERRNO", errnoRet: 1, excludes: { caps: ["CAP_SYS_ADMIN"] } },
    { names: ["both"], action: allow, includes: { caps: ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"] } },
    { names: ["arch_prctl"], action: allow, includes: { arches: ["amd64", "x32"] } },
    { names: ["s390_runtime_instr"], action: allow, includes: { arches: ["s390x"] } },
    { names: ["not_here"], action: allow, excludes: { arches: ["amd64"] } },
  ],
};

test("of a profile's rules those count that are for this machine and these capabilities", () => {
  expect(translate(profile, ["CAP_SYS_CHROOT"], "x64")).toEqual({
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: 38,
    architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    syscalls: [
      { names: ["read"], action: allow },
      { names: ["personality"], action: allow, args: [{ index: 0, value: 8, op: "SCMP_CMP_EQ" }] },
      { names: ["chroot"], action: allow },
      { names: ["mount"], action: "SCMP_ACT_ERRNO", errnoRet: 1 },
      { names: ["arch_prctl"], action: allow },
    ],
  });
});

test("what it does not know it does not take for allowed", () => {
  const newer = { names: ["bpf"], action: allow, includes: { minKernel: "4.8" } };
  expect(() => translate({ ...profile, syscalls: [newer] }, [], "x64")).toThrow("minKernel");
  expect(() => translate(profile, [], "mips")).toThrow("mips");
});

const nowhere = ["/no/such/profile.json"];

test("without a profile there is no container", () => {
  expect(() => loadSeccomp([], "strict", nowhere)).toThrow(
    expect.objectContaining({ code: "unsupported_host" }),
  );
  expect(() => loadSeccomp([], "strict", ["/etc/passwd"])).toThrow(
    expect.objectContaining({ code: "unsupported_host" }),
  );
  expect(() => loadSeccomp([], "strict", ["/etc", ...nowhere])).toThrow(
    expect.objectContaining({ code: "unsupported_host" }),
  );
});

describe("tightened, a profile allows", () => {
  const names = [
    "read",
    "mount",
    "keyctl",
    "clone",
    "clone3",
    "unshare",
    "socket",
    "socketcall",
    "modify_ldt",
  ];
  const { syscalls } = tighten({
    defaultAction: "SCMP_ACT_ERRNO",
    architectures: ["SCMP_ARCH_X86_64"],
    syscalls: [
      { names, action: allow },
      { names: ["setns"], action: allow },
    ],
  });
  const rulesOf = (name: string) => syscalls.filter((rule) => rule.names.includes(name));

  test("what has nothing to do with namespaces", () => {
    expect(rulesOf("read")).toEqual([{ names: ["read"], action: allow }]);
  });

  test.each(["mount", "setns", "keyctl", "modify_ldt"])("no %s, which is refused with EPERM", (name) => {
    expect(rulesOf(name)).toEqual([expect.objectContaining({ action: "SCMP_ACT_ERRNO", errnoRet: 1 })]);
  });

  test("no socketcall, whose arguments no filter sees", () => expect(rulesOf("socketcall")).toEqual([]));

  test.each([
    ["clone", 0x7e020000],
    ["unshare", 0x7e020080],
  ])("%s, but for new namespaces", (name, value) => {
    const args = [{ index: 0, value, valueTwo: 0, op: "SCMP_CMP_MASKED_EQ" }];
    expect(rulesOf(name)).toEqual([{ names: [name], action: allow, args }]);
  });

  test("no clone3, in a way that C libraries take for an older kernel", () => {
    expect(rulesOf("clone3")).toEqual([{ names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: 38 }]);
  });

  test("sockets of these families", () => {
    const families = rulesOf("socket").map(({ args }) => (args as { value: number }[])[0]?.value);
    expect(families).toEqual([1, 2, 10, 16]);
  });
});
