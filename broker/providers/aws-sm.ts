/**
 * aws+sm://NAME, a secret of AWS Secrets Manager, or one field of a secret that is a JSON object.
 *
 *     rest       = name [ "?" parameters ]
 *     name       = [ "/" ] segment *( "/" segment )       ; as in Secrets Manager: "/a" and "a" are two secrets
 *     segment    = 1*( ALPHA / DIGIT / "_" / "+" / "=" / "." / "@" / "-" )       ; but not "." or ".."
 *     parameters = field=F / version=ID / stage=LABEL / region=NAME              ; version or stage, not both
 *
 * The canonical form names a region only where it is not the source's own, and no stage where it is AWSCURRENT. An ARN
 * is a second spelling of a name, so there is none in a URI.
 */
import { ClaimcheckError, type ErrorCode } from "../../shared/errors.ts";
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
import { fieldOf } from "./json-field.ts";
import {
  type Provider,
  type ReadResult,
  type Scheme,
  type SecretReference,
  SourceFailure,
} from "./provider.ts";

interface SmReference extends SecretReference {
  readonly name: string;
  readonly field: string | undefined;
  readonly version: string | undefined;
  readonly stage: string | undefined;
  /** Missing where it is the source's own. */
  readonly region: string | undefined;
}

/** As many as one call takes. */
const batchSize = 20;
const current = "AWSCURRENT";

export function awsSmProvider({ server, regions }: AwsSettings): Provider<SmReference> {
  const client = createAwsClient({ name: "secretsmanager", target: "secretsmanager" }, server);
  /** Reading several with one call takes a permission of its own. */
  let batchesDenied = false;

  type Where = Pick<AwsCall, "signal" | "tenant">;

  async function readOne({ name, version, stage, region, shown }: SmReference, where: Where): Promise<Value> {
    const input = {
      SecretId: name,
      ...(version !== undefined && { VersionId: version }),
      ...(stage !== undefined && { VersionStage: stage }),
    };
    try {
      const answer = (await client.call({ operation: "GetSecretValue", input, region, ...where })) as Answer;
      if (answer.Name === name) return answer;
      return new SourceFailure("provider_failed", { detail: `${shown}: AWS answers with another secret` });
    } catch (thrown) {
      return asFailure(thrown, shown);
    }
  }

  /** The values that one call returns, by name. The caller asks for a missing one alone, and so learns why it is missing. */
  async function readBatch(
    names: readonly string[],
    region: string | undefined,
    where: Where,
  ): Promise<ReadonlyMap<string, Value>> {
    if (names.length < 2 || batchesDenied) return new Map();
    try {
      const input = { SecretIdList: names };
      const call = { operation: "BatchGetSecretValue", input, region, ...where };
      const { SecretValues = [] } = (await client.call(call)) as { SecretValues?: readonly Answer[] };
      return new Map(SecretValues.map((each) => [each.Name, each]));
    } catch (thrown) {
      if (thrown instanceof SourceFailure) return new Map(names.map((name) => [name, thrown]));
      if (!(thrown instanceof AwsRefusal)) throw thrown;
      if (thrown.code === denied) batchesDenied = true;
      return new Map();
    }
  }

  return {
    scheme: awsSmScheme.name,
    parameters: ["field", "version", "stage", "region"],
    batchSize,
    timeLimit: 20_000,

    parse: (name, parameters) => parse(name, parameters, { own: server.region, further: regions }),

    async read(references, signal, tenant) {
      const where = { signal, tenant };
      // Fields of one version of one secret are one read.
      const wanted = new Map(references.map((reference) => [keyOf(reference), reference]));
      const plain = [...wanted.values()].filter(
        (each) => each.version === undefined && each.stage === undefined,
      );
      const values = new Map<string, Promise<Value>>();
      await Promise.all(
        [...new Set(plain.map(({ region }) => region))].map(async (region) => {
          const names = plain.filter((each) => each.region === region).map(({ name }) => name);
          const brought = await readBatch(names, region, where);
          for (const [key, { name }] of wanted) {
            const value = brought.get(name);
            if (value && key === keyOf({ name, region })) values.set(key, Promise.resolve(value));
          }
        }),
      );
      for (const [key, reference] of wanted) {
        if (!values.has(key)) values.set(key, readOne(reference, where));
      }
      return Promise.all(
        references.map(async (reference) => {
          const value = (await values.get(keyOf(reference))) as Value;
          return value instanceof ClaimcheckError ? value : pick(value, reference);
        }),
      );
    },

    logIn: (signal) =>
      client.logIn({ operation: "GetSecretValue", input: { SecretId: "claimcheck/log-in" }, signal }),

    close: () => client.close(),
  };
}

