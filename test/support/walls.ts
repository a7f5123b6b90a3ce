/** Copies of the sources with some of the walls around a container taken down, so that each is seen to stand alone. */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

export type Wall = "attach" | "view" | "hook" | "users";
export const walls: readonly Wall[] = ["attach", "view", "hook", "users"];

/** File, what stands there, what stands there without the wall. */
type Change = readonly [file: string, from: string, to: string];

const runtime = "executor/supervisor";

/** Without: as it was when a runtime mounted volumes by path, and looked at nothing. */
const without: Record<Exclude<Wall, "users">, readonly Change[]> = {
  attach: [
    [
      "executor/container/container.ts",
      "supervisor.mount({ ...bind, user })",
      'spec.mounts.push({ destination: bind.target, type: "bind", source: bind.source, options: ["rbind", "rw"] })',
    ],
    [`${runtime}/attach.pl`, "if ($path =~ m{^/(?:$kernel_folders)(?:/|$)}) {", "if (0) {"],
    [`${runtime}/attach.pl`, 'or $@ = "/$name in the container is not a folder", return;', "or next;"],
    // The runtime finds volumes where they are on the host.
    [`${runtime}/view.pl`, "my @settings = map {", 'my @settings = ("/tmp", map {'],
    [`${runtime}/view.pl`, "services xtables.conf);", "services xtables.conf));"],
  ],
  view: [
    [
      `${runtime}/view.pl`,
      "my $read_only = SystemCalls::ATTR_RDONLY() | SystemCalls::ATTR_NOSUID();",
      'my $read_only = 0; push @programs, grep { !m{^/(proc|sys|dev|own|bundle|rootfs)$} } glob "/*";',
    ],
  ],
  hook: [
    [`${runtime}/attach.pl`, "    my ($rootfs, $process) = @_;", "    my ($rootfs, $process) = @_; return;"],
  ],
};

/** @returns the entry of a command that has these walls alone. A container's users are taken away by a flag. */
export function houseWith(standing: readonly Wall[]): { entry: string; flags: readonly string[] } {
  const down = walls.filter((wall) => !standing.includes(wall));
  const changes = down.flatMap((wall) => (wall === "users" ? [] : without[wall]));
  return { entry: changedHouse(changes), flags: down.includes("users") ? ["--userns", "host"] : [] };
}

/** @returns the entry of a command whose sources are changed. */
export function changedHouse(changes: readonly Change[]): string {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-house-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const name of ["bin", "broker", "executor", "shared", "sdk", "package.json"]) {
    cpSync(join(root, name), join(folder, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  for (const [file, from, to] of changes) replace(join(folder, file), from, to);
  return join(folder, "bin/claimcheck.cjs");
}

function replace(file: string, from: string, to: string): void {
  const text = readFileSync(file, "utf8");
  const parts = text.split(from);
  if (parts.length !== 2) throw new Error(`${file} has no one place that says ${from}`);
  writeFileSync(file, parts.join(to));
}
