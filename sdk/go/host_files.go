package claimcheck

import (
	"fmt"
	"os"
)

// One file, and what a link leads to where source is one.
func readFile(path, source string, options FileOptions) ([]placedFile, error) {
	placed, err := readContent(path, source, options.Owner)
	if err == nil && options.Mode != "" {
		placed.Mode = options.Mode
	}
	return []placedFile{placed}, err
}

// A folder with all that is in it, in the order of its names. Links in it stay links.
func readFolder(path, source, owner string) ([]placedFile, error) {
	status, err := os.Stat(source)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(source)
	if err != nil {
		return nil, err
	}
	placed := []placedFile{{Path: path, Mode: modeOf(status), Owner: owner}}
	prefix := path
	if prefix == "/" {
		prefix = ""
	}
	for _, entry := range entries {
		here, there := source+"/"+entry.Name(), prefix+"/"+entry.Name()
		added, err := readEntry(there, here, owner, entry.Type())
		if err != nil {
			return nil, err
		}
		placed = append(placed, added...)
	}
	return placed, nil
}

func readEntry(path, source, owner string, kind os.FileMode) ([]placedFile, error) {
	switch {
	case kind.IsDir():
		return readFolder(path, source, owner)
	case kind&os.ModeSymlink != 0:
		target, err := os.Readlink(source)
		return []placedFile{{Path: path, Link: target}}, err
	case kind.IsRegular():
		placed, err := readContent(path, source, owner)
		return []placedFile{placed}, err
	}
	return nil, fmt.Errorf("%s is neither a file nor a folder nor a link", source)
}

func readContent(path, source, owner string) (placedFile, error) {
	status, err := os.Stat(source)
	if err != nil {
		return placedFile{}, err
	}
	content, err := os.ReadFile(source)
	return placedFile{Path: path, Content: &content, Mode: modeOf(status), Owner: owner}, err
}

func modeOf(status os.FileInfo) string { return fmt.Sprintf("0%03o", status.Mode().Perm()) }
