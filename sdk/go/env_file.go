package claimcheck

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
)

var (
	ignoredLine = regexp.MustCompile(`^[ \t\r]*(#|$)`)
	lineForm    = regexp.MustCompile(`^[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*((?s:.*?))[ \t\r]*$`)
)

// EnvFile gives one secret for each variable in a .env file, with its name. They go to the executor as those of SetSecret
// do. A line is NAME=VALUE, and may begin with export; quotes around a value are no part of it, and nothing is expanded.
// Lines that are empty or begin with # do not count; of two with one name the last one does.
func EnvFile(path string) ([]*Secret, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var found []*Secret
	for index, line := range bytes.Split(content, []byte("\n")) {
		if ignoredLine.Match(line) {
			continue
		}
		match := lineForm.FindSubmatch(line)
		if match == nil {
			return nil, fmt.Errorf("%s:%d: this is not NAME=VALUE", path, index+1)
		}
		name, value := string(match[1]), match[2]
		if last := len(value) - 1; last > 0 && (value[0] == '"' || value[0] == '\'') && value[0] == value[last] {
			value = value[1:last]
		}
		found = replaced(found, SetSecret(name, value), func(other *Secret) bool { return other.name == name })
	}
	return found, nil
}
