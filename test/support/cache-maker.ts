/**
 * A process that makes a result, for tests of what becomes of it when it is killed: `node cache-maker.ts FOLDER KEY
 * SIZE`. It prints "held" when the right is its own; each line on standard input makes it put a result of SIZE bytes
 * and print "kept" or the system's word for why not, and the end of the input makes it let go.
 */
import { createSecretKey } from "node:crypto";
import { createInterface } from "node:readline";
import { openStore } from "../../executor/cache/store.ts";

const [folder = "", key = "", size = "0"] = process.argv.slice(2);
const store = openStore(folder, { macKey: createSecretKey(Buffer.alloc(32)) });
const lease = await store.claim(key, new AbortController().signal);
process.stdout.write("held\n");
for await (const _ of createInterface({ input: process.stdin })) {
  const stdout = Buffer.alloc(Number(size), "x");
  const outcome = await lease.put({ image: "made", layers: [], stdout, stderr: Buffer.of() }).then(
    () => "kept",
    ({ code }: NodeJS.ErrnoException) => code,
  );
  process.stdout.write(`${outcome}\n`);
}
await lease.release();
