package execute

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// similarTasks is how many task names an error lists: it travels with each failed call.
const similarTasks = 5

// similar lists the names that begin most like the given one, and says how many more there are.
func similar(name string, names []string) string {
	names = slices.Clone(names)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(shared(name, b), shared(name, a)) })
	if more := len(names) - similarTasks; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:similarTasks], ", "), more)
	}
	return strings.Join(names, ", ")
}

// shared is the length of the beginning that two names have in common.
func shared(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
