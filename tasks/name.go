package tasks

import "fmt"

// maxName is the longest allowed name in bytes. Names become part of log lines,
// metric labels and of every job record, so they stay short enough to print.
const maxName = 200

// nameRule is the remedy that every error about a name ends with.
const nameRule = "use 1 to 200 ASCII letters, digits and . _ : / - and start with a letter or a digit"

// checkName says what is wrong with a name, or nil. The same rule holds for the
// names of tasks and codecs and for error codes: all of them travel, and may
// one day be part of a key, a path or a label.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("is empty; %s", nameRule)
	case len(name) > maxName:
		return fmt.Errorf("%q... has %d bytes; %s", name[:32], len(name), nameRule)
	case !isAlphanumeric(name[0]):
		return fmt.Errorf("%q starts with %q; %s", name, firstRune(name), nameRule)
	}
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && c != '.' && c != '_' && c != ':' && c != '/' && c != '-' {
			return fmt.Errorf("%q has %q at byte %d; %s", name, firstRune(name[i:]), i, nameRule)
		}
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func firstRune(s string) rune {
	for _, r := range s {
		return r
	}
	return 0
}
