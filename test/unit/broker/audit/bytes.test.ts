/** No byte of a log can be another one, be it in what is signed, in a signature, or in the very last line. */
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { filePart, verifyChain } from "../../../../broker/audit/verify.ts";
import { keys, newLog, writeLog } from "../../../support/audit-log.ts";

const flips = [1, 0x20, 0x80];

test("a change of any one byte is found, in its line or in the one after", async () => {
  const path = newLog();
  await writeLog(path, [["a"], ["b", "c"]]);
  const bytes = readFileSync(path);
  let line = 1;
  for (const [at, byte] of bytes.entries()) {
    for (const flip of flips) {
      const changed = Buffer.from(bytes);
      changed[at] = byte ^ flip;
      writeFileSync(path, changed);
      const { broken } = await verifyChain([filePart(path)], keys.findAuditKey);
      expect([line, line + 1], `byte ${at} of line ${line}, ${flip}`).toContain(broken?.line);
    }
    if (byte === 0x0a) line += 1;
  }
});

test("nor can the end of a signature, where some bits stand for nothing", async () => {
  const path = newLog();
  await writeLog(path, [["a"]]);
  const bytes = readFileSync(path);
  const last = bytes.length - '"}\n'.length - 1;
  for (let other = 0; other < 256; other++) {
    if (other === bytes[last]) continue;
    const changed = Buffer.from(bytes);
    changed[last] = other;
    writeFileSync(path, changed);
    expect(await verifyChain([filePart(path)], keys.findAuditKey), `byte ${other}`).toHaveProperty("broken");
  }
});
