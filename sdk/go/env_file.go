package claimcheck

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Of a file, in bytes.
const envFileLimit = 1024 * 1024

var (
	ignoredLine   = regexp.MustCompile(`^[ \t]*(?:#[^\n]*)?(?:\n|$)`)
	startOfLine   = regexp.MustCompile(`^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=`)
	singleQuoted  = regexp.MustCompile(`^[ \t]*'([^']*)'`)
	doubleQuoted  = regexp.MustCompile(`^[ \t]*"([^"\\]*(?:\\(?s:.)[^"\\]*)*)"`)
	restOfQuoted  = regexp.MustCompile(`^(?:[ \t]*(?:\n|$)|[ \t]+#[^\n]*)`)
	unquotedValue = regexp.MustCompile(`^[^\n]*`)
	comment       = regexp.MustCompile(`[ \t]#.*`)
	escape        = regexp.MustCompile(`(?s)\\(.)`)
	escapes       = map[string]string{`"`: `"`, `\`: `\`, "$": "$", "n": "\n", "r": "\r", "t": "\t"}
)

// EnvFile gives one secret for each variable in a .env file, with its name. They go to the executor as those of SetSecret
// do. docs/env-files.md has the grammar, and test/vectors/env/ is what every reader agrees on.
func EnvFile(path string) ([]*Secret, error) {
	text, err := readEnvFile(path)
	if err != nil {
		return nil, err
	}
	var found []*Secret
	places := map[string]int{}
	for at := 0; at < len(text); {
		name, value, end, err := parseLine(text, at)
		if err != nil {
			line := strings.Count(text[:end], "\n") + 1
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
		if place, again := places[name]; again {
			found[place] = SetSecret(name, []byte(value))
		} else if name != "" {
			places[name] = len(found)
			found = append(found, SetSecret(name, []byte(value)))
		}
		at = end
	}
	return found, nil
}

// Takes what stands at this place: a variable, or a line without one, which has no name. The end is where an error is.
func parseLine(text string, at int) (name, value string, end int, err error) {
	take := func(pattern *regexp.Regexp) []string {
		match := pattern.FindStringSubmatch(text[at:])
		if match != nil {
			at += len(match[0])
		}
		return match
	}
	if take(ignoredLine) != nil {
		return "", "", at, nil
	}
	start := take(startOfLine)
	if start == nil {
		return "", "", at, fmt.Errorf("this is not NAME=VALUE")
	}
	name = start[1]
	quoted := take(singleQuoted)
	if quoted == nil {
		quoted = take(doubleQuoted)
	}
	if quoted == nil {
		rest := unquotedValue.FindString(text[at:])
		if strings.IndexAny(strings.TrimLeft(rest, " \t"), `"'`) == 0 {
			return "", "", at, fmt.Errorf("this quote is not closed")
		}
		return name, strings.Trim(comment.ReplaceAllString(rest, ""), " \t"), at + len(rest), nil
	}
	value = quoted[1]
	if strings.HasSuffix(quoted[0], `"`) {
		for _, place := range escape.FindAllStringSubmatchIndex(value, -1) {
			if _, known := escapes[value[place[2]:place[3]]]; !known {
				return "", "", at - 1 - len(value) + place[0],
					fmt.Errorf("this escape is not known; in single quotes a backslash is a backslash")
			}
		}
		value = escape.ReplaceAllStringFunc(value, func(found string) string { return escapes[found[1:]] })
	}
	if take(restOfQuoted) == nil {
		return "", "", at, fmt.Errorf("only a comment may follow the closing quote")
	}
	return name, value, at, nil
}

func readEnvFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, envFileLimit+1))
	if err != nil {
		return "", err
	}
	if len(content) > envFileLimit {
		return "", fmt.Errorf("%s has more than %d bytes", path, envFileLimit)
	}
	for index, line := range bytes.Split(content, []byte("\n")) {
		why := ""
		if !utf8.Valid(line) {
			why = "this line is not UTF-8"
		} else if bytes.IndexByte(line, 0) >= 0 {
			why = "this line has a NUL byte"
		} else if bytes.IndexByte(bytes.TrimSuffix(line, []byte("\r")), '\r') >= 0 {
			why = "this line has a carriage return inside"
		}
		if why != "" {
			return "", fmt.Errorf("%s:%d: %s", path, index+1, why)
		}
	}
	return strings.ReplaceAll(strings.TrimPrefix(string(content), "\ufeff"), "\r", ""), nil
}
