import { expect, test } from "vitest";
import { loadSeccomp, translate } from "../../executor/seccomp.ts";

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
  expect(() => loadSeccomp([], nowhere)).toThrow(expect.objectContaining({ code: "unsupported_host" }));
  expect(() => loadSeccomp([], ["/etc/passwd"])).toThrow(
    expect.objectContaining({ code: "unsupported_host" }),
  );
  expect(() => loadSeccomp([], ["/etc", ...nowhere])).toThrow(
    expect.objectContaining({ code: "unsupported_host" }),
  );
});
