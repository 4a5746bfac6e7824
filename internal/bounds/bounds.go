// Package bounds has the largest numbers that a configuration may have. They are far
// beyond sense, and small enough to be added up without an overflow, here and in
// Redis.
package bounds

import (
	"fmt"
	"time"
)

const (
	// Longest is the longest duration: 100 years.
	Longest = 100 * 365 * 24 * time.Hour
	// Slots is the most slots of a worker. An entry of the registry that claims more
	// is taken for a forgery.
	Slots = 1 << 16
	// Weight is the largest weight of a queue: asynq keeps a list as long as the
	// weights of all queues together.
	Weight = 1000
)

// CheckWeight says what is wrong with the weight of a queue.
func CheckWeight(queue string, weight int) error {
	if weight < 1 || weight > Weight {
		return fmt.Errorf("the weight of queue %q is %d; use 1 to %d, or leave the queue out", queue, weight, Weight)
	}
	return nil
}
