/** aws+sm:// and aws+ps:// against moto, a real server that stands for AWS: what they read, how they say no, how they log in. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import type { AwsLogIn } from "../../broker/providers/aws-log-in.ts";
import { awsPsProvider } from "../../broker/providers/aws-ps.ts";
import { awsSmProvider } from "../../broker/providers/aws-sm.ts";
import { type Moto, startMoto } from "../parts/moto.ts";
import { answering, type Fault, type FaultProxy, startProxy, whereas } from "../parts/openbao.ts";
import { reader } from "../support/provider.ts";

let moto: Moto;
let proxy: FaultProxy;

beforeAll(async () => {
  moto = await startMoto();
  proxy = await startProxy(moto.address);
});

afterAll(async () => {
  await proxy.close();
  await moto.close();
});

beforeEach(() => {
  proxy.requests.length = 0;
});

afterEach(() => proxy.mend());

const keys: AwsLogIn = { method: "keys", id: "AKIAREADER", secret: async () => "sesame" };

interface Settings {
  readonly logIn?: AwsLogIn;
  readonly endpoint?: string;
  readonly regions?: readonly string[];
}

function connect(open: typeof awsSmProvider | typeof awsPsProvider, settings: Settings = {}) {
  const { logIn = keys, endpoint = proxy.address, regions } = settings;
  const provider = open({ server: { region: "eu-west-1", endpoint, logIn }, regions });
  onTestFinished(() => provider.close?.());
  return { ...reader(provider as ReturnType<typeof awsSmProvider>), provider };
}
const secrets = (settings?: Settings) => connect(awsSmProvider, settings);
const parameters = (settings?: Settings) => connect(awsPsProvider, settings);

/** The operations that were called since the last look. */
const operations = () =>
  proxy.requests.splice(0).map(({ headers }) => `${headers["x-amz-target"]}`.replace(/^.*\./, ""));
const calling =
  (operation: string) =>
  ({ headers }: { headers: Record<string, unknown> }) =>
    `${headers["x-amz-target"]}`.endsWith(`.${operation}`);
const refusing = (code: string, status = 400): Fault =>
  answering(
    status,
    { "x-amzn-errortype": `${code}:http://internal.amazon.example/` },
    { __type: code, message: "told by nobody" },
  );

