/**
 * aws+ps://NAME, a parameter of AWS Systems Manager's Parameter Store, decrypted where it is a SecureString.
 *
 *     rest       = [ "/" ] segment *( "/" segment ) [ "?" parameters ]
 *     segment    = 1*( ALPHA / DIGIT / "_" / "." / "-" )                         ; but not "." or ".."
 *     parameters = version=N / region=NAME
 *
 * A parameter's name begins with a slash, so both aws+ps://prod/db and aws+ps:///prod/db are the parameter /prod/db, and
 * the second is canonical. Below /aws/reference/ the store shows secrets of Secrets Manager: these have a scheme of their own.
 */
import { ClaimcheckError } from "../../shared/errors.ts";
import type { PatternDemands } from "../../shared/pattern-demands.ts";
import { Secret } from "../../shared/secret.ts";
import { head, shownName } from "../../shared/uri.ts";
import {
  type AwsCall,
  type AwsReasons,
  AwsRefusal,
  type AwsSettings,
  createAwsClient,
  denied,
  failureOf,
  type Regions,
  regionIn,
} from "./aws-client.ts";
import { awsPatterns } from "./aws-patterns.ts";
import type { Provider, ReadResult, Scheme, SecretReference } from "./provider.ts";

interface PsReference extends SecretReference {
  /** With the slash that it begins with. */
  readonly name: string;
  readonly version: number | undefined;
  /** Missing where it is the source's own. */
  readonly region: string | undefined;
}

/** As many as one call takes. */
const batchSize = 10;

export function awsPsProvider({ server, regions }: AwsSettings): Provider<PsReference> {
  const client = createAwsClient({ name: "ssm", target: "AmazonSSM" }, server);

  type Where = Pick<AwsCall, "signal" | "tenant">;

  /** One call for parameters of one region, of which no two have the same name. */
  async function readTogether(references: readonly PsReference[], where: Where): Promise<ReadResult[]> {
    const [{ region, shown } = { region: undefined, shown: "" }] = references;
    const input = { Names: references.map(selectorOf), WithDecryption: true };
    try {
      const answer = await client.call({ operation: "GetParameters", input, region, ...where });
      const { Parameters = [] } = answer as { Parameters?: readonly Parameter[] };
      return references.map((reference) => pick(Parameters, reference));
    } catch (thrown) {
      if (thrown instanceof ClaimcheckError) return references.map(() => thrown);
      if (!(thrown instanceof AwsRefusal)) throw thrown;
      // One that is denied, or whose key is, fails the whole call.
      if (references.length > 1) {
        const each = references.map((reference) => readTogether([reference], where));
        return (await Promise.all(each)).flat();
      }
      return [failureOf(thrown, shown, reasons)];
    }
  }

  return {
    scheme: awsPsScheme.name,
    parameters: ["version", "region"],
    batchSize,
    timeLimit: 20_000,

    parse: (path, parameters) => parse(path, parameters, { own: server.region, further: regions }),

    async read(references, signal, tenant) {
      const results = new Map<PsReference, ReadResult>();
      const calls = together(references).map(async (all) => {
        const read = await readTogether(all, { signal, tenant });
        for (const [nth, reference] of all.entries()) results.set(reference, read[nth] as ReadResult);
      });
      await Promise.all(calls);
      return references.map((reference) => results.get(reference) as ReadResult);
    },

    logIn: (signal) =>
      client.logIn({ operation: "GetParameters", input: { Names: ["/claimcheck/log-in"] }, signal }),

    close: () => client.close(),
  };
}

interface Parameter {
  /** Of a parameter without a path, AWS may leave out the slash. */
  readonly Name?: string;
  readonly Value?: string;
  readonly Version?: number;
}

const selectorOf = ({ name, version }: PsReference) => `${name}${version === undefined ? "" : `:${version}`}`;

/** Calls of one region each, with no name twice in one. */
function together(references: readonly PsReference[]): PsReference[][] {
  const calls: PsReference[][] = [];
  for (const reference of references) {
    const { name, region } = reference;
    const fitting = calls.find(
      (call) =>
        call[0]?.region === region && call.length < batchSize && !call.some((each) => each.name === name),
    );
    if (fitting) fitting.push(reference);
    else calls.push([reference]);
  }
  return calls;
}

function pick(parameters: readonly Parameter[], { name, version, shown }: PsReference): ReadResult {
  const found = parameters.find(
    ({ Name = "", Version }) =>
      (Name === name || `/${Name}` === name) && (version === undefined || Version === version),
  );
  if (typeof found?.Value === "string") return new Secret(Uint8Array.from(Buffer.from(found.Value)));
  const detail = `${shown} does not exist, or not in this version or region`;
  return new ClaimcheckError("secret_not_found", { detail });
}

const reasons: AwsReasons = {
  [denied]: [
    "provider_denied",
    "may not be read: the role needs ssm:GetParameters for it, and kms:Decrypt if its key is the customer's",
  ],
  InvalidKeyId: ["provider_denied", "cannot be decrypted: the role needs kms:Decrypt for its key"],
};

const pathForm = /^\/?[\w.-]+(?:\/[\w.-]+)*$/;

function parse(path: string, parameters: ReadonlyMap<string, string>, regions: Regions): PsReference {
  const shown = `aws+ps://${shownName(path)}`;
  const refuse = (detail: string) =>
    new ClaimcheckError("invalid_uri", { detail: `aws+ps://${head(path)}: ${detail}` });
  if (path.startsWith("arn:")) throw refuse("write the parameter's name instead of its ARN");
  if (!pathForm.test(path) || path.length > 1011) {
    throw refuse('a name is letters, digits, "/", "_", "." and "-", and at most 1011 characters');
  }
  const name = path.startsWith("/") ? path : `/${path}`;
  if (name.split("/").some((segment) => segment === "." || segment === "..")) {
    throw refuse('a name has no segments "." and ".."');
  }
  if (/^\/aws\/reference\//i.test(name)) {
    throw refuse("this is a secret of Secrets Manager: write aws+sm://NAME");
  }
  const version = parameters.get("version");
  if (version !== undefined && !/^[1-9]\d{0,8}$/.test(version)) {
    throw refuse("a version is a number from 1 on");
  }
  const region = regionIn(parameters, regions, refuse);
  const query = [
    ...(version === undefined ? [] : [`version=${version}`]),
    ...(region === undefined ? [] : [`region=${region}`]),
  ].join("&");
  return {
    scheme: awsPsScheme.name,
    canonical: `aws+ps://${name}${query && `?${query}`}`,
    shown,
    name,
    version: version === undefined ? undefined : Number(version),
    region,
  };
}

const demands = awsPatterns("aws+ps");

/** A pattern that begins without the slash would never fit, and a rule that denies by it would deny nothing. */
const patterns: PatternDemands = {
  ...demands,
  faultOf(glob, effect) {
    const { prefix, exact } = glob;
    if (/^aws\+ps:\/\/[^/]/.test(prefix) || (prefix === "aws+ps://" && (exact || !glob.rest[0]?.deep))) {
      return "begins the name of a parameter without its slash: write aws+ps:///NAME, or aws+ps://** for all";
    }
    return demands.faultOf?.(glob, effect);
  },
};

export const awsPsScheme: Scheme = { name: "aws+ps", form: "aws+ps://NAME", patterns };
