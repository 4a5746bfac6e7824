// Package operator is the commands that show and steer what Redis has: jobs, job, cancel,
// workers and queues.
package operator

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/names"
)

// Commands are the commands of this package.
func Commands(a *console.App) []*cobra.Command {
	return []*cobra.Command{jobsCommand(a), jobCommand(a), cancelCommand(a), workersCommand(a), queuesCommand(a)}
}

// jobLine is a job as it is printed.
type jobLine struct {
	Job      string         `json:"job"`
	Task     string         `json:"task"`
	Queue    string         `json:"queue"`
	Status   inspect.Status `json:"status"`
	Reason   string         `json:"reason,omitempty"` // why it was canceled
	Calls    int            `json:"calls"`
	Done     int            `json:"done"` // calls that are over, failed ones included
	Failed   int            `json:"failed"`
	Chunks   int            `json:"chunks"`
	Running  int            `json:"running"` // chunks that workers hold
	Rate     float64        `json:"rate"`    // calls per second
	Left     *float64       `json:"left,omitempty"`
	Lasted   float64        `json:"lasted"`
	Created  *time.Time     `json:"created,omitempty"`
	Finished *time.Time     `json:"finished,omitempty"`

	age, lasted, left time.Duration
}

func newJobLine(j inspect.Job, rate float64) jobLine {
	l := jobLine{
		Job: j.ID, Task: j.Task, Queue: j.Queue, Status: j.Status, Reason: j.Reason,
		Calls: j.Calls, Done: j.Done, Failed: j.Failed, Chunks: j.Chunks, Running: j.Running,
		Rate: rate, Lasted: j.Lasted().Seconds(), Created: instant(j.Created), Finished: instant(j.Finished),
		age: j.Age(), lasted: j.Lasted(), left: j.Left(rate),
	}
	if l.left >= 0 {
		seconds := l.left.Seconds()
		l.Left = &seconds
	}
	return l
}

// instant is a time of a record, in ms; nil when it has not come.
func instant(ms int64) *time.Time {
	if ms == 0 {
		return nil
	}
	t := time.UnixMilli(ms).UTC()
	return &t
}

var jobsColumns = []console.Column{
	{Head: "JOB"}, {Head: "TASK"}, {Head: "STATUS"}, {Head: "DONE", Right: true},
	{Head: "FAILED", Right: true}, {Head: "RATE", Right: true, Drop: 1}, {Head: "LEFT", Right: true, Drop: 3},
	{Head: "LASTED", Right: true, Drop: 2}, {Head: "AGE", Right: true, Drop: 4},
}

// tellingTime is how long a job must have taken for its rate to say something: of
// a few calls in a millisecond it is noise.
const tellingTime = 100 * time.Millisecond

func (l jobLine) speed(number func(int64) string) string {
	if l.Done < 2 || l.lasted < tellingTime {
		return "-"
	}
	return perSecond(l.Rate, number)
}

// perSecond is a rate as people say it.
func perSecond(rate float64, number func(int64) string) string {
	switch {
	case rate <= 0:
		return "-"
	case rate >= 100:
		return number(int64(rate+0.5)) + "/s"
	}
	return strconv.FormatFloat(rate, 'g', 3, 64) + "/s"
}

func (l jobLine) Cells(number func(int64) string) []string {
	lasted := "-"
	if l.Status.Over() {
		lasted = console.Brief(l.lasted)
	}
	return []string{
		console.Plain(l.Job, console.AddressWidth), console.Plain(l.Task, 40), string(l.Status), number(int64(l.Done)) + "/" + number(int64(l.Calls)),
		number(int64(l.Failed)), l.speed(number), console.Brief(l.left), lasted, console.Brief(l.age),
	}
}

const (
	defaultJobs = 50
	mostJobs    = 1_000_000 // Redis lists fewer
)

func jobsCommand(a *console.App) *cobra.Command {
	var (
		q      inspect.Query
		status string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use: "jobs", Short: "List recent jobs, newest first",
		Long: `Jobs lists the recent jobs that Redis has, newest first. A job is in the list a
second after its submission, or later if Redis was full or away then. Statuses are ` + statusWords() + `.
` + console.JSONHelp,
		Example: "  distpool jobs --status failed --task word_count\n" +
			"  distpool jobs --limit 1000 --json | jq -r 'select(.failed > 0).job'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Status = inspect.Status(status)
			if err := checkJobs(q); err != nil {
				return err
			}
			return a.Look(cmd.Context(), func(ctx context.Context, in *inspect.Inspector, _ redis.UniversalClient) error {
				return listJobs(ctx, a, in, q, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Task, "task", "", "only jobs of this task")
	f.StringVar(&q.Queue, "queue", "", "only jobs on this queue")
	f.StringVar(&status, "status", "", "only jobs with this status")
	f.IntVar(&q.Limit, "limit", defaultJobs, "how many jobs to list at the most")
	console.JSONFlag(cmd, &asJSON)
	a.CompleteFlag(cmd, "task", console.TaskWords)
	a.CompleteFlag(cmd, "queue", console.QueueWords)
	_ = cmd.RegisterFlagCompletionFunc("status", cobra.FixedCompletions(statuses(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func statuses() (words []string) {
	for _, s := range inspect.Statuses {
		words = append(words, string(s))
	}
	return words
}

func statusWords() string {
	words := statuses()
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func checkJobs(q inspect.Query) error {
	if q.Limit < 1 || q.Limit > mostJobs {
		return console.Usagef("--limit is %d; use 1 to %d jobs", q.Limit, mostJobs)
	}
	if q.Status != "" && !slices.Contains(inspect.Statuses, q.Status) {
		return console.Usagef("--status is %q; use one of %s", string(q.Status), statusWords())
	}
	if q.Queue != "" {
		if err := names.CheckQueue(q.Queue); err != nil {
			return console.Usagef("--queue: %w", err)
		}
	}
	return nil
}

// listJobs prints jobs. Pages are short where a filter matches little, so it reads
// on until it has enough, or there are no more.
func listJobs(ctx context.Context, a *console.App, in *inspect.Inspector, q inspect.Query, asJSON bool) error {
	limit := q.Limit
	rows, seen := []jobLine{}, map[string]bool{}
	more, unlisted := false, 0
	for len(rows) < limit {
		q.Limit = limit - len(rows)
		page, err := in.Jobs(ctx, q)
		if err != nil {
			return err
		}
		for _, j := range page.Jobs {
			if !seen[j.ID] { // jobs that end meanwhile do not move, but an ID may be used again
				seen[j.ID] = true
				rows = append(rows, newJobLine(j, j.Rate()))
			}
		}
		q.From, more, unlisted = page.Next, page.Next != "", page.List.Unlisted
		if !more {
			break
		}
	}
	if err := console.Report(a, asJSON, jobsColumns, rows); err != nil {
		return err
	}
	if more {
		fmt.Fprintf(a.Err, "distpool: there may be older jobs; --limit %d would list more\n", 2*limit)
	}
	if unlisted > 0 {
		fmt.Fprintf(a.Err, "distpool: %d jobs are missing, since their pools made too many at once, or could not reach Redis; distpool job ID finds them all the same\n", unlisted)
	}
	return nil
}
