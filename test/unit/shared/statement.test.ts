import * as jose from "jose";
import { expect, test } from "vitest";
import { readStatement, signStatement } from "../../../shared/statement.ts";

test("a statement is read as what it was signed as, and as nothing else", async () => {
  const { privateKey, publicKey } = await jose.generateKeyPair("EdDSA");
  const find = async () => publicKey;
  const statement = await signStatement("claimcheck-receipt", { of: "a" }, { kid: "1", privateKey });
  expect(await readStatement("claimcheck-receipt", statement, find)).toEqual({ of: "a" });
  for (const other of ["claimcheck-confirmation", "claimcheck-audit-head", "claimcheck+jwt", ""]) {
    await expect(readStatement(other, statement, find)).rejects.toThrow("not a ");
  }
});

test("what another key signed is no statement", async () => {
  const [ours, theirs] = await Promise.all([jose.generateKeyPair("EdDSA"), jose.generateKeyPair("EdDSA")]);
  const statement = await signStatement(
    "claimcheck-receipt",
    {},
    { kid: "1", privateKey: theirs.privateKey },
  );
  await expect(readStatement("claimcheck-receipt", statement, async () => ours.publicKey)).rejects.toThrow(
    "signature verification failed",
  );
});
