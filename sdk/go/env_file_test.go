package claimcheck_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/claimcheck/claimcheck/sdk/go"
)

const envVectors = "../../test/vectors/env"

// What a file says: its variables, or why it is refused.
func outcomeOf(t *testing.T, path string) any {
	secrets, err := claimcheck.EnvFile(path)
	if err != nil {
		return strings.Replace(err.Error(), path+":", "refused ", 1)
	}
	chain := claimcheck.NewContainer().From("a").WithSecretVariables(secrets).WithExec([]string{"a"})
	request, err := chain.Request(claimcheck.WantSync)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	for name, value := range request.Values {
		values[name] = string(value)
	}
	return values
}

func TestEnvFileReadsTheVectors(t *testing.T) {
	entries, err := os.ReadDir(envVectors)
	if err != nil || len(entries) <= 50 {
		t.Fatalf("%d vectors: %v", len(entries), err)
	}
	path := filepath.Join(t.TempDir(), "file.env")
	for _, entry := range entries {
		vector, err := os.ReadFile(filepath.Join(envVectors, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		head, content, _ := bytes.Cut(vector, []byte("\n\n"))
		_, rest, _ := strings.Cut(string(head), "\nexpect: ")
		expected, _, _ := strings.Cut(rest, "\n")
		var want any = expected
		if !strings.HasPrefix(expected, "refused ") {
			if err := json.Unmarshal([]byte(expected), &want); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := outcomeOf(t, path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v instead of %v", entry.Name(), got, want)
		}
	}
}

func TestEnvFileReadsNoMoreThanAFileOfVariablesHas(t *testing.T) {
	_, err := claimcheck.EnvFile("/dev/zero")
	if err == nil || !strings.HasSuffix(err.Error(), "has more than 1048576 bytes") {
		t.Errorf("a file without an end: %v", err)
	}
}
