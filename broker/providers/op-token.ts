/**
 * Where a service account's token leads. The SDK sends what the token holds to whatever address the token names, so
 * the address is looked at before the SDK sees the token:
 *
 *     token = "ops_" base64url( JSON with signInAddress and more )
 *
 * It has to be https and 1Password's own domain, or an origin that the operator named.
 */
import { ClaimcheckError } from "../../shared/errors.ts";

const domains = ["1password.com", "1password.eu", "1password.ca"];

/** Where the operator has no other name for the token: the variable of a user's own broker. */
export const defaultName = "OP_SERVICE_ACCOUNT_TOKEN";

/**
 * @param name what the operator calls the token.
 * @throws {ClaimcheckError} which says what is wrong, and shows nothing of the token.
 */
export function signInOrigin(token: string, furtherOrigins: readonly string[], name = defaultName): string {
  const address = readAddress(token);
  if (address === undefined) {
    throw new ClaimcheckError("provider_failed", {
      detail: `${name} is not a service account's token`,
    });
  }
  // As the SDK does.
  const text = address.includes("://") ? address : `https://${address}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const own =
    url?.protocol === "https:" &&
    url.port === "" &&
    domains.some((domain) => url.hostname === domain || url.hostname.endsWith(`.${domain}`));
  const plain = url?.username === "" && url.password === "" && url.pathname === "/" && url.search === "";
  if (!url || !plain || !(own || furtherOrigins.includes(url.origin))) {
    throw new ClaimcheckError("provider_failed", {
      detail: `${name} leads to an address that is not 1Password's`,
    });
  }
  return url.origin;
}

function readAddress(token: string): string | undefined {
  if (!token.startsWith("ops_")) return undefined;
  try {
    const { signInAddress } = JSON.parse(Buffer.from(token.slice("ops_".length), "base64url").toString());
    return typeof signInAddress === "string" ? signInAddress : undefined;
  } catch {
    return undefined;
  }
}
