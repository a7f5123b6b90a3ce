import { describe, expect, test } from "vitest";
import { opProvider } from "../../../../broker/providers/op.ts";
import { signInOrigin } from "../../../../broker/providers/op-token.ts";
import { reader } from "../../../support/provider.ts";
import { refusalOf } from "../../../support/refusal.ts";

const tokenOf = (signInAddress: unknown) =>
  `ops_${Buffer.from(JSON.stringify({ signInAddress, secretKey: "A3-SESAME" })).toString("base64url")}`;

describe("a token is given to the SDK when it leads to", () => {
  test.each([
    ["https://my.1password.com", "https://my.1password.com"],
    ["https://1password.com/", "https://1password.com"],
    ["team.1password.eu", "https://team.1password.eu"],
    ["https://Team.Ent.1Password.CA", "https://team.ent.1password.ca"],
  ])("%s", (address, origin) => expect(signInOrigin(tokenOf(address), [])).toBe(origin));

  test("an origin that the operator named", () => {
    expect(signInOrigin(tokenOf("http://127.0.0.1:8000"), ["http://127.0.0.1:8000"])).toBe(
      "http://127.0.0.1:8000",
    );
  });
});

describe("a token is not given to the SDK when it leads to", () => {
  test.each([
    "http://my.1password.com",
    "https://my.1password.com:8443",
    "https://my.1password.com@evil.example",
    "https://user@my.1password.com",
    "https://my.1password.com.evil.example",
    "https://evil1password.com",
    "https://evil.example/my.1password.com",
    "https://my.1password.com/path",
    "https://my.1password.com?next=evil",
    "http://127.0.0.1:8001",
    "http://169.254.169.254",
    "file:///etc/passwd",
    "https://",
    "",
  ])("%j", async (address) => {
    const refusal = await refusalOf(() => signInOrigin(tokenOf(address), ["http://127.0.0.1:8000"]));
    expect(refusal.problem()).toMatchObject({
      code: "provider_failed",
      detail: "OP_SERVICE_ACCOUNT_TOKEN leads to an address that is not 1Password's",
    });
  });
});

describe("a text that is no token is told as that, and not shown", () => {
  test.each(["sesame", "ops_", "ops_sesame", "eyJhbGciOi", tokenOf(undefined), tokenOf(1), ""])(
    "%j",
    async (token) => {
      const read = await reader(opProvider({ token, version: "0.0.0" })).read("op://a/b/c");
      expect(read).toEqual([
        {
          code: "provider_failed",
          detail:
            token === ""
              ? "OP_SERVICE_ACCOUNT_TOKEN is not set"
              : "OP_SERVICE_ACCOUNT_TOKEN is not a service account's token",
        },
      ]);
    },
  );
});