describe("Secrets Manager", () => {
  test("gives a secret byte for byte, text or binary", async () => {
    const text = await moto.secret("app/text", { SecretString: "p\u00e4ss\n" });
    const bytes = Buffer.from([0, 255, 10, 128]);
    const binary = await moto.secret("app/binary", { SecretBinary: bytes.toString("base64") });
    const { read } = secrets();
    expect(await read(`aws+sm://${text.name}`)).toEqual([Buffer.from("p\u00e4ss\n").toString("latin1")]);
    expect(await read(`aws+sm://${binary.name}`)).toEqual([bytes.toString("latin1")]);
  });

  test("gives a field of a JSON object: text as it is, null as nothing, the rest as JSON to the last digit", async () => {
    const { name } = await moto.secret("app/json", {
      SecretString:
        '{"t":"x y","n":12345678901234567890.10,"o":{"a":[1,null]},"b":true,"z":null,"e":"","__proto__":"p"}',
    });
    const fields = ["t", "n", "o", "b", "z", "e", "__proto__"];
    expect(await secrets().read(...fields.map((field) => `aws+sm://${name}?field=${field}`))).toEqual([
      "x y",
      "12345678901234567890.10",
      '{"a":[1,null]}',
      "true",
      "",
      "",
      "p",
    ]);
    expect(operations()).toEqual(["GetSecretValue"]);
  });

  test("says what is wrong with a field", async () => {
    const json = await moto.secret("app/json", { SecretString: '{"a":"1"}' });
    const list = await moto.secret("app/list", { SecretString: "[1]" });
    const plain = await moto.secret("app/plain", { SecretString: 'pass"word' });
    expect(
      await secrets().read(
        `aws+sm://${json.name}?field=toString`,
        `aws+sm://${list.name}?field=0`,
        `aws+sm://${plain.name}?field=a`,
      ),
    ).toEqual([
      {
        code: "secret_not_found",
        detail: expect.stringMatching(/^aws\+sm:\/\/app.* does not have this field$/),
      },
      { code: "provider_failed", detail: expect.stringContaining("is not a JSON object") },
      { code: "provider_failed", detail: expect.stringContaining("it is not JSON") },
    ]);
  });

  test("keeps a name with a slash at its beginning apart from one without", async () => {
    const { name } = await moto.secret("rooted", { SecretString: "without" });
    await moto.call("secretsmanager", "CreateSecret", { Name: `/${name}`, SecretString: "with" });
    expect(await secrets().read(`aws+sm://${name}`, `aws+sm:///${name}`)).toEqual(["without", "with"]);
  });

  test("reads a version by its id, and by its stage", async () => {
    const { name, version } = await moto.secret("app/versions", { SecretString: "old" });
    await moto.call("secretsmanager", "PutSecretValue", { SecretId: name, SecretString: "new" });
    expect(
      await secrets().read(
        `aws+sm://${name}`,
        `aws+sm://${name}?version=${version}`,
        `aws+sm://${name}?stage=AWSPREVIOUS`,
        `aws+sm://${name}?stage=AWSCURRENT`,
        `aws+sm://${name}?stage=NONE`,
      ),
    ).toEqual(["new", "old", "old", "new", { code: "secret_not_found", detail: expect.any(String) }]);
  });

  test("reads each region that a URI names, also after another one", async () => {
    const { name } = await moto.secret("app/region", { SecretString: "ireland" });
    await moto.call("secretsmanager", "CreateSecret", { Name: name, SecretString: "ohio" }, "us-east-2");
    const { read } = secrets();
    expect(await read(`aws+sm://${name}`)).toEqual(["ireland"]);
    expect(await read(`aws+sm://${name}?region=us-east-2`)).toEqual(["ohio"]);
    expect(await read(`aws+sm://${name}`, `aws+sm://${name}?region=us-east-2`)).toEqual(["ireland", "ohio"]);
  });

  test("asks for twenty with one call, and alone for those that the call does not bring", async () => {
    const made = await Promise.all(
      Array.from({ length: 19 }, (_, nth) => moto.secret(`many/${nth}`, { SecretString: `${nth}` })),
    );
    const { read } = secrets();
    const uris = made.map(({ name }) => `aws+sm://${name}`);
    expect(await read(...uris, "aws+sm://many/none")).toEqual([
      ...made.map((_, nth) => `${nth}`),
      {
        code: "secret_not_found",
        detail: "aws+sm://many/none does not exist, or not in this version, stage or region",
      },
    ]);
    expect(operations()).toEqual(["BatchGetSecretValue", "GetSecretValue"]);
  });

  test("reads each alone where the role may not read several with one call, and does not try again", async () => {
    const [a, b] = [
      await moto.secret("alone/a", { SecretString: "a" }),
      await moto.secret("alone/b", { SecretString: "b" }),
    ];
    const { read } = secrets();
    proxy.breakWith(whereas(calling("BatchGetSecretValue"), refusing("AccessDeniedException")));
    const uris = [`aws+sm://${a.name}`, `aws+sm://${b.name}`];
    expect(await read(...uris)).toEqual(["a", "b"]);
    expect(operations()).toEqual(["BatchGetSecretValue", "GetSecretValue", "GetSecretValue"]);
    expect(await read(...uris)).toEqual(["a", "b"]);
    expect(operations()).toEqual(["GetSecretValue", "GetSecretValue"]);
  });

  test("takes no other secret for the one that it asked for", async () => {
    const { name } = await moto.secret("asked", { SecretString: "own" });
    proxy.breakWith(
      whereas(calling("GetSecretValue"), answering(200, {}, { Name: "other", SecretString: "of another" })),
    );
    expect(await secrets().read(`aws+sm://${name}`)).toEqual([
      { code: "provider_failed", detail: expect.stringContaining("AWS answers with another secret") },
    ]);
  });

  test("says that a secret is marked for deletion", async () => {
    const { name } = await moto.secret("gone", { SecretString: "x" });
    await moto.call("secretsmanager", "DeleteSecret", { SecretId: name });
    expect(await secrets().read(`aws+sm://${name}`)).toEqual([
      { code: "secret_not_found", detail: expect.stringContaining("is marked for deletion") },
    ]);
  });
});