/** What is read of a secret, or why it was not. */
type Value = Answer | ClaimcheckError;

interface Answer {
  readonly Name: string;
  readonly SecretString?: string | null;
  /** In base64. */
  readonly SecretBinary?: string | null;
}

type Version = Pick<SmReference, "name"> & Partial<Pick<SmReference, "version" | "stage" | "region">>;

const keyOf = ({ name, version, stage, region }: Version) => JSON.stringify([region, name, version, stage]);

const nameForm = /^\/?[\w+=.@-]+(?:\/[\w+=.@-]+)*$/;
const fieldForm = /^[^%?&#\p{Cc}]{1,256}$/u;

function parse(name: string, parameters: ReadonlyMap<string, string>, regions: Regions): SmReference {
  const shown = `aws+sm://${shownName(name)}`;
  const refuse = (detail: string) =>
    new ClaimcheckError("invalid_uri", { detail: `aws+sm://${head(name)}: ${detail}` });
  if (name.startsWith("arn:")) throw refuse("write the secret's name instead of its ARN");
  if (!nameForm.test(name) || name.length > 512) {
    throw refuse(
      'a name is letters, digits, "/", "_", "+", "=", ".", "@" and "-", and at most 512 characters',
    );
  }
  if (name.split("/").some((segment) => segment === "." || segment === "..")) {
    throw refuse('a name has no segments "." and ".."');
  }
  const field = parameters.get("field");
  if (field !== undefined && !(fieldForm.test(field) && field.isWellFormed())) {
    throw refuse('"field" is the name of a field, without "%", "?", "&", "#" and control characters');
  }
  const version = parameters.get("version");
  if (version !== undefined && !/^[A-Za-z0-9-]{32,64}$/.test(version)) {
    throw refuse('"version" is the id of a version, such as a UUID; for a label write stage=LABEL');
  }
  const stage = parameters.get("stage");
  if (stage !== undefined && !/^[\w+=.@-]{1,256}$/.test(stage)) {
    throw refuse('"stage" is the label of a version, such as AWSPREVIOUS');
  }
  if (version !== undefined && stage !== undefined) throw refuse("name a version or a stage, not both");
  const region = regionIn(parameters, regions, refuse);
  const query = [
    ...(version === undefined ? [] : [`version=${version}`]),
    ...(stage === undefined || stage === current ? [] : [`stage=${stage}`]),
    ...(region === undefined ? [] : [`region=${region}`]),
    ...(field === undefined ? [] : [`field=${field}`]),
  ].join("&");
  return {
    scheme: awsSmScheme.name,
    canonical: `aws+sm://${name}${query && `?${query}`}`,
    shown,
    name,
    field,
    version,
    stage: stage === current ? undefined : stage,
    region,
  };
}

function asFailure(thrown: unknown, shown: string): ClaimcheckError {
  if (thrown instanceof ClaimcheckError) return thrown;
  if (!(thrown instanceof AwsRefusal)) throw thrown;
  return failureOf(thrown, shown, reasons);
}

const reasons: AwsReasons = {
  ResourceNotFoundException: ["secret_not_found", "does not exist, or not in this version, stage or region"],
  [denied]: [
    "provider_denied",
    "may not be read: the role needs secretsmanager:GetSecretValue for it, and kms:Decrypt if its key is the customer's",
  ],
  DecryptionFailure: ["provider_denied", "cannot be decrypted: the role needs kms:Decrypt for its key"],
  InvalidRequestException: ["secret_not_found", "is marked for deletion, or has no value yet"],
};

function pick({ SecretString, SecretBinary }: Answer, { field, shown }: SmReference): ReadResult {
  const fail = (code: ErrorCode, why: string) => new ClaimcheckError(code, { detail: `${shown} ${why}` });
  const bytes =
    typeof SecretString === "string"
      ? Buffer.from(SecretString)
      : typeof SecretBinary === "string"
        ? Buffer.from(SecretBinary, "base64")
        : undefined;
  if (!bytes) return fail("secret_not_found", "has no value");
  // A copy of its own: short texts share memory with others.
  if (field !== undefined) return fieldOf(bytes, field, shown);
  return new Secret(Uint8Array.from(bytes));
}

export const awsSmScheme: Scheme = {
  name: "aws+sm",
  form: "aws+sm://NAME[?field=FIELD]",
  patterns: awsPatterns("aws+sm"),
};
