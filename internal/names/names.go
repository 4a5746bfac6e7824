// Package names checks the names that users choose and that become part of
// Redis keys.
package names

import "fmt"

// DefaultQueue is not asynq's "default", so that distpool and plain asynq
// programs that share a Redis do not take each other's tasks.
const DefaultQueue = "distpool"

const maxQueue = 100

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
	return nil
}
