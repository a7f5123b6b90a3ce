/** `--network bridge`: what lies outside of the host can be reached, and nothing nearer. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { processesContaining, remains, until } from "../parts/host.ts";
import { addresses, buildNetwork } from "../parts/network.ts";
import { claimcheck, entry, image, printed, start } from "../support/command.ts";
import { changedHouse } from "../support/walls.ts";

const network = buildNetwork();

const args = (script: string) => ["run", "--network", "bridge", image, "--", "sh", "-c", script];
const run = (script: string) => claimcheck(args(script), { node: network.node });
const ask = (address: string) => `nc -w 2 ${address} 8080 </dev/null`;
const sleep = "sleep\u00001004";

beforeAll(async () => {
  // The image's mount is for all, and not only for the mount namespaces of these tests.
  execFileSync(process.execPath, [entry, "run", image, "true"]);
  await network.ready();
});
afterEach(async () => {
  await until(() => network.remains().length === 0);
  expect(remains()).toEqual([]);
});
afterAll(() => network.remove());

test("an address outside is reached, and masqueraded", async () => {
  expect(await run(ask(addresses.outside))).toMatchObject({ code: 0, stdout: "outside\n" });
});

const near = [
  addresses.metadata,
  addresses.hostMetadata,
  addresses.host,
  addresses.hostLoopback,
  addresses.bridge,
  addresses.neighbour,
];

test.each(near)("%s is not reached, which the host reaches", async (address) => {
  expect(network.onHost("busybox", "nc", "-w", "2", address, "8080")).not.toBe("");
  const { stdout, code } = await run(`${ask(address)}; test $? != 0 && echo refused`);
  expect({ stdout, code }).toEqual({ stdout: "refused\n", code: 0 });
});

test("its own end of the link on the host and its loopback lead nowhere, and there is no IPv6 but ::1", async () => {
  const script = `ip -6 address | grep inet6; gateway=$(ip route | sed -n 's/^default via \\([^ ]*\\) .*/\\1/p')
    for address in $gateway 127.0.0.1 0.0.0.0; do ${ask("$address")} || echo refused; done`;
  const { stdout } = await run(script);
  expect(stdout).toBe("    inet6 ::1/128 scope host \nrefused\nrefused\nrefused\n");
});

test("an address that the host is given later is the host's too", async () => {
  const running = start(
    ["run", "-i", ...args(`echo ready; read go; ${ask("198.51.100.2")} || echo refused`).slice(1)],
    {
      node: network.node,
      input: true,
    },
  );
  await printed(running, "ready");
  network.onHost("ip", "address", "add", "198.51.100.2/32", "dev", "lo");
  running.child.stdin?.end("\n");
  expect((await running.finished).stdout).toBe("ready\nrefused\n");
});

test("an address that another table sends to the host is not reached", async () => {
  const rules =
    "table ip test { chain c { type nat hook prerouting priority dstnat; ip daddr 203.0.113.77 dnat to %; }; }";
  for (const target of [addresses.host, addresses.neighbour, addresses.metadata]) {
    network.onHost("nft", rules.replace("%", target));
    const { stdout } = await run(`${ask("203.0.113.77")} || echo refused`);
    network.onHost("nft", "delete table ip test");
    expect(stdout).toBe("refused\n");
  }
});

test("runs at once have addresses of their own, and do not reach each other", async () => {
  const serve = "ip -4 -o address show eth0; nc -ll -p 8080 -e echo inside & echo ready; exec sleep 1004";
  const serving = [1, 2, 3].map(() => start(args(serve), { node: network.node }));
  for (const running of serving) await printed(running, "ready");
  const found = serving.map(({ output }) => /inet ([\d.]+)/.exec(output.stdout)?.[1] as string);
  expect(new Set(found).size).toBe(3);
  const asked = await run(found.map((address) => `${ask(address)} || echo refused`).join("; "));
  expect(asked.stdout).toBe("refused\n".repeat(3));
  for (const { child } of serving) child.kill("SIGKILL");
  await Promise.all(serving.map(({ finished }) => finished));
});

test("names are asked of the host's servers that can be reached", async () => {
  const { stdout } = await run("cat /etc/resolv.conf; nslookup service.example");
  expect(stdout).toMatch(/^nameserver 203\.0\.113\.1\n/);
  expect(stdout).not.toMatch(/127\.0\.0\.53|203\.0\.113\.2\n|2001:db8/);
  expect(stdout).toContain("203.0.113.99");
});

test("root in the container changes neither addresses nor rules", async () => {
  const { stdout } = await run("ip link set eth0 down || ip route add 198.51.100.1 dev eth0 || echo no");
  expect(stdout).toBe("no\n");
});

test("every step of a plan has a network or none, as it says", async () => {
  const plan = join(mkdtempSync(join(tmpdir(), "claimcheck-bridge-")), "plan.json");
  const steps = ["bridge", "none", "bridge"].map((which) => ({
    args: ["sh", "-c", `${ask(addresses.outside)} || echo refused`],
    network: which,
  }));
  writeFileSync(plan, JSON.stringify({ version: 1, image, steps }));
  const { stdout } = await claimcheck(["run", "--plan", plan], { node: network.node });
  expect(stdout).toBe("outside\nrefused\noutside\n");
});

test("where iptables drops what is forwarded, as Docker has it do, the outside is reached all the same", async () => {
  network.onHost("iptables", "-P", "FORWARD", "DROP");
  const { stdout } = await run(ask(addresses.outside));
  await run("true");
  expect(stdout).toBe("outside\n");
  // The two that stay, however many runs there were.
  expect(network.onHost("iptables", "-S", "FORWARD").match(/claimcheck/g)).toHaveLength(2);
  network.onHost("iptables", "-F", "FORWARD");
  network.onHost("iptables", "-P", "FORWARD", "ACCEPT");
});

test("kill -9 of the executor or of the supervisor leaves neither link nor rules", async () => {
  for (const victim of ["executor", "supervisor"]) {
    const running = start(args("echo ready; exec sleep 1004"), { node: network.node });
    await printed(running, "ready");
    await until(() => processesContaining("cmdline", sleep).length === 1);
    expect(network.remains()).toHaveLength(3);
    network.onHost("nft", "flush", "ruleset");
    expect(network.remains()).toHaveLength(3);
    const pid = victim === "executor" ? running.child.pid : supervisorOf(running.child.pid);
    process.kill(pid as number, "SIGKILL");
    await running.finished;
    await until(() => network.remains().length === 0);
    await run("true");
  }
});

test("without its rules a container does not go on", async () => {
  const running = start(args("echo ready; exec sleep 1004"), { node: network.node });
  await printed(running, "ready");
  for (const pid of processesContaining("cmdline", "nft\u0000--interactive")) process.kill(pid, "SIGKILL");
  const { code, stderr } = await running.finished;
  expect(code).toBe(125);
  expect(stderr).toMatch(/the firewall rules of the network are gone \[network_unavailable\]\n$/);
});

test.each([
  ["nft", "exec 'nft',", /no-such-program cannot be started|nft ended|No such file/],
  ["ip", "system('ip', 'link', 'add',", /\[network_unavailable\]/],
])("without %s there is no container", async (program, call, says) => {
  const without = call.replace(`'${program}'`, "'no-such-program'");
  const entry = changedHouse([["executor/supervisor/bridge.pl", call, without]]);
  const { code, stdout, stderr } = await claimcheck(args("echo ran"), { node: network.node, entry });
  expect({ code, stdout }).toEqual({ code: 125, stdout: "" });
  expect(stderr).toMatch(/^claimcheck: The network could not be set up: .*\[network_unavailable\]\n$/);
  expect(stderr).toMatch(says);
});

/** The only child of the executor's only child, unshare. */
function supervisorOf(executor: number | undefined): number {
  const childOf = (pid: number) => Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim());
  return childOf(childOf(executor as number));
}
