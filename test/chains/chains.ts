/** The chains of test/vectors/chains/ in TypeScript. */
import {
  type Container,
  container,
  envFile,
  secret,
  setSecret,
  type Want,
} from "../../sdk/typescript/claimcheck.ts";

const sh = (script: string) => ["sh", "-c", script];
const alpine = container().from("alpine:latest");

/** In the current folder, which has the files that they copy. */
export const makeChains = (): Readonly<Record<string, readonly [Container, Want, { publish: string }?]>> => ({
  secret_variable: [
    alpine
      .withSecretVariable("MY_SECRET", secret("env://API_TOKEN"))
      .withExec(sh("echo this is the secret: $MY_SECRET")),
    "stdout",
  ],
  settings: [
    alpine
      .withEnvVariable("B", "2")
      .withEnvVariable("A", "1")
      .withoutEnvVariable("PAGER")
      .withSecretVariable("B", secret("env://B"))
      .withWorkdir("/srv")
      .withUser("nobody:nogroup")
      .withMountedDirectory("/data", "/srv/data", { readOnly: true })
      .withMountedDirectory("/cache", "/srv/cache")
      .withEntrypoint(["tini", "--"])
      .withExec(sh("first"), { network: "host", timeout: "90s" })
      .withoutSecretVariable("B")
      .withEnvVariable("A", "")
      .withExec(["second"], { useEntrypoint: true })
      .withExec([]),
    "exitCode",
  ],
  secret_files: [
    alpine
      .withMountedSecret("/run/a", secret("file://a"))
      .withMountedSecret("/run/b", secret("env://B"), { mode: "0440", owner: "nobody" })
      .withMountedSecret("/run/a", secret("env://A"), { owner: "1:2" })
      .withExec(["cat"], { stdin: secret("cmd://printf %s input") }),
    "stderr",
  ],
  registry_auth: [
    container()
      .withRegistryAuth("registry.example", "me", secret("env://OLD"))
      .withRegistryAuth("registry.example:5000/team", "us", setSecret("registry", "pass"))
      .withRegistryAuth("registry.example", "robot", secret("env://REGISTRY_PASSWORD"))
      .from("registry.example/app:1")
      .withExec(["true"]),
    "sync",
  ],
  publish: [
    alpine.withFile("/bin/tool", "tool.sh").withExec(["tool", "--install"]),
    "sync",
    { publish: "registry.example/tool:1" },
  ],
  cache_key: [
    alpine
      .withSecretVariable("TOKEN", secret("env://GITHUB_API_TOKEN", { cacheKey: "my-cache-key" }))
      .withMountedSecret("/token", secret("env://GITHUB_API_TOKEN", { cacheKey: "my-cache-key" }))
      .withExec(["true"]),
    "sync",
  ],
  set_secret: [
    alpine
      .withMountedSecret("/token", setSecret("token", "s3cr3t"), { mode: "0444" })
      .withExec(["cat", "/token"]),
    "stdout",
  ],
  env_file: [
    alpine
      .withEnvVariable("A", "1")
      .withSecretVariables(envFile(".env"))
      .withoutSecretVariable("C")
      .withExec(["env"]),
    "sync",
  ],
  files: [
    alpine
      .withFile("/bin/tool", "tool.sh")
      .withFile("/etc/tool.conf", "empty", { mode: "0600", owner: "nobody" })
      .withDirectory("/srv", "folder", { owner: "1:2" })
      .withExec(["tool"])
      .withFile("/link", "folder/link")
      .withExec(["tool"]),
    "stdout",
  ],
  text: [
    alpine.withEnvVariable("É", 'a "b" \\u2028 \u2028\u2029 <&> \u0001\b\f\t\u007f 𝄞').withExec(["echo", ""]),
    "stdout",
  ],
});
