package claimcheck

import (
	"bytes"
	"encoding/json"
	"errors"
)

// The plan document, as far as a chain writes it; `claimcheck plan schema` prints all of it. Members are written in the
// order in which they stand here, and those of a map in the order of their names: every front end makes the same bytes
// of one chain.

type plan struct {
	Version      int             `json:"version"`
	Image        string          `json:"image"`
	RegistryAuth []registryLogin `json:"registryAuth,omitempty"`
	Steps        []step          `json:"steps"`
	Want         Want            `json:"want"`
	Publish      string          `json:"publish,omitempty"`
}

type registryLogin struct {
	Address  string `json:"address"`
	User     string `json:"user"`
	Password any    `json:"password"`
}

type step struct {
	Args        []string           `json:"args,omitempty"`
	Entrypoint  *[]string          `json:"entrypoint,omitempty"`
	Env         map[string]*string `json:"env,omitempty"`
	SecretEnv   map[string]any     `json:"secretEnv,omitempty"`
	SecretFiles []secretFile       `json:"secretFiles,omitempty"`
	SecretStdin any                `json:"secretStdin,omitempty"`
	User        string             `json:"user,omitempty"`
	Workdir     string             `json:"workdir,omitempty"`
	Volumes     []volume           `json:"volumes,omitempty"`
	Files       []placedFile       `json:"files,omitempty"`
	Network     string             `json:"network,omitempty"`
	Timeout     string             `json:"timeout,omitempty"`
}

// ExecOptions are of a command.
type ExecOptions struct {
	Stdin         *Secret // What the command reads from its standard input.
	UseEntrypoint bool    // Whether the entrypoint, the chain's or the image's, stands before the arguments.
	Network       string  // What the command can reach; "none" if empty.
	Timeout       string  // After which the command is ended, such as "90s".
}

func (e exec) step() (step, error) {
	made := step{
		Args:    e.args,
		User:    e.setting.user,
		Workdir: e.setting.workdir,
		Volumes: e.setting.volumes,
		Network: e.options.Network,
		Timeout: e.options.Timeout,
	}
	if e.options.UseEntrypoint || len(e.args) == 0 {
		made.Entrypoint = e.setting.entrypoint
	} else {
		made.Entrypoint = &[]string{}
	}
	made.Env, made.SecretEnv = map[string]*string{}, map[string]any{}
	for name, value := range e.setting.variables {
		if value.secret != nil {
			made.SecretEnv[name] = value.secret.reference
		} else {
			made.Env[name] = value.text
		}
	}
	for _, mounted := range e.setting.secretFiles {
		made.SecretFiles = append(made.SecretFiles, mounted.file())
	}
	if e.options.Stdin != nil {
		made.SecretStdin = e.options.Stdin.reference
	}
	for _, read := range e.files {
		placed, err := read()
		if err != nil {
			return step{}, err
		}
		made.Files = append(made.Files, placed...)
	}
	return made, nil
}

type secretFile struct {
	Path     string `json:"path"`
	URI      string `json:"uri,omitempty"`
	CacheKey string `json:"cacheKey,omitempty"`
	Value    string `json:"value,omitempty"`
	Mode     string `json:"mode,omitempty"`
	Owner    string `json:"owner,omitempty"`
}

type volume struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

type placedFile struct {
	Path    string  `json:"path"`
	Content *[]byte `json:"content,omitempty"` // Written in base64.
	Link    string  `json:"link,omitempty"`
	Mode    string  `json:"mode,omitempty"`
	Owner   string  `json:"owner,omitempty"`
}

// Without what Go's encoder escapes for the sake of HTML and JavaScript.
func encode(document any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return nil, err
	}
	return unescape(bytes.TrimSuffix(out.Bytes(), []byte("\n")))
}

// Turns \u2028 and \u2029 back, where the backslash is not itself escaped. Only bytes that are not UTF-8 are \ufffd there;
// the plan would not say what the chain says.
func unescape(text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text))
	for at := 0; at < len(text); at++ {
		if text[at] != '\\' {
			out = append(out, text[at])
			continue
		}
		rest := text[at:]
		switch {
		case bytes.HasPrefix(rest, []byte(`\u2028`)):
			out, at = append(out, "\u2028"...), at+5
		case bytes.HasPrefix(rest, []byte(`\u2029`)):
			out, at = append(out, "\u2029"...), at+5
		case bytes.HasPrefix(rest, []byte(`\ufffd`)):
			return nil, errors.New("a text of the chain is not UTF-8; for a secret, give SetSecret the bytes")
		default:
			out, at = append(out, rest[:2]...), at+1
		}
	}
	return out, nil
}
