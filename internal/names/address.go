package names

import (
	"fmt"
	"strings"
)

// Address names a job for people and programs: QUEUE/NAME. Name is drawn or the
// caller's, and unique in its queue.
type Address struct {
	Queue string
	Name  string
}

// String is the form that ParseAddress reads.
func (a Address) String() string { return a.Queue + "/" + a.Name }

// SplitAddress takes an address apart without a check. A bare NAME is a job of
// DefaultQueue. The name of a queue may contain slashes, that of a job may not.
func SplitAddress(s string) Address {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return Address{DefaultQueue, s}
	}
	return Address{s[:i], s[i+1:]}
}

// ParseAddress reads QUEUE/NAME. A bare NAME is a job of the given queue.
func ParseAddress(s, queue string) (Address, error) {
	a := SplitAddress(s)
	if a.Name == s {
		a.Queue = queue
	}
	if err := CheckQueue(a.Queue); err != nil {
		return Address{}, fmt.Errorf("job %.201q: %w", s, err)
	}
	if err := CheckJob(a.Name); err != nil {
		return Address{}, fmt.Errorf("job %.201q: %w", s, err)
	}
	return a, nil
}
