package operator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
)

// shownRuns is how many running chunks are shown one by one.
const shownRuns = 20

// jobFacts is a job, for people. waits says what holds it up.
func jobFacts(l jobLine, d inspect.Detail, waits string, number func(int64) string) []console.Fact {
	status := string(l.Status)
	switch {
	case l.Reason != "":
		status += ": " + console.Plain(l.Reason, 500)
	case waits != "":
		status += ": " + waits
	}
	over := func(done, all int) string { return number(int64(done)) + " of " + number(int64(all)) + " are over, " }
	when := func(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05 UTC") }
	facts := []console.Fact{
		{"job", console.Plain(l.Job, console.AddressWidth)}, {"task", console.Plain(l.Task, 100)}, {"queue", console.Plain(l.Queue, 100)}, {"status", status},
		{"calls", over(l.Done, l.Calls) + number(int64(l.Failed)) + " failed"},
		{"chunks", over(d.Recorded, l.Chunks) + number(int64(l.Running)) + " running"},
		{"pace", l.pace(number)}, {"submitted", when(d.Created) + ", " + console.Brief(l.age) + " ago"},
	}
	if d.Start > 0 && l.Status == inspect.Scheduled {
		facts = append(facts, console.Fact{"starts", when(d.Start)})
	}
	if d.Finished > 0 {
		facts = append(facts, console.Fact{"ended", when(d.Finished) + ", after " + console.Brief(l.lasted)})
	}
	if d.Deaths > 0 {
		facts = append(facts, console.Fact{"deaths", console.Count(d.Deaths, "time") + " a chunk lost the worker that ran it"})
	}
	name := "running"
	for _, r := range d.Runs[:min(len(d.Runs), shownRuns)] {
		if r.Owner == "" {
			continue // given back
		}
		held := console.Brief(d.Read.Sub(time.UnixMilli(r.Since)))
		facts = append(facts, console.Fact{name, fmt.Sprintf("chunk %s on %s for %s", number(int64(r.Chunk)), console.Plain(r.Owner, 100), held)})
		name = ""
	}
	return facts
}

// pace is how fast a job goes, and how long it goes on; "" if nothing is known.
func (l jobLine) pace(number func(int64) string) string {
	var parts []string
	if speed := l.speed(number); speed != "-" {
		parts = append(parts, speed)
	}
	if l.left >= 0 {
		parts = append(parts, console.Brief(l.left)+" left")
	}
	return strings.Join(parts, ", ")
}

// whyItWaits says what holds up a job that waits; "" if nothing is known to.
func whyItWaits(ctx context.Context, in *inspect.Inspector, j inspect.Job) string {
	if j.Status != inspect.Waiting {
		return ""
	}
	queues, err := in.Queues(ctx)
	at := slices.IndexFunc(queues, func(q inspect.Queue) bool { return q.Name == j.Queue })
	switch {
	case err != nil || at < 0:
		return ""
	case queues[at].Paused:
		return "its queue is paused; distpool queues resume " + console.Plain(j.Queue, 100) + " ends that"
	case queues[at].Workers == 0:
		return "no worker serves its queue"
	}
	return ""
}
