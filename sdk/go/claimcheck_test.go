package claimcheck_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/claimcheck/claimcheck/sdk/go"
)

func TestSecretIsItsName(t *testing.T) {
	secret := claimcheck.SetSecret("token", []byte("hunter2"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		if shown := fmt.Sprintf(verb, secret); strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e") {
			t.Errorf("%s shows the value: %s", verb, shown)
		}
	}
	if _, err := secret.Plaintext(); !errors.Is(err, claimcheck.ErrNoPlaintext) {
		t.Errorf("plaintext: %v", err)
	}
}

func TestAPlanSaysWhatTheChainSays(t *testing.T) {
	for value, wrong := range map[string]bool{"\xff": true, "\ufffd": false, `\ufffd`: false} {
		chain := claimcheck.NewContainer().From("a").WithEnvVariable("A", value).WithExec([]string{"a"})
		request, err := chain.Request(claimcheck.WantSync)
		if err != nil {
			t.Fatal(err)
		}
		if plan, err := request.Plan(); (err != nil) != wrong {
			t.Errorf("%q: %s %v", value, plan, err)
		}
	}
}

func TestChainsShareNothingButTheirBeginning(t *testing.T) {
	base := claimcheck.NewContainer().From("a").WithExec([]string{"one"})
	left := base.WithExec([]string{"left"})
	right := base.WithExec([]string{"right"}).WithEnvVariable("A", "1").WithExec([]string{"more"})
	for chain, want := range map[*claimcheck.Container]string{base: "", left: "left", right: "right"} {
		request, err := chain.Request(claimcheck.WantSync)
		if err != nil {
			t.Fatal(err)
		}
		plan, _ := request.Plan()
		for _, name := range []string{"left", "right"} {
			if strings.Contains(string(plan), name) != (name == want) {
				t.Errorf("%s in %s", name, plan)
			}
		}
	}
}

func TestAnImageAndACommandAreNeeded(t *testing.T) {
	for _, chain := range []*claimcheck.Container{
		claimcheck.NewContainer().WithExec([]string{"a"}),
		claimcheck.NewContainer().From("a"),
	} {
		if _, err := chain.Sync(context.Background()); err == nil {
			t.Error("no error")
		}
	}
}

// With containers: CLAIMCHECK_TEST_IMAGE names an image with sh.
func TestRun(t *testing.T) {
	image := os.Getenv("CLAIMCHECK_TEST_IMAGE")
	if image == "" {
		t.Skip("CLAIMCHECK_TEST_IMAGE names no image")
	}
	t.Setenv("API_TOKEN", "guessme")
	ctx := context.Background()
	base := claimcheck.NewContainer().From(image).
		WithSecretVariable("MY_SECRET", claimcheck.NewSecret("env://API_TOKEN"))

	said, err := base.WithExec([]string{"sh", "-c", "echo this is the secret: $MY_SECRET"}).Stdout(ctx)
	if said != "this is the secret: ***\n" || err != nil {
		t.Errorf("%q, %v", said, err)
	}

	code, err := base.WithExec([]string{"sh", "-c", "exit 3"}).ExitCode(ctx)
	if code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}

	var failure *claimcheck.RunError
	set := claimcheck.SetSecret("t", []byte("from-go-to-run"))
	_, err = base.WithMountedSecret("/t", set).WithExec([]string{"sh", "-c", "cat /t >&2; exit 4"}).Sync(ctx)
	if !errors.As(err, &failure) || failure.ExitCode != 4 || failure.Stderr != "***" {
		t.Errorf("%+v", err)
	}

	_, err = base.WithSecretVariable("A", claimcheck.NewSecret("env://NOT_THERE")).WithExec([]string{"true"}).Sync(ctx)
	if !errors.As(err, &failure) || failure.Code != "secret_not_found" {
		t.Errorf("%+v", err)
	}

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = base.WithExec([]string{"sleep", "1000"}).Sync(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
