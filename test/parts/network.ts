/**
 * A small world of network namespaces, none of which is connected with this machine's own:
 *
 *   outside ── uplink ── host ── bridge ── neighbour
 *
 * In each, whoever connects to port 8080 is told its name. The outside has a DNS server, and so has the host.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { processesContaining, until } from "./host.ts";

export const addresses = {
  outside: "203.0.113.1",
  /** What clouds have their metadata behind: outside, and on the host itself. */
  metadata: "169.254.169.254",
  hostMetadata: "169.254.169.253",
  host: "203.0.113.2",
  hostLoopback: "198.51.100.1",
  bridge: "192.0.2.1",
  neighbour: "192.0.2.2",
} as const;

const dnsServer = fileURLToPath(new URL("./dns-server.ts", import.meta.url));

export function buildNetwork() {
  const folder = mkdtempSync(join(tmpdir(), "claimcheck-network-"));
  const name = (place: string) => `${place}-${process.pid}`;
  const [host, outside, neighbour] = [name("host"), name("outside"), name("neighbour")];
  const servers: ChildProcess[] = [];
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: "pipe" }).toString();
  const inside = (place: string, program: string, ...args: string[]) =>
    execFileSync("ip", ["netns", "exec", place, program, ...args], { stdio: "pipe" }).toString();

  function serve(place: string, ...args: string[]): void {
    servers.push(spawn("ip", ["netns", "exec", place, ...args], { stdio: "ignore" }));
  }

  function link(place: string, device: string, address: string, peer: string, peerAddress: string): void {
    ip("-n", place, "link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", peer);
    if (address) ip("-n", place, "address", "add", address, "dev", device);
    ip("-n", peer, "address", "add", peerAddress, "dev", "eth0");
    for (const [where, which] of [
      [place, device],
      [peer, "eth0"],
      [peer, "lo"],
    ] as const)
      ip("-n", where, "link", "set", which, "up");
  }

  for (const place of [host, outside, neighbour]) ip("netns", "add", place);
  ip("-n", host, "link", "set", "lo", "up");
  link(host, "uplink", `${addresses.host}/24`, outside, `${addresses.outside}/24`);
  ip("-n", outside, "address", "add", `${addresses.metadata}/32`, "dev", "lo");
  ip("-n", host, "route", "add", "default", "via", addresses.outside);
  for (const address of [addresses.hostMetadata, addresses.hostLoopback])
    ip("-n", host, "address", "add", `${address}/32`, "dev", "lo");
  ip("-n", host, "link", "add", "bridge", "type", "bridge");
  ip("-n", host, "address", "add", `${addresses.bridge}/24`, "dev", "bridge");
  ip("-n", host, "link", "set", "bridge", "up");
  link(host, "port", "", neighbour, `${addresses.neighbour}/24`);
  ip("-n", host, "link", "set", "port", "master", "bridge");
  ip("-n", neighbour, "route", "add", "default", "via", addresses.bridge);

  for (const [place, namespace] of Object.entries({ host, outside, neighbour }))
    serve(namespace, "busybox", "nc", "-ll", "-p", "8080", "-e", "echo", place);
  for (const place of [host, outside]) serve(place, process.execPath, dnsServer);

  // Node.js in the host's namespace, with a resolv.conf that lists what can be reached last.
  const resolvers = ["127.0.0.53", addresses.host, addresses.metadata, "2001:db8::53", addresses.outside];
  writeFileSync(join(folder, "resolv.conf"), resolvers.map((server) => `nameserver ${server}\n`).join(""));
  const node = join(folder, "node");
  const mount = `mount --bind ${folder}/resolv.conf /etc/resolv.conf && exec "$@"`;
  writeFileSync(
    node,
    `#!/bin/sh\nexec nsenter --net=/run/netns/${host} unshare --mount sh -c '${mount}' - "${process.execPath}" "$@"\n`,
  );
  chmodSync(node, 0o755);

  return {
    node,
    /** Runs a program on the host. */
    onHost: (program: string, ...args: string[]) => inside(host, program, ...args),

    /** Resolves once every server answers. */
    ready: () =>
      until(() => {
        try {
          inside(host, "busybox", "nslookup", "service.example", addresses.outside);
          return [host, outside, neighbour].every(
            (place) => inside(place, "busybox", "nc", "-w", "1", "127.0.0.1", "8080") !== "",
          );
        } catch {
          return false;
        }
      }),

    /** What runs have left on the host. */
    remains(): string[] {
      const links = ip("-n", host, "-o", "link").split("\n");
      return [
        ...links.filter((line) => line.includes("claimcheck")),
        ...inside(host, "nft", "list", "tables")
          .split("\n")
          .filter((line) => line.includes("claimcheck")),
        ...processesContaining("cmdline", "nft\u0000--interactive").map((pid) => `process ${pid}`),
      ];
    },

    remove(): void {
      for (const server of servers) server.kill("SIGKILL");
      for (const place of [host, outside, neighbour]) ip("netns", "delete", place);
    },
  };
}
