/** Calls of AWS's JSON protocol, each signed for its region (Signature Version 4). */
import { ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
import { type AwsKeys, type AwsLogIn, createAwsSession, refusedTime } from "./aws-log-in.ts";
import { parseJson } from "./json-field.ts";
import { SourceFailure } from "./provider.ts";
import { createUpstream, readRetryAfter, statusFailure, type UpstreamAnswer } from "./upstream.ts";

/** A service of AWS. */
export interface AwsService {
  /** In host names and signatures. */
  readonly name: string;
  /** What `X-Amz-Target` begins with. */
  readonly target: string;
}

export interface AwsServer {
  /** Of URIs that name none; where it is missing, the user's profile says it. */
  readonly region?: string | undefined;
  /** Instead of AWS's own for each region: a VPC endpoint, or a stand-in. */
  readonly endpoint?: string | undefined;
  /** Certificates to trust instead of the system's, PEM. */
  readonly ca?: (() => Promise<string>) | undefined;
  readonly logIn: AwsLogIn;
}

export interface AwsCall {
  /** The region that the URI names. */
  readonly region: string | undefined;
  readonly operation: string;
  readonly input: object;
  readonly signal: AbortSignal;
  readonly tenant: string;
}

/** What a scheme of AWS is opened with. */
export interface AwsSettings {
  readonly server: AwsServer;
  /** What a URI may name besides the server's own; every region where it is missing. */
  readonly regions?: readonly string[] | undefined;
}

/** What a URI may name. */
export interface Regions {
  /** The source's own. */
  readonly own: string | undefined;
  /** Every region where it is missing. */
  readonly further: readonly string[] | undefined;
}

/** The region that a URI names; nothing where it is the source's own. */
export function regionIn(
  parameters: ReadonlyMap<string, string>,
  { own, further }: Regions,
  refuse: (detail: string) => Error,
): string | undefined {
  const named = parameters.get("region");
  if (named === undefined || named === own) return undefined;
  if (!regionForm.test(named)) throw refuse('"region" is a region of AWS, such as eu-west-1');
  if (further && !further.includes(named)) {
    const known = [...(own === undefined ? [] : [own]), ...further].join(", ");
    throw refuse(`the source reads in other regions: ${known}`);
  }
  return named;
}

/** AWS's word against one call. Nothing of its message is kept. */
export class AwsRefusal extends Error {
  readonly code: string;

  constructor(code: string) {
    super(code);
    this.code = code;
  }
}

/** Refusals that a scheme knows: our code, and what the error says behind the secret's name. */
export type AwsReasons = Readonly<Record<string, readonly [ErrorCode, why: string]>>;

export function failureOf(
  { code: refusal }: AwsRefusal,
  shown: string,
  reasons: AwsReasons,
): ClaimcheckError {
  const [code, why] = reasons[refusal] ?? ["provider_failed", `cannot be read (${refusal})`];
  return new ClaimcheckError(code, { detail: `${shown} ${why}` });
}

export const regionForm = /^[a-z]{2,5}(-[a-z]+){1,3}-\d{1,2}$/;

export type AwsClient = ReturnType<typeof createAwsClient>;

const libraries = () => import("./aws-libraries.ts");

export function createAwsClient(service: AwsService, server: AwsServer) {
  const upstream = createUpstream("AWS", server.ca);
  const session = createAwsSession(server.logIn, server.ca);
  const home = createHome(server.region);

  async function send(keys: AwsKeys, region: string, { operation, input, signal, tenant }: AwsCall) {
    const origin = server.endpoint ? new URL(server.endpoint).origin : originOf(service.name, region);
    const body = JSON.stringify(input);
    const headers = {
      "content-type": "application/x-amz-json-1.1",
      "x-amz-target": `${service.target}.${operation}`,
    };
    const signed = await sign({ service: service.name, region, keys, origin, headers, body });
    return upstream.send({ method: "POST", path: "/", origin, headers: signed, body, signal, tenant });
  }

  /**
   * @throws {AwsRefusal} where it is about what was asked for.
   * @throws {SourceFailure} where it is not.
   */
  async function call(call: AwsCall): Promise<unknown> {
    const region = call.region ?? (await home());
    const keys = await session.keys(region);
    const answer = await send(keys, region, call);
    if (!isAboutKeys(answer)) return read(answer);
    session.drop(keys);
    const next = await session.keys(region);
    return read(next.secretAccessKey === keys.secretAccessKey ? answer : await send(next, region, call));
  }

  return {
    call,

    /** Asks for something that is not there: where AWS knows who asks, it says so, or that it may not be read. */
    async logIn(asked: Pick<AwsCall, "operation" | "input" | "signal">): Promise<void> {
      await call({ ...asked, region: undefined, tenant: "" }).catch((thrown: unknown) => {
        if (!(thrown instanceof AwsRefusal)) throw thrown;
      });
    },

    close: () => upstream.close(),
  };
}

/** The region of URIs that name none. */
function createHome(given: string | undefined): () => Promise<string> {
  let found: string | undefined = given;
  return async () => {
    if (found !== undefined) return found;
    const { loadConfig, NODE_REGION_CONFIG_FILE_OPTIONS, NODE_REGION_CONFIG_OPTIONS } = await libraries();
    const read = loadConfig(NODE_REGION_CONFIG_OPTIONS, NODE_REGION_CONFIG_FILE_OPTIONS);
    const said = await read().catch(() => undefined);
    if (typeof said !== "string" || !regionForm.test(said)) {
      throw new SourceFailure("provider_failed", {
        detail: "no region of AWS is set: set AWS_REGION, or write ?region=NAME at the end of the URI",
      });
    }
    found = said;
    return found;
  };
}

/** Partitions whose hosts end otherwise, by how their regions begin. */
const suffixes: Readonly<Record<string, string>> = { "cn-": "amazonaws.com.cn", "eusc-": "amazonaws.eu" };

function originOf(service: string, region: string): string {
  const [, suffix] = Object.entries(suffixes).find(([start]) => region.startsWith(start)) ?? [];
  return `https://${service}.${region}.${suffix ?? "amazonaws.com"}`;
}

interface Unsigned {
  readonly service: string;
  readonly region: string;
  readonly keys: AwsKeys;
  readonly origin: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function sign({ service, region, keys, origin, headers, body }: Unsigned) {
  const { Sha256, SignatureV4 } = await libraries();
  const { protocol, host, hostname } = new URL(origin);
  const signer = new SignatureV4({ service, region, credentials: keys, sha256: Sha256 });
  const request = { method: "POST", path: "/", protocol, hostname, headers: { ...headers, host }, body };
  const signed = await signer.sign(request);
  return signed.headers;
}

/** What AWS calls a call that the role may not make. */
export const denied = "AccessDeniedException";

/** What AWS calls a refusal that is about the keys: their spellings differ between services. */
const aboutKeys = new Set([
  "ExpiredToken",
  "ExpiredTokenException",
  "IncompleteSignature",
  "IncompleteSignatureException",
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "SignatureDoesNotMatch",
  "UnrecognizedClientException",
]);
const throttled =
  /^(Throttling|ThrottlingException|TooManyRequestsException|RequestLimitExceeded|RequestThrottled|SlowDown|LimitExceededException|ThrottledException)$/;

const isAboutKeys = (answer: UpstreamAnswer) => aboutKeys.has(codeOf(answer) ?? "");

/** The name of the error: in a header or in the body, as JSON or as XML, with or without what surrounds it. */
function codeOf({ status, headers, text }: UpstreamAnswer): string | undefined {
  if (status < 400) return undefined;
  const said = headers["x-amzn-errortype"] ?? typeIn(text) ?? /<Code>(\w{1,80})<\/Code>/.exec(text)?.[1];
  const code = /^(?:[^#]*#)?([A-Za-z]{1,80})(?::.*)?$/s.exec(`${said ?? ""}`)?.[1];
  return code === "AccessDenied" ? denied : code;
}

function typeIn(text: string): unknown {
  try {
    return (JSON.parse(text) as { __type?: unknown } | null)?.__type;
  } catch {
    return undefined;
  }
}

function read(answer: UpstreamAnswer): unknown {
  if (answer.status === 200) {
    try {
      return parseJson(answer.text);
    } catch {
      throw new SourceFailure("provider_failed", { detail: "AWS's answer is not JSON" });
    }
  }
  const code = codeOf(answer);
  if (code !== undefined && aboutKeys.has(code)) {
    throw new SourceFailure("provider_denied", {
      detail: `AWS does not accept what the broker signs with (${code}): look at its keys, and at its clock`,
      after: refusedTime,
    });
  }
  if (code !== undefined && throttled.test(code)) {
    throw new SourceFailure("provider_busy", {
      detail: `AWS limits the rate of requests (${code})`,
      again: true,
      after: readRetryAfter(answer.headers["retry-after"]),
    });
  }
  if (code === undefined || answer.status >= 429) {
    throw statusFailure("AWS", answer.status, answer.headers);
  }
  throw new AwsRefusal(code);
}
