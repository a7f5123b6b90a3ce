/**
 * What requests to AWS are signed with, by AWS's own libraries: found once for all who wait, used until shortly before it
 * expires, and found anew when AWS does not accept it any more.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import { SourceFailure } from "./provider.ts";
import { readCa } from "./upstream.ts";

export type AwsLogIn =
  /** What the user's variables and files say, in the order of AWS's own tools. */
  | { readonly method: "user" }
  | { readonly method: "profile"; readonly profile: string }
  | {
      readonly method: "keys";
      readonly id: string;
      readonly secret: () => Promise<string>;
      readonly sessionToken?: (() => Promise<string>) | undefined;
    }
  | {
      readonly method: "webIdentity";
      readonly role: string;
      readonly sessionName: string;
      /** Read again for each log-in, because Kubernetes replaces the file before the token expires. */
      readonly token: () => Promise<string>;
      /** Of STS, instead of AWS's own. */
      readonly endpoint?: string | undefined;
    }
  /** The role of the ECS task, the EKS pod or the EC2 instance that we run on. */
  | { readonly method: "machine" };

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** For one log-in, in milliseconds. */
const timeLimit = 10_000;
/** So long before they expire, in milliseconds, nobody uses keys any more. */
const margin = 60_000;
/** How long a refused log-in is not tried again, in milliseconds. */
export const refusedTime = 10_000;

const quiet = { debug() {}, info() {}, warn() {}, error() {} };

export type AwsSession = ReturnType<typeof createAwsSession>;

/** @param ca certificates to trust instead of the system's, PEM. */
export function createAwsSession(logIn: AwsLogIn, ca: (() => Promise<string>) | undefined) {
  let current: AwsKeys | undefined;
  let finding: Promise<AwsKeys> | undefined;

  async function findInTime(region: string): Promise<AwsKeys> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const detail = "the log-in to AWS";
      timer = setTimeout(() => reject(new SourceFailure("provider_timeout", { detail })), timeLimit).unref();
    });
    try {
      current = await Promise.race([findKeys(logIn, region, ca), late]);
      return current;
    } catch (thrown) {
      throw thrown instanceof ClaimcheckError ? thrown : refusal(thrown, logIn);
    } finally {
      clearTimeout(timer);
    }
  }

  return {
    /** @param region where to log in; which one does not matter to what comes of it. */
    keys(region: string): Promise<AwsKeys> {
      if (current && !isEnding(current)) return Promise.resolve(current);
      finding ??= findInTime(region).finally(() => {
        finding = undefined;
      });
      return finding;
    },

    /** AWS does not accept these. */
    drop(keys: AwsKeys): void {
      if (current === keys) current = undefined;
    },
  };
}

const isEnding = ({ expiration }: AwsKeys) =>
  expiration !== undefined && expiration.getTime() - Date.now() < margin;

async function findKeys(
  logIn: AwsLogIn,
  region: string,
  ca: (() => Promise<string>) | undefined,
): Promise<AwsKeys> {
  if (logIn.method === "keys") {
    const [secretAccessKey, sessionToken] = await Promise.all([logIn.secret(), logIn.sessionToken?.()]);
    return { accessKeyId: logIn.id, secretAccessKey, ...(sessionToken !== undefined && { sessionToken }) };
  }
  const aws = await import("./aws-libraries.ts");
  const clientConfig = {
    region,
    maxAttempts: 1,
    requestHandler: { requestTimeout: timeLimit, connectionTimeout: 5_000 },
  };
  switch (logIn.method) {
    case "user":
      return aws.fromNodeProviderChain({ clientConfig, logger: quiet })();
    case "profile":
      return aws.fromIni({ profile: logIn.profile, clientConfig, logger: quiet, ignoreCache: true })();
    case "machine":
      return machineProvider(aws)();
    case "webIdentity": {
      const { role: roleArn, sessionName: roleSessionName, endpoint } = logIn;
      const [webIdentityToken, trusted] = await Promise.all([logIn.token(), readCa(ca)]);
      const requestHandler = {
        ...clientConfig.requestHandler,
        ...(trusted !== undefined && { httpsAgent: { ca: trusted } }),
      };
      return aws.fromWebToken({
        roleArn,
        roleSessionName,
        webIdentityToken,
        clientConfig: { ...clientConfig, requestHandler, ...(endpoint !== undefined && { endpoint }) },
      })();
    }
  }
}

function machineProvider({
  fromHttp,
  fromInstanceMetadata,
}: Pick<typeof import("./aws-libraries.ts"), "fromHttp" | "fromInstanceMetadata">) {
  const options = { timeout: 2_000, maxRetries: 1, logger: quiet };
  try {
    return fromHttp(options);
  } catch {
    // No container's: nothing names an address.
    return fromInstanceMetadata(options);
  }
}

const hints: Readonly<Record<AwsLogIn["method"], string>> = {
  user: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or log in with `aws sso login`",
  profile: "look at this profile in the files of AWS's command line, or log in with `aws sso login`",
  keys: "give the source other keys",
  webIdentity: "look at the trust policy of the role and at the token's issuer and audience",
  machine: "give this instance, task or pod a role",
};

/** Of an error of AWS's libraries, its name alone is told: its text may quote what a file or a command said. */
function refusal(thrown: unknown, { method }: AwsLogIn): SourceFailure {
  const { name = "" } = (thrown ?? {}) as Error;
  const said = /^[A-Za-z]{1,60}$/.test(name) && !["Error", "TypeError"].includes(name) ? ` (${name})` : "";
  const detail = `the broker cannot log in to AWS${said}: ${hints[method]}`;
  return new SourceFailure("provider_denied", { detail, after: refusedTime });
}
