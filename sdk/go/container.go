// Package claimcheck builds chains of containers that get their secrets at the last moment, and never show them.
//
// Every verb gives a new chain and leaves the old one as it was; nothing runs until a result is asked for, and then the
// chain is a plan for an executor.
package claimcheck

import (
	"context"
	"path/filepath"
)

// Want is what is asked of a chain: what the last command printed, how it ended, or only that it ran.
type Want string

const (
	WantStdout   Want = "stdout"
	WantStderr   Want = "stderr"
	WantExitCode Want = "exitCode"
	WantSync     Want = "sync"
)

// SecretFileOptions are of a secret that is a file.
type SecretFileOptions struct {
	Mode  string // In octal; 0400 if empty.
	Owner string // USER[:GROUP], by name or number; root if empty.
}

// FileOptions are of a file that is copied.
type FileOptions struct {
	Mode  string // In octal; the file's own permissions if empty.
	Owner string // USER[:GROUP], by name or number; root if empty.
}

// DirectoryOptions are of a folder that is copied.
type DirectoryOptions struct {
	Owner string // USER[:GROUP], by name or number; root if empty.
}

// MountOptions are of a folder that is shared.
type MountOptions struct {
	ReadOnly bool // Whether the container can only read it.
}

// Container is a chain.
type Container struct {
	image   string
	logins  []login
	execs   []exec
	setting setting
	files   []read // Copied when the next command runs, and only read then.
}

type read func() ([]placedFile, error)

// Of a registry.
type login struct {
	address, username string
	secret            *Secret
}

// What holds for every command from here on.
type setting struct {
	variables   map[string]variable
	secretFiles []mountedSecret
	volumes     []volume
	entrypoint  *[]string
	user        string
	workdir     string
}

// A text, a secret, or neither, for a variable that is taken away.
type variable struct {
	text   *string
	secret *Secret
}

type mountedSecret struct {
	path    string
	secret  *Secret
	options SecretFileOptions
}

type exec struct {
	args    []string
	options ExecOptions
	setting setting
	files   []read
}

// NewContainer begins an empty chain; From comes next.
func NewContainer() *Container { return &Container{} }

// From starts from an image, as podman and docker name them.
func (c Container) From(address string) *Container {
	c.image = address
	return &c
}

// WithExec runs a command; without arguments the image's own.
func (c Container) WithExec(args []string, options ...ExecOptions) *Container {
	added := exec{args: append([]string{}, args...), options: last(options), setting: c.setting, files: c.files}
	c.execs = appended(c.execs, added)
	c.files = nil
	return &c
}

// WithEnvVariable sets a variable.
func (c Container) WithEnvVariable(name, value string) *Container {
	return c.withVariable(name, variable{text: &value})
}

// WithoutEnvVariable takes a variable away, be it the image's.
func (c Container) WithoutEnvVariable(name string) *Container {
	return c.withVariable(name, variable{})
}

// WithSecretVariable sets a variable to a secret.
func (c Container) WithSecretVariable(name string, secret *Secret) *Container {
	return c.withVariable(name, variable{secret: secret})
}

// WithSecretVariables sets variables to these secrets, each under its name: those of EnvFile.
func (c Container) WithSecretVariables(secrets []*Secret) *Container {
	chain := &c
	for _, secret := range secrets {
		chain = chain.WithSecretVariable(secret.name, secret)
	}
	return chain
}

// WithoutSecretVariable takes such a variable away.
func (c Container) WithoutSecretVariable(name string) *Container {
	kept := map[string]variable{}
	for key, value := range c.setting.variables {
		if key != name || value.secret == nil {
			kept[key] = value
		}
	}
	c.setting.variables = kept
	return &c
}

func (c Container) withVariable(name string, value variable) *Container {
	variables := map[string]variable{name: value}
	for key, other := range c.setting.variables {
		if key != name {
			variables[key] = other
		}
	}
	c.setting.variables = variables
	return &c
}

