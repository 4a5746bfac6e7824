package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/names"
)

// parseQueues reads "high=3,distpool": names of queues with weights, 1 unless
// given.
func parseQueues(s string) (map[string]int, error) {
	queues := map[string]int{}
	for item := range strings.SplitSeq(s, ",") {
		name, text, given := strings.Cut(strings.TrimSpace(item), "=")
		if err := names.CheckQueue(name); err != nil {
			return nil, err
		}
		weight := 1
		if given {
			var err error
			if weight, err = strconv.Atoi(text); err != nil {
				return nil, fmt.Errorf("the weight of queue %q is %q; use a whole number from 1 to %d", name, text, bounds.Weight)
			}
		}
		if err := bounds.CheckWeight(name, weight); err != nil {
			return nil, err
		}
		if _, twice := queues[name]; twice {
			return nil, fmt.Errorf("queue %q is listed twice; give each queue one weight", name)
		}
		queues[name] = weight
	}
	return queues, nil
}

// describe is the opposite of parseQueues, in the order of the names.
func describe(queues map[string]int) string {
	var items []string
	for _, name := range slices.Sorted(maps.Keys(queues)) {
		items = append(items, fmt.Sprintf("%s=%d", name, queues[name]))
	}
	return strings.Join(items, ",")
}
