/**
 * A request to the broker with somebody's token: the one place that decides how a token travels.
 *
 * - A token that names our key goes as it is. It needs a proof by that key at every request, so a thief has no use for it.
 * - Every other token is sealed to the broker (shared/sealed-token.ts), together with our key's thumbprint.
 * - A broker in this process gets tokens as they are: nobody is on the way.
 */
import { namesKey } from "../../shared/bound-token.ts";
import { makeProof } from "../../shared/proof.ts";
import { sealToken } from "../../shared/sealed-token.ts";
import type { EncryptionKey } from "../../shared/wire.ts";
import { askPatiently, type BrokerCall, type Patience } from "./call.ts";
import type { Identity } from "./identity.ts";
import type { BrokerKeys } from "./keys.ts";

/** Asked before each request: tokens expire, and the files that they lie in change. */
export type FindToken = () => string | Promise<string>;

interface CallSettings extends Patience {
  /** Where the broker is, as it says itself; no slash at the end. */
  readonly url: string;
  readonly call: BrokerCall;
  readonly keys: Pick<BrokerKeys, "wrappingKey">;
  readonly identity: Pick<Identity, "proofKey" | "jkt">;
  /** Whether the broker is in this process. */
  readonly embedded?: boolean | undefined;
}

interface Request {
  readonly method: string;
  readonly path: string;
  /** The body, or what makes it from the token as it is sent. */
  readonly body?: string | ((accessToken: string) => string | Promise<string>);
  /** The public key that the answer is encrypted to, where it is. */
  readonly encryptionKey?: EncryptionKey;
  /** Whether an embedded broker takes the request with the token alone. */
  readonly tokenIsEnough?: boolean;
}

export interface Answered {
  readonly answer: unknown;
  /** The `jti` of the request's proof. */
  readonly proof: string;
}

export type AuthorizedCall = ReturnType<typeof createAuthorizedCall>;

export function createAuthorizedCall({
  url,
  call,
  keys,
  identity,
  embedded = false,
  ...patience
}: CallSettings) {
  /** What was sent, by the token that it stands for. */
  const sent = new Map<string, string>();

  async function send(token: string): Promise<string> {
    const before = sent.get(token);
    if (before !== undefined) return before;
    const { jkt } = identity;
    const isPlain = embedded || namesKey(token, jkt);
    const made = isPlain ? token : await sealToken(token, { iss: url, jkt }, await keys.wrappingKey());
    sent.set(token, made);
    return made;
  }

  return {
    /** The tokens that were used so far, and the forms in which they were sent. */
    sentTokens: (): readonly string[] => [...new Set([...sent].flat())],

    /** @throws {Failure} `broker_unreachable`, `broker_untrusted`, or the broker's refusal. */
    ask: (findToken: FindToken, request: Request): Promise<Answered> =>
      askPatiently(async () => {
        const { method, path, encryptionKey, tokenIsEnough = false } = request;
        const accessToken = await send(await findToken());
        const body = typeof request.body === "function" ? await request.body(accessToken) : request.body;
        const contents = { accessToken, ...(body !== undefined && { body }) };
        if (embedded && tokenIsEnough) return { answer: await call(method, path, contents), proof: "" };
        const covered = { method, url: `${url}${path}`, accessToken, body: body ?? "" };
        const proof = await makeProof(
          { ...covered, ...(encryptionKey && { encryptionKey }) },
          identity.proofKey,
        );
        return { answer: await call(method, path, { ...contents, proof: proof.jwt }), proof: proof.jti };
      }, patience),
  };
}
