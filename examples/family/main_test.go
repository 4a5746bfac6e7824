package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

const want = `# map
got 0
got 2
got 4
got 6
got 8
# starmap
2 ** 10 = 1024
3 ** 4 = 81
10 ** 3 = 1000
# map_async
submitted
got 20
got 40
got 60
# error at get
call 1 failed: 3 is odd
the others: 1 2
# error by callback
error callback: task "family.half", call 0: 3 is odd
# polling
not ready yet
ready, successful: true
# imap
got 0
got 2
got 4
got 6
got 8
# imap_unordered with progress
1/8
2/8
3/8
4/8
5/8
6/8
7/8
8/8
sum: 56
# map_async with progress
4/4, 0 failed
# initializer
the last one to count saw 111
# apply_async with callbacks
sum of all: 90
`

func TestTheFamilyPrintsWhatPythonWould(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out); err != nil {
		t.Fatalf("%v; it printed:\n%s", err, out.String())
	}
	// How often it polls depends on the machine.
	lines := strings.SplitAfter(out.String(), "\n")
	got := ""
	for i, line := range lines {
		if i == 0 || line != lines[i-1] || line != "not ready yet\n" {
			got += line
		}
	}
	if got != want {
		t.Errorf("it printed:\n%s\nwant:\n%s", got, want)
	}
}