describe("Parameter Store", () => {
  test("gives a parameter, decrypted, with or without the slash that its name begins with", async () => {
    const name = await moto.parameter("/prod/db/password", "s3cret");
    expect(await parameters().read(`aws+ps://${name}`, `aws+ps://${name.slice(1)}`)).toEqual([
      "s3cret",
      "s3cret",
    ]);
    expect(operations()).toEqual(["GetParameters"]);
  });

  test("finds a parameter without a path", async () => {
    const name = await moto.parameter("token", "t");
    expect(await parameters().read(`aws+ps://${name}`)).toEqual(["t"]);
  });

  test("reads versions of one parameter", async () => {
    const name = await moto.parameter("/versions", "one");
    await moto.call("ssm", "PutParameter", {
      Name: name,
      Value: "two",
      Overwrite: true,
      Type: "SecureString",
    });
    expect(
      await parameters().read(`aws+ps://${name}?version=1`, `aws+ps://${name}`, `aws+ps://${name}?version=9`),
    ).toEqual([
      "one",
      "two",
      { code: "secret_not_found", detail: expect.stringContaining("does not exist, or not in this version") },
    ]);
  });

  test("reads each region that a URI names, also after another one", async () => {
    const name = await moto.parameter("/region", "ireland");
    await moto.call("ssm", "PutParameter", { Name: name, Value: "ohio", Type: "String" }, "us-east-2");
    const { read } = parameters();
    expect(await read(`aws+ps://${name}`, `aws+ps://${name}?region=us-east-2`)).toEqual(["ireland", "ohio"]);
  });

  test("asks for ten with one call", async () => {
    const names = await Promise.all(
      Array.from({ length: 12 }, (_, nth) => moto.parameter(`/many/${nth}`, `${nth}`)),
    );
    expect(await parameters().read(...names.map((name) => `aws+ps://${name}`))).toEqual(
      names.map((_, nth) => `${nth}`),
    );
    expect(operations()).toEqual(["GetParameters", "GetParameters"]);
  });

  test("tells which of several may not be read", async () => {
    const [open, barred] = [await moto.parameter("/open", "o"), await moto.parameter("/barred", "b")];
    proxy.breakWith(whereas(({ body }) => body.includes(barred), refusing("AccessDeniedException")));
    expect(await parameters().read(`aws+ps://${open}`, `aws+ps://${barred}`)).toEqual([
      "o",
      {
        code: "provider_denied",
        detail: expect.stringMatching(/^aws\+ps:\/\/.*the role needs ssm:GetParameters/),
      },
    ]);
  });
});

