import { expect, test } from "vitest";
import { keepReachable } from "../../../../executor/container/resolvers.ts";

const own = ["127.0.0.1", "::1", "192.0.2.2", "2001:db8::2"];

test.each([
  ["a server elsewhere", "nameserver 192.0.2.53", true],
  ["systemd-resolved", "nameserver 127.0.0.53", false],
  ["any of loopback", "nameserver 127.9.9.9", false],
  ["nobody in particular", "nameserver 0.0.0.0", false],
  ["the host itself", "nameserver 192.0.2.2", false],
  ["a neighbour of the host", "nameserver 192.0.2.3", true],
  ["a cloud's, link-local", "nameserver 169.254.169.253", false],
  ["IPv6", "nameserver 2001:db8::53", false],
  ["IPv4 in IPv6's clothes", "nameserver ::ffff:127.0.0.1", false],
  ["no address", "nameserver dns.example", false],
  ["a nameserver behind blanks", " \tnameserver 127.0.0.53", false],
  ["a search list", "search corp.example", true],
  ["options", "options ndots:2 edns0", true],
  ["a comment", "# nameserver 127.0.0.53", true],
])("%s", (_, line, stays) => {
  expect(keepReachable(`first\n${line}\nlast\n`, own)).toBe(
    stays ? `first\n${line}\nlast\n` : "first\nlast\n",
  );
});
