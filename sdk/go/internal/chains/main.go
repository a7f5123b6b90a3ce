// The chains of test/vectors/chains/ in Go; prints the plan of each behind its name, and values if it has some.
package main

import (
	"encoding/json"
	"fmt"

	"github.com/claimcheck/claimcheck/sdk/go"
)

func sh(script string) []string { return []string{"sh", "-c", script} }

func main() {
	alpine := claimcheck.NewContainer().From("alpine:latest")
	token := claimcheck.NewSecret("env://GITHUB_API_TOKEN").WithCacheKey("my-cache-key")

	show("secret_variable", claimcheck.WantStdout, alpine.
		WithSecretVariable("MY_SECRET", claimcheck.NewSecret("env://API_TOKEN")).
		WithExec(sh("echo this is the secret: $MY_SECRET")))

	show("settings", claimcheck.WantExitCode, alpine.
		WithEnvVariable("B", "2").
		WithEnvVariable("A", "1").
		WithoutEnvVariable("PAGER").
		WithSecretVariable("B", claimcheck.NewSecret("env://B")).
		WithWorkdir("/srv").
		WithUser("nobody:nogroup").
		WithMountedDirectory("/data", "/srv/data", claimcheck.MountOptions{ReadOnly: true}).
		WithMountedDirectory("/cache", "/srv/cache").
		WithEntrypoint([]string{"tini", "--"}).
		WithExec(sh("first"), claimcheck.ExecOptions{Network: "host", Timeout: "90s"}).
		WithoutSecretVariable("B").
		WithEnvVariable("A", "").
		WithExec([]string{"second"}, claimcheck.ExecOptions{UseEntrypoint: true}).
		WithExec(nil))

	show("secret_files", claimcheck.WantStderr, alpine.
		WithMountedSecret("/run/a", claimcheck.NewSecret("file://a")).
		WithMountedSecret("/run/b", claimcheck.NewSecret("env://B"),
			claimcheck.SecretFileOptions{Mode: "0440", Owner: "nobody"}).
		WithMountedSecret("/run/a", claimcheck.NewSecret("env://A"), claimcheck.SecretFileOptions{Owner: "1:2"}).
		WithExec([]string{"cat"}, claimcheck.ExecOptions{Stdin: claimcheck.NewSecret("cmd://printf %s input")}))

	show("registry_auth", claimcheck.WantSync, claimcheck.NewContainer().
		WithRegistryAuth("registry.example", "me", claimcheck.NewSecret("env://OLD")).
		WithRegistryAuth("registry.example:5000/team", "us", claimcheck.SetSecret("registry", []byte("pass"))).
		WithRegistryAuth("registry.example", "robot", claimcheck.NewSecret("env://REGISTRY_PASSWORD")).
		From("registry.example/app:1").
		WithExec([]string{"true"}))

	published, err := alpine.
		WithFile("/bin/tool", "tool.sh").
		WithExec([]string{"tool", "--install"}).
		PublishRequest("registry.example/tool:1")
	print("publish", published, err)

	show("cache_key", claimcheck.WantSync, alpine.
		WithSecretVariable("TOKEN", token).
		WithMountedSecret("/token", token).
		WithExec([]string{"true"}))

	show("set_secret", claimcheck.WantStdout, alpine.
		WithMountedSecret("/token", claimcheck.SetSecret("token", []byte("s3cr3t")),
			claimcheck.SecretFileOptions{Mode: "0444"}).
		WithExec([]string{"cat", "/token"}))

	variables, err := claimcheck.EnvFile(".env")
	if err != nil {
		panic(err)
	}
	show("env_file", claimcheck.WantSync, alpine.
		WithEnvVariable("A", "1").
		WithSecretVariables(variables).
		WithoutSecretVariable("C").
		WithExec([]string{"env"}))

	show("files", claimcheck.WantStdout, alpine.
		WithFile("/bin/tool", "tool.sh").
		WithFile("/etc/tool.conf", "empty", claimcheck.FileOptions{Mode: "0600", Owner: "nobody"}).
		WithDirectory("/srv", "folder", claimcheck.DirectoryOptions{Owner: "1:2"}).
		WithExec([]string{"tool"}).
		WithFile("/link", "folder/link").
		WithExec([]string{"tool"}))

	show("text", claimcheck.WantStdout, alpine.
		WithEnvVariable("É", "a \"b\" \\u2028 \u2028\u2029 <&> \u0001\b\f\t\u007f 𝄞").
		WithExec([]string{"echo", ""}))
}

func show(name string, want claimcheck.Want, chain *claimcheck.Container) {
	request, err := chain.Request(want)
	print(name, request, err)
}

func print(name string, request *claimcheck.Request, err error) {
	if err != nil {
		panic(err)
	}
	plan, err := request.Plan()
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s\t%s\n", name, plan)
	if len(request.Values) > 0 {
		values, _ := json.Marshal(request.Values)
		fmt.Printf("%s_values\t%s\n", name, values)
	}
}