describe.each([
  [
    "aws+sm",
    secrets,
    () => moto.secret("faults", { SecretString: "v" }).then(({ name }) => `aws+sm://${name}`),
  ],
  ["aws+ps", parameters, () => moto.parameter("/faults", "v").then((name) => `aws+ps://${name}`)],
] as const)("%s://", (_, open, make) => {
  /** A fault for the first requests only. */
  const times = (count: number, fault: Fault): Fault => {
    let left = count;
    return (logged, response) => left-- > 0 && fault(logged, response);
  };

  test.each([
    ["a throttled request", refusing("ThrottlingException")],
    ["429", answering(429, { "retry-after": "1" })],
    ["503", answering(503, {}, "a proxy's page")],
  ])("asks again after %s", async (_, fault) => {
    const uri = await make();
    proxy.breakWith(times(1, fault));
    expect(await open().read(uri)).toEqual(["v"]);
    expect(operations()).toHaveLength(2);
  });

  test.each([
    [
      "500",
      answering(500, {}, { __type: "InternalServiceError" }),
      "provider_failed",
      "AWS answers with status 500",
    ],
    ["no JSON", answering(200, {}, "{"), "provider_failed", "AWS's answer is not JSON"],
    [
      "a redirect",
      answering(302, { location: "http://127.0.0.1:9/" }),
      "provider_failed",
      "AWS answers with status 302",
    ],
    [
      "too much",
      answering(200, {}, `{"x":"${"x".repeat(9e6)}"}`),
      "provider_failed",
      "AWS's answer is too large",
    ],
    ["an unknown word", refusing("StrangeException"), "provider_failed", "cannot be read (StrangeException)"],
  ])("asks once where AWS answers with %s", async (_, fault, code, detail) => {
    const uri = await make();
    proxy.breakWith(fault);
    expect(await open().read(uri)).toEqual([{ code, detail: expect.stringContaining(detail) }]);
    expect(operations()).toHaveLength(1);
  });

  test("says that AWS is not there", async () => {
    expect(await open({ endpoint: "http://127.0.0.1:9" }).read(await make())).toEqual([
      { code: "provider_unreachable", detail: "AWS (ECONNREFUSED)" },
    ]);
  });

  test("reads its keys again when AWS does not accept them any more", async () => {
    const uri = await make();
    const given = ["first", "second"];
    const logIn: AwsLogIn = { method: "keys", id: "AKIAREADER", secret: async () => given.shift() ?? "last" };
    proxy.breakWith(times(1, refusing("ExpiredTokenException", 403)));
    expect(await open({ logIn }).read(uri)).toEqual(["v"]);
    expect(given).toEqual([]);
  });

  test("says so when AWS does not accept its keys, and then leaves AWS alone for a while", async () => {
    const uri = await make();
    proxy.breakWith(refusing("UnrecognizedClientException"));
    const { read, provider } = open();
    const failure = {
      code: "provider_denied",
      detail:
        "AWS does not accept what the broker signs with (UnrecognizedClientException): look at its keys, and at its clock",
    };
    expect(await read(uri)).toEqual([failure]);
    expect(await read(`${uri}?region=us-east-1`)).toEqual([failure]);
    expect(operations()).toHaveLength(1);
    await expect(provider.logIn?.(AbortSignal.timeout(10_000))).rejects.toMatchObject(failure);
  });

  test("logs in where AWS says of a secret that it does not exist, or may not be read", async () => {
    const { provider } = open();
    await provider.logIn?.(AbortSignal.timeout(10_000));
    proxy.breakWith(refusing("AccessDeniedException"));
    await provider.logIn?.(AbortSignal.timeout(10_000));
    expect(operations()).toHaveLength(2);
  });
});

describe("a log-in", () => {
  test("by web identity signs with what STS gives for the token, and reads the token again for the next", async () => {
    const { name } = await moto.secret("identity", { SecretString: "v" });
    const tokens = ["first.token", "second.token"];
    const logIn: AwsLogIn = {
      method: "webIdentity",
      role: "arn:aws:iam::123456789012:role/reader",
      sessionName: "claimcheck",
      token: async () => tokens.shift() ?? "none",
      endpoint: proxy.address,
    };
    proxy.breakWith(whereas(calling("GetSecretValue"), times(1, refusing("ExpiredTokenException"))));
    expect(await secrets({ logIn }).read(`aws+sm://${name}`)).toEqual(["v"]);
    const bodies = proxy.requests.map(({ body }) => body);
    expect(bodies[0]).toContain("WebIdentityToken=first.token");
    expect(bodies[2]).toContain("WebIdentityToken=second.token");
    expect(proxy.requests.at(-1)?.headers).toMatchObject({
      authorization: expect.stringMatching(
        /^AWS4-HMAC-SHA256 Credential=ASIA\w+\/\d{8}\/eu-west-1\/secretsmanager\/aws4_request/,
      ),
      "x-amz-security-token": expect.any(String),
    });
  });

  test("that STS refuses is told by AWS's word for it, and shows nothing of the token", async () => {
    const logIn: AwsLogIn = {
      method: "webIdentity",
      role: "arn:aws:iam::123456789012:role/reader",
      sessionName: "claimcheck",
      token: async () => "eyJsecret.token",
      endpoint: proxy.address,
    };
    proxy.breakWith(
      answering(
        400,
        { "content-type": "text/xml" },
        "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code><Message>eyJsecret.token is not valid</Message></Error></ErrorResponse>",
      ),
    );
    expect(await secrets({ logIn }).read("aws+sm://a")).toEqual([
      {
        code: "provider_denied",
        detail:
          "the broker cannot log in to AWS (InvalidIdentityTokenException): look at the trust policy of the role and at the token's issuer and audience",
      },
    ]);
  });
});

function times(count: number, fault: Fault): Fault {
  let left = count;
  return (logged, response) => left-- > 0 && fault(logged, response);
}
