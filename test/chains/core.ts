/** The chains of test/vectors/chains/ as words of `claimcheck core`. Those with values of their
 * own are missing: others can read arguments. */

const alpine = ["container", "from", "--address=alpine:latest"];
const keyed = "env://GITHUB_API_TOKEN?cacheKey=my-cache-key";

export const chains: Readonly<Record<string, readonly string[]>> = {
  secret_variable: [
    ...alpine,
    ...["with-secret-variable", "--name=MY_SECRET", "--secret=env://API_TOKEN"],
    ...["with-exec", "--args=sh,-c,echo this is the secret: $MY_SECRET"],
    "stdout",
  ],
  settings: [
    ...alpine,
    ...["with-env-variable", "--name=B", "--value=2"],
    ...["with-env-variable", "--name", "A", "--value", "1"],
    ...["without-env-variable", "--name=PAGER"],
    ...["with-secret-variable", "--name=B", "--secret=env://B"],
    ...["with-workdir", "--path=/srv", "with-user", "--user=nobody:nogroup"],
    ...["with-mounted-directory", "--path=/data", "--source=/srv/data", "--read-only"],
    ...["with-mounted-directory", "--path=/cache", "--source=/srv/cache"],
    ...["with-entrypoint", "--args=tini,--"],
    ...["with-exec", "--args", '"sh","-c","first"', "--network=host", "--timeout=90s"],
    ...["without-secret-variable", "--name=B", "with-env-variable", "--name=A", "--value="],
    ...["with-exec", "--args=second", "--use-entrypoint", "with-exec"],
    "exit-code",
  ],
  secret_files: [
    ...alpine,
    ...["with-mounted-secret", "--path=/run/a", "--secret=file://a"],
    ...["with-mounted-secret", "--path=/run/b", "--secret=env://B", "--mode=0440", "--owner=nobody"],
    ...["with-mounted-secret", "--path=/run/a", "--secret=env://A", "--owner=1:2"],
    ...["with-exec", "--args=cat", "--stdin=cmd://printf %s input"],
    "stderr",
  ],
  publish: [
    ...alpine,
    ...["with-file", "--path=/bin/tool", "--source=tool.sh", "with-exec", "--args=tool,--install"],
    ...["publish", "--address=registry.example/tool:1"],
  ],
  cache_key: [
    ...alpine,
    ...["with-secret-variable", "--name=TOKEN", `--secret=${keyed}`],
    ...["with-mounted-secret", "--path=/token", `--secret=${keyed}`],
    ...["with-exec", "--args=true", "sync"],
  ],
  env_file: [
    ...alpine,
    ...["with-env-variable", "--name=A", "--value=1", "with-secret-variables", "--file=.env"],
    ...["without-secret-variable", "--name=C", "with-exec", "--args=env", "sync"],
  ],
  files: [
    ...alpine,
    ...["with-file", "--path=/bin/tool", "--source=tool.sh"],
    ...["with-file", "--path=/etc/tool.conf", "--source=empty", "--mode=0600", "--owner=nobody"],
    ...["with-directory", "--path=/srv", "--source=folder", "--owner=1:2"],
    ...["with-exec", "--args=tool", "with-file", "--path=/link", "--source=folder/link"],
    ...["with-exec", "--args=tool", "stdout"],
  ],
  text: [
    ...alpine,
    ...["with-env-variable", "--name=É", '--value=a "b" \\u2028 \u2028\u2029 <&> \u0001\b\f\t\u007f 𝄞'],
    ...["with-exec", '--args=echo,""', "stdout"],
  ],
};
