// Package names checks the names that users choose and that become part of
// Redis keys.
package names

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultQueue is not asynq's "default", so that distpool and plain asynq
// programs that share a Redis do not take each other's tasks.
const DefaultQueue = "distpool"

const (
	maxQueue  = 100
	maxJob    = 100
	maxWorker = 100
)

// CheckJob says what is wrong with a job's name in its queue. asynq's task IDs are
// made of it and colons, and the job's address of the queue, a slash and it: so both are
// out.
func CheckJob(name string) error {
	const rule = "use 1 to 100 ASCII letters, digits and . _ -"
	switch {
	case name == "":
		return fmt.Errorf("the job's name is empty; %s", rule)
	case len(name) > maxJob:
		return fmt.Errorf("the job's name %.20q... has %d bytes; %s", name, len(name), rule)
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case r == '.', r == '_', r == '-':
		default:
			return fmt.Errorf("the job's name %q has %q in it; %s", name, r, rule)
		}
	}
	return checkPath("the job's name", name)
}

// CheckQueue says what is wrong with the name of a queue. asynq puts it into
// every key of the queue as the hash tag, so braces and the like are out.
func CheckQueue(name string) error {
	const rule = "use 1 to 100 ASCII letters, digits and . _ : / -"
	switch {
	case name == "":
		return fmt.Errorf("the queue's name is empty; %s", rule)
	case len(name) > maxQueue:
		return fmt.Errorf("the queue's name %.20q... has %d bytes; %s", name, len(name), rule)
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case r == '.', r == '_', r == ':', r == '/', r == '-':
		default:
			return fmt.Errorf("the queue's name %q has %q in it; %s", name, r, rule)
		}
	}
	return checkPath("the queue's name", name)
}

// checkPath says what is wrong with a name as a part of a URL's path, which has an address of the
// monitor: browsers and servers take "." and ".." in a path for steps of it, even if escaped.
func checkPath(what, name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "." || part == ".." {
			return fmt.Errorf("%s %q has no page in the monitor, since %q in a path is a step; add a letter or a digit to %q", what, name, part, part)
		}
	}
	return nil
}

// CheckWorker says what is wrong with a worker's name; "" stands for the host's. It is
// part of the worker's ID, which stands in keys, in lines of the record, and in logs.
func CheckWorker(name string) error {
	const rule = "use up to 100 bytes of printable characters without blanks"
	if len(name) > maxWorker {
		return fmt.Errorf("the worker's name %.20q... has %d bytes; %s", name, len(name), rule)
	}
	for _, r := range name {
		if r == utf8.RuneError || !unicode.IsGraphic(r) || unicode.IsSpace(r) {
			return fmt.Errorf("the worker's name %q has %q in it; %s", name, r, rule)
		}
	}
	return nil
}
