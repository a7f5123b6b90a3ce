package claimcheck

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"strings"
	"time"
)

// How long a run that is cancelled may take to clean up before its process is killed.
const grace = 10 * time.Second

type result struct {
	stdout, stderr string
	exitCode       int
}

// RunError is a command that failed, with what it printed; or a run that could not be.
type RunError struct {
	Message string
	// "command_failed" for a command of the chain, "not_installed" where the claimcheck command could not be started,
	// "no_answer" where it ended without an answer, or a code of docs/reference/errors.md.
	Code     string
	ExitCode int
	// What the command that failed printed, with known secrets masked; with "no_answer", what claimcheck printed.
	Stdout string
	Stderr string
}

func (e *RunError) Error() string { return e.Message }

type event struct {
	Type     string `json:"type"`
	Step     int    `json:"step"` // Counted from 0.
	Data     []byte `json:"data"`
	Code     any    `json:"code"` // A number, or of a failure a text.
	Title    string `json:"title"`
	Detail   string `json:"detail"`
	ExitCode int    `json:"exitCode"`
}

// What the events of a run come to.
type outcome struct {
	last           int
	stdout, stderr bytes.Buffer
	exitCode       int
	failure        *event
	ended          bool
}

func (o *outcome) take(e event) {
	switch e.Type {
	case "step":
		o.last = e.Step + 1
		o.stdout.Reset()
		o.stderr.Reset()
	case "stdout":
		o.stdout.Write(e.Data)
	case "stderr":
		o.stderr.Write(e.Data)
	case "end":
		code, _ := e.Code.(float64)
		o.exitCode, o.ended = int(code), true
	case "error":
		o.failure = &e
	}
}

func (o *outcome) finish(steps int, want Want, complaint string, status int) (result, error) {
	made := result{o.stdout.String(), o.stderr.String(), o.exitCode}
	fail := func(message, code string, exitCode int) (result, error) {
		return made, &RunError{message, code, exitCode, made.stdout, made.stderr}
	}
	switch {
	case o.failure != nil:
		code, _ := o.failure.Code.(string)
		return fail(o.failure.message(), code, o.failure.ExitCode)
	case !o.ended:
		message := complaint
		if message == "" {
			message = fmt.Sprintf("claimcheck ended with exit code %d and without an answer", status)
		}
		return made, &RunError{message, "no_answer", status, made.stdout, complaint}
	case o.exitCode != 0 && (want != WantExitCode || o.last < steps):
		message := fmt.Sprintf("step %d of %d ended with exit code %d", o.last, steps, o.exitCode)
		return fail(message, "command_failed", o.exitCode)
	}
	return made, nil
}

func (e *event) message() string {
	if e.Detail == "" {
		return e.Title
	}
	return strings.TrimSuffix(e.Title, ".") + ": " + e.Detail
}

// Runs a request in a `claimcheck run --stdio`, which answers with events.
func run(ctx context.Context, request *Request) (result, error) {
	command := os.Getenv("CLAIMCHECK_COMMAND")
	if command == "" {
		command = "claimcheck"
	}
	line, err := encode(struct {
		Plan   plan              `json:"plan"`
		Values map[string][]byte `json:"values,omitempty"`
	}{request.plan, request.Values})
	if err != nil {
		return result{}, err
	}
	child := osexec.CommandContext(ctx, command, "run", "--stdio")
	var complaint bytes.Buffer
	child.Stderr = &complaint
	stdin, err := child.StdinPipe()
	if err != nil {
		return result{}, err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return result{}, err
	}
	// The end of its input cancels a run.
	child.Cancel = stdin.Close
	child.WaitDelay = grace
	if err := child.Start(); err != nil {
		// Start refuses a context that is over, too: then nothing is missing on this machine.
		if over := ctx.Err(); over != nil {
			return result{}, over
		}
		return result{}, notStarted(command, err)
	}
	// It may end without having read everything; then its last event, or its exit code, says why.
	go stdin.Write(append(line, '\n'))

	var made outcome
	made.read(stdout)
	child.Wait()
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	words := strings.TrimSpace(complaint.String())
	return made.finish(len(request.plan.Steps), request.plan.Want, words, child.ProcessState.ExitCode())
}

// A line that is no event comes from another program: its end without an answer is then the error.
func (o *outcome) read(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, end := lines.ReadBytes('\n')
		var next event
		if json.Unmarshal(line, &next) == nil {
			o.take(next)
		}
		if end != nil {
			return
		}
	}
}

func notStarted(command string, err error) error {
	message := fmt.Sprintf("The command %s could not be started (%v): "+
		`install it with "npm install --global claimcheck", or set CLAIMCHECK_COMMAND to its path`, command, err)
	return &RunError{message, "not_installed", 127, "", ""}
}
