/** Which of this host's DNS servers a container can ask that does not reach this host. */
import { readFileSync } from "node:fs";
import { BlockList, isIPv4 } from "node:net";
import { networkInterfaces } from "node:os";

/** systemd-resolved, where it is used, stands on loopback in the first one, and tells in the second whom it asks. */
const places = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/** The text of a /etc/resolv.conf: the first of the host's that names a server that can be reached. */
export function resolversBeyond(): string {
  const own = Object.values(networkInterfaces()).flatMap((all) => (all ?? []).map(({ address }) => address));
  const texts = places.map((place) => keepReachable(readText(place), own));
  return texts.find((text) => /^nameserver/m.test(text)) ?? texts[0] ?? "";
}

/** Takes away the servers that are of this host, link-local, or not IPv4. */
export function keepReachable(text: string, own: readonly string[]): string {
  const unreachable = new BlockList();
  unreachable.addSubnet("0.0.0.0", 8);
  unreachable.addSubnet("127.0.0.0", 8);
  unreachable.addSubnet("169.254.0.0", 16);
  for (const address of own.filter((address) => isIPv4(address))) unreachable.addAddress(address);
  const lines = text.split("\n").filter((line) => {
    const server = /^\s*nameserver\s+(\S*)/.exec(line)?.[1];
    return server === undefined || (isIPv4(server) && !unreachable.check(server));
  });
  return lines.join("\n");
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
