/** What ten secrets cost beside one, for each way to read them: with warm connections, and nothing remembered. */

import { awsPsProvider } from "../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../broker/providers/aws-sm.ts";
import { cmdProvider } from "../broker/providers/cmd.ts";
import { opProvider } from "../broker/providers/op.ts";
import type { Provider } from "../broker/providers/provider.ts";
import { vaultProvider } from "../broker/providers/vault.ts";
import { createResolver } from "../broker/resolve/resolver.ts";
import { startMoto } from "../test/parts/moto.ts";
import { startOnePassword } from "../test/parts/onepassword.ts";
import { startBao, startProxy } from "../test/parts/openbao.ts";
import { median, table } from "./report.ts";

const rounds = 15;
/** A server in the same region. */
const distance = 20;
const ten = Array.from({ length: 10 }, (_, nth) => nth);

export async function run(): Promise<void> {
  const bao = await startBao();
  const far = await startProxy(bao.address, distance);
  const onePassword = await startOnePassword({
    Infra: Object.fromEntries(ten.map((nth) => [`item ${nth}`, [{ label: "password", value: `${nth}` }]])),
  });
  const mount = await bao.mount("bench", 2);
  const fields = Object.fromEntries(ten.map((nth) => [`f${nth}`, `${nth}`]));
  for (const nth of ten) await bao.call("POST", `${mount}/data/app${nth}`, { data: fields });

  const vault = vaultProvider({
    server: { address: far.address, logIn: { method: "token", token: async () => bao.token } },
  });
  const op = opProvider({
    token: onePassword.token(),
    signInOrigins: [onePassword.origin],
    version: "0.0.0",
  });
  const moto = await startMoto();
  const farAws = await startProxy(moto.address, distance);
  for (const nth of ten) {
    await moto.call("secretsmanager", "CreateSecret", { Name: `bench/${nth}`, SecretString: `${nth}` });
    await moto.call("ssm", "PutParameter", { Name: `/bench/${nth}`, Value: `${nth}`, Type: "SecureString" });
  }
  const server = {
    region: "eu-west-1",
    endpoint: farAws.address,
    logIn: { method: "keys", id: "AKIABENCH", secret: async () => "bench" },
  } as const;
  const sm = awsSmProvider({ server });
  const ps = awsPsProvider({ server });
  const cmd = cmdProvider({ commands: "any", environment: process.env, workingDirectory: "/" });
  try {
    const rows = [
      await compare(
        `vault://, ${distance} ms away, ten paths`,
        vault,
        (nth) => `vault://${mount}/app${nth}#f0`,
      ),
      await compare(
        `vault://, ${distance} ms away, ten fields`,
        vault,
        (nth) => `vault://${mount}/app0#f${nth}`,
      ),
      await compare(`aws+sm://, moto, ${distance} ms away`, sm, (nth) => `aws+sm://bench/${nth}`),
      await compare(`aws+ps://, moto, ${distance} ms away`, ps, (nth) => `aws+ps:///bench/${nth}`),
      await compare("op://, the stand-in", op, (nth) => `op://infra/item ${nth}/password`),
      await compare("cmd://, sleep 0.1", cmd, (nth) => `cmd://sleep 0.1 # ${nth}`, ""),
    ];
    table(
      `Ten secrets beside one, medians of ${rounds} rounds`,
      ["", "one, ms", "ten, ms", "ten beside one"],
      rows,
    );
  } finally {
    await Promise.all([vault.close?.(), op.close?.(), far.close(), onePassword.close()]);
    await Promise.all([sm.close?.(), ps.close?.(), farAws.close()]);
    await Promise.all([bao.close(), moto.close()]);
  }
}

async function compare(
  name: string,
  provider: unknown,
  uri: (nth: number) => string,
  fresh = "?ttl=0",
): Promise<string[]> {
  const { parse, resolve } = createResolver([provider as Provider]);
  const time = async (wanted: readonly number[]) => {
    const references = wanted.map((nth) => parse("bench", `${uri(nth)}${fresh}`));
    const start = performance.now();
    await resolve("bench", references);
    return performance.now() - start;
  };
  await time(ten);
  const times: [one: number[], ten: number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    times[0].push(await time([0]));
    times[1].push(await time(ten));
  }
  const [one, all] = times.map(median) as [number, number];
  return [name, one.toFixed(1), all.toFixed(1), `${(all / one).toFixed(2)} ×`];
}

if (import.meta.main) await run();
