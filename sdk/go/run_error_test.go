package claimcheck_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/claimcheck/claimcheck/sdk/go"
)

func errorWith(t *testing.T, command string) *claimcheck.RunError {
	t.Helper()
	t.Setenv("CLAIMCHECK_COMMAND", command)
	_, err := claimcheck.NewContainer().From("alpine").WithExec([]string{"true"}).Sync(context.Background())
	var failure *claimcheck.RunError
	if !errors.As(err, &failure) {
		t.Fatalf("not a RunError: %v", err)
	}
	return failure
}

func errorOf(t *testing.T, script string) *claimcheck.RunError {
	t.Helper()
	command := filepath.Join(t.TempDir(), "claimcheck")
	if err := os.WriteFile(command, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return errorWith(t, command)
}

func TestMissingCommandIsOneSentenceThatSaysHowToInstallIt(t *testing.T) {
	failure := errorWith(t, "no-such-claimcheck")
	if failure.Code != "not_installed" || strings.Contains(failure.Message, "\n") ||
		!strings.Contains(failure.Message, `install it with "npm install --global claimcheck"`) {
		t.Errorf("%+v", failure)
	}
}

func TestCommandWithoutAnAnswer(t *testing.T) {
	failure := errorOf(t, "read line; echo no events; echo what went wrong >&2; exit 9")
	if failure.Code != "no_answer" || failure.ExitCode != 9 || failure.Stderr != "what went wrong" {
		t.Errorf("%+v", failure)
	}
	if failure = errorOf(t, "exit 0"); failure.Message != "claimcheck ended with exit code 0 and without an answer" {
		t.Errorf("%+v", failure)
	}
}

func TestErrorOfTheRunHasItsCodeAndStandardError(t *testing.T) {
	failure := errorOf(t, `read line
echo '{"type":"step","step":0}'; echo '{"type":"stderr","data":"Ym9vbQo="}'
echo '{"type":"error","code":"timed_out","title":"Too long.","exitCode":124}'`)
	if failure.Code != "timed_out" || failure.ExitCode != 124 || failure.Stderr != "boom\n" {
		t.Errorf("%+v", failure)
	}
}