// WithMountedSecret gives commands a secret as a file, in memory.
func (c Container) WithMountedSecret(path string, secret *Secret, options ...SecretFileOptions) *Container {
	mounted := mountedSecret{path, secret, last(options)}
	same := func(other mountedSecret) bool { return other.path == path }
	c.setting.secretFiles = replaced(c.setting.secretFiles, mounted, same)
	return &c
}

// WithWorkdir sets the folder that commands run in.
func (c Container) WithWorkdir(path string) *Container {
	c.setting.workdir = path
	return &c
}

// WithUser sets who runs the commands: USER[:GROUP], by name or number.
func (c Container) WithUser(user string) *Container {
	c.setting.user = user
	return &c
}

// WithMountedDirectory shares a folder or file of the executor's host.
func (c Container) WithMountedDirectory(path, source string, options ...MountOptions) *Container {
	if absolute, err := filepath.Abs(source); err == nil {
		source = absolute
	}
	added := volume{Source: source, Target: path, ReadOnly: last(options).ReadOnly}
	c.setting.volumes = replaced(c.setting.volumes, added, func(other volume) bool { return other.Target == path })
	return &c
}

// WithFile copies a file of this host.
func (c Container) WithFile(path, source string, options ...FileOptions) *Container {
	c.files = appended(c.files, func() ([]placedFile, error) { return readFile(path, source, last(options)) })
	return &c
}

// WithDirectory copies a folder of this host.
func (c Container) WithDirectory(path, source string, options ...DirectoryOptions) *Container {
	owner := last(options).Owner
	c.files = appended(c.files, func() ([]placedFile, error) { return readFolder(path, source, owner) })
	return &c
}

// WithRegistryAuth logs in at a registry, such as registry.example:5000, when the image has to be pulled.
func (c Container) WithRegistryAuth(address, username string, secret *Secret) *Container {
	same := func(other login) bool { return other.address == address }
	c.logins = replaced(c.logins, login{address, username, secret}, same)
	return &c
}

// WithEntrypoint sets what UseEntrypoint puts before the arguments of commands.
func (c Container) WithEntrypoint(args []string) *Container {
	entrypoint := append([]string{}, args...)
	c.setting.entrypoint = &entrypoint
	return &c
}

// Stdout is what the last command printed. The error is a *RunError when a command fails.
func (c Container) Stdout(ctx context.Context) (string, error) {
	result, err := c.run(ctx, WantStdout)
	return result.stdout, err
}

// Stderr is what the last command printed on standard error. The error is a *RunError when a command fails.
func (c Container) Stderr(ctx context.Context) (string, error) {
	result, err := c.run(ctx, WantStderr)
	return result.stderr, err
}

// ExitCode is the last command's. The error is a *RunError when one before it fails.
func (c Container) ExitCode(ctx context.Context) (int, error) {
	result, err := c.run(ctx, WantExitCode)
	return result.exitCode, err
}

// Sync runs the chain. The error is a *RunError when a command fails.
func (c *Container) Sync(ctx context.Context) (*Container, error) {
	_, err := c.run(ctx, WantSync)
	return c, err
}

// Publish runs the chain, and pushes an image of what it left to the registry that the name begins with. It returns the
// name. The error is a *RunError when a command fails, or a secret is in what it left.
func (c Container) Publish(ctx context.Context, address string) (string, error) {
	request, err := c.PublishRequest(address)
	if err == nil {
		_, err = run(ctx, request)
	}
	return address, err
}

func (c Container) run(ctx context.Context, want Want) (result, error) {
	request, err := c.Request(want)
	if err != nil {
		return result{}, err
	}
	return run(ctx, request)
}

// Chains share what they have in common, so that nothing is ever appended in place.
func appended[T any](list []T, item T) []T { return append(list[:len(list):len(list)], item) }

// The item takes the place of the one that is the same, or comes last.
func replaced[T any](list []T, item T, same func(T) bool) []T {
	for index, other := range list {
		if same(other) {
			changed := append([]T{}, list...)
			changed[index] = item
			return changed
		}
	}
	return appended(list, item)
}

func last[T any](options []T) T {
	var none T
	if len(options) == 0 {
		return none
	}
	return options[len(options)-1]
}
