// Package jobs holds the tasks. The worker and the producer both link it.
package jobs

import (
	"context"
	"strings"

	"github.com/distpool/distpool/tasks"
)

// CountWords counts the words of a text.
var CountWords = tasks.Define("count_words", func(_ context.Context, text string) (int, error) {
	return len(strings.Fields(text)), nil
})
