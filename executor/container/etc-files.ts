/**
 * The three files that tell a container of names and of its own: /etc/hosts, /etc/hostname and /etc/resolv.conf.
 * As with Docker and podman they are mounted, and stand in no layer.
 */
import { readFileSync } from "node:fs";
import type { Network } from "../plan/plan.ts";
import type { BundleFile } from "../supervisor/orders.ts";
import { resolversBeyond } from "./resolvers.ts";

interface Host {
  readonly name: string;
  readonly network: Network;
}

export function nameFiles(host: Host): BundleFile[] {
  const texts = {
    hosts: hostsFile(host),
    hostname: `${host.name}\n`,
    // Without a network nobody can be asked.
    ...(host.network === "host" && { "resolv.conf": read("/etc/resolv.conf") }),
    ...(host.network === "bridge" && { "resolv.conf": resolversBeyond() }),
  };
  return Object.entries(texts).map(([name, text]) => ({
    name,
    target: `/etc/${name}`,
    bytes: Buffer.from(text),
    mode: 0o644,
    uid: 0,
    gid: 0,
  }));
}

function hostsFile({ name, network }: Host): string {
  if (network === "host") return read("/etc/hosts");
  return `127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\t${name}\n`;
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
