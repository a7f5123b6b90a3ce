import fc from "fast-check";
import { expect, test } from "vitest";
import { authfileOf } from "../../../../executor/image/pull.ts";
import { Secret } from "../../../../shared/secret.ts";

test("an authfile has every log-in, whatever bytes a password is made of", () => {
  const login = fc.record({ address: fc.string(), user: fc.string(), password: fc.uint8Array() });
  const distinct = fc.uniqueArray(login, { selector: ({ address }) => address });
  fc.assert(
    fc.property(distinct, (logins) => {
      const secret = logins.map((one) => ({ ...one, password: new Secret(Uint8Array.from(one.password)) }));
      const { auths } = JSON.parse(authfileOf(secret).toString());
      const expected = logins.map(({ address, user, password }) => [
        address,
        { auth: Buffer.concat([Buffer.from(`${user}:`), password]).toString("base64") },
      ]);
      expect(new Map(Object.entries(auths))).toEqual(new Map(expected as [string, object][]));
    }),
  );
});
