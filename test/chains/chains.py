"""The chains of test/vectors/chains/ in Python; prints the plan of each behind its name."""

import sys

from claimcheck import container, env_file, secret, set_secret
from claimcheck._executor import encode


def sh(script):
    return ["sh", "-c", script]


alpine = container().from_("alpine:latest")

chains = {
    "secret_variable": (
        alpine.with_secret_variable("MY_SECRET", secret("env://API_TOKEN")).with_exec(
            sh("echo this is the secret: $MY_SECRET")
        ),
        "stdout",
    ),
    "settings": (
        alpine.with_env_variable("B", "2")
        .with_env_variable("A", "1")
        .without_env_variable("PAGER")
        .with_secret_variable("B", secret("env://B"))
        .with_workdir("/srv")
        .with_user("nobody:nogroup")
        .with_mounted_directory("/data", "/srv/data", read_only=True)
        .with_mounted_directory("/cache", "/srv/cache")
        .with_entrypoint(["tini", "--"])
        .with_exec(sh("first"), network="host", timeout="90s")
        .without_secret_variable("B")
        .with_env_variable("A", "")
        .with_exec(["second"], use_entrypoint=True)
        .with_exec([]),
        "exitCode",
    ),
    "secret_files": (
        alpine.with_mounted_secret("/run/a", secret("file://a"))
        .with_mounted_secret("/run/b", secret("env://B"), mode="0440", owner="nobody")
        .with_mounted_secret("/run/a", secret("env://A"), owner="1:2")
        .with_exec(["cat"], stdin=secret("cmd://printf %s input")),
        "stderr",
    ),
    "registry_auth": (
        container()
        .with_registry_auth("registry.example", "me", secret("env://OLD"))
        .with_registry_auth("registry.example:5000/team", "us", set_secret("registry", "pass"))
        .with_registry_auth("registry.example", "robot", secret("env://REGISTRY_PASSWORD"))
        .from_("registry.example/app:1")
        .with_exec(["true"]),
        "sync",
    ),
    "publish": (
        alpine.with_file("/bin/tool", "tool.sh").with_exec(["tool", "--install"]),
        "sync",
        "registry.example/tool:1",
    ),
    "cache_key": (
        alpine.with_secret_variable("TOKEN", secret("env://GITHUB_API_TOKEN", cache_key="my-cache-key"))
        .with_mounted_secret("/token", secret("env://GITHUB_API_TOKEN", cache_key="my-cache-key"))
        .with_exec(["true"]),
        "sync",
    ),
    "set_secret": (
        alpine.with_mounted_secret("/token", set_secret("token", "s3cr3t"), mode="0444").with_exec(["cat", "/token"]),
        "stdout",
    ),
    "env_file": (
        alpine.with_env_variable("A", "1")
        .with_secret_variables(env_file(".env"))
        .without_secret_variable("C")
        .with_exec(["env"]),
        "sync",
    ),
    "files": (
        alpine.with_file("/bin/tool", "tool.sh")
        .with_file("/etc/tool.conf", "empty", mode="0600", owner="nobody")
        .with_directory("/srv", "folder", owner="1:2")
        .with_exec(["tool"])
        .with_file("/link", "folder/link")
        .with_exec(["tool"]),
        "stdout",
    ),
    "text": (
        alpine.with_env_variable("É", 'a "b" \\u2028 \u2028\u2029 <&> \u0001\b\f\t\u007f 𝄞').with_exec(["echo", ""]),
        "stdout",
    ),
}

for name, (chain, want, *publish) in chains.items():
    request = chain.request(want, publish=publish[0] if publish else None)
    sys.stdout.buffer.write(name.encode() + b"\t" + encode(request["plan"]) + b"\n")
    if "values" in request:
        sys.stdout.buffer.write(name.encode() + b"_values\t" + encode(request["values"]) + b"\n")
