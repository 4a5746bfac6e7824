package inspect

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/recent"
)

// Status is how people call the state of a job.
type Status string

// The statuses.
const (
	Scheduled Status = "scheduled" // its start has not come
	Waiting   Status = "waiting"   // nothing of it was begun
	Running   Status = "running"   // begun, and not over
	Succeeded Status = "done"      // over, every call returned a value
	Failed    Status = "failed"    // over, some calls failed
	Canceled  Status = "canceled"  // ended before its time
	Expired   Status = "expired"   // canceled since it was not begun in time
)

// Statuses lists all of them, in the order of a job's life.
var Statuses = []Status{Scheduled, Waiting, Running, Succeeded, Failed, Canceled, Expired}

// Over reports whether the job is over.
func (s Status) Over() bool {
	return s == Succeeded || s == Failed || s == Canceled || s == Expired
}

// Job is what the record says of a job, at the time Read.
type Job struct {
	Overview
	ID     string // its address
	Queue  string
	Task   string
	Codec  string
	Policy string // what it says about retries and time limits
	Start  int64  // not before this, Unix ms; 0: at once
	Status Status
	Read   time.Time // by the clock of Redis, as are all times here

	lane string
}

func newJob(a names.Address, lane string, o Overview, now time.Time) Job {
	return Job{
		Overview: o, ID: a.String(), Queue: a.Queue, Task: o.About.Task, Codec: o.About.Codec, Policy: o.About.Policy, Start: o.About.Start,
		Status: statusOf(o, now), Read: now, lane: lane,
	}
}

func statusOf(o Overview, now time.Time) Status {
	switch {
	case o.State == job.Unstarted:
		return Expired
	case o.State == job.Done && o.Failed > 0:
		return Failed
	case o.State == job.Done:
		return Succeeded
	case o.State.Ended():
		return Canceled
	case o.Running > 0 || o.Done > 0:
		return Running
	case o.About.Start > now.UnixMilli():
		return Scheduled
	}
	return Waiting
}

// CreatedAt is when the job was submitted.
func (j Job) CreatedAt() time.Time { return time.UnixMilli(j.Created) }

// Age is the time since the job was submitted.
func (j Job) Age() time.Duration { return max(0, j.Read.Sub(j.CreatedAt())) }

// Lasted is how long the job took from its submission to its end, or has taken
// so far.
func (j Job) Lasted() time.Duration {
	if j.Finished > 0 {
		return max(0, time.Duration(j.Finished-j.Created)*time.Millisecond)
	}
	return j.Age()
}

// Rate is calls per second, from the submission (or the start) to the end or to
// now. Looking more than once tells more: see RateSince.
func (j Job) Rate() float64 {
	beginMs := max(j.Created, j.Start)
	endMs := j.Finished
	if endMs == 0 {
		endMs = j.Read.UnixMilli()
	}
	if endMs <= beginMs {
		return 0
	}
	return float64(j.Done) / (float64(endMs-beginMs) / 1000)
}

// RateSince is calls per second since an earlier look at the same job.
func (j Job) RateSince(before Job) float64 {
	d := j.Read.Sub(before.Read).Seconds()
	if d <= 0 {
		return 0
	}
	return max(0, float64(j.Done-before.Done)/d)
}

// Left estimates the time until the job is over, at a rate of calls per second.
// It is negative when nothing can be said: the job is over or open, or does not
// move.
func (j Job) Left(rate float64) time.Duration {
	if j.Status.Over() || j.State == job.Open || rate <= 0 || j.Calls < j.Done {
		return -1
	}
	seconds := float64(j.Calls-j.Done) / rate
	if seconds > 1e8 {
		return -1
	}
	return time.Duration(seconds * float64(time.Second))
}

// Query says which jobs to list.
type Query struct {
	Task, Queue string // only of this task, on this queue; "": of any
	Status      Status // "": any
	Limit       int    // jobs in a page; defaults to 50, at most 1000
	From        string // where to go on: Page.Next of the page before; "" for the newest
}

// Page is a part of the list of recent jobs.
type Page struct {
	Jobs   []Job
	Next   string            // Query.From of the page with older jobs; "" when there are none
	Looked int               // listed jobs that this page has looked at
	Gone   int               // of these, those of which Redis has no record any more
	List   recent.ListCounts // how complete the list is
}

const (
	defaultLimit = 50
	maxLimit     = 1000
	// A page looks at so many names, and reads so many records, at the most: a
	// filter that matches little gives short pages, not slow ones.
	maxNames   = 100_000
	maxRecords = 3000
	// maxPause is how long it may take before it ends with what it has.
	maxPause = 120 * time.Millisecond
)

// Jobs lists recent jobs, newest first: by the time at which their pools listed
// them, which is up to a second after they were submitted, and later if Redis did not
// take it. A page that has found nothing may still have a Next.
func (in *Inspector) Jobs(ctx context.Context, q Query) (Page, error) {
	from, err := recent.ParsePosition(q.From)
	if err != nil {
		return Page{}, err
	}
	if q.Limit <= 0 {
		q.Limit = defaultLimit
	}
	q.Limit = min(q.Limit, maxLimit)
	now, err := in.Now(ctx)
	if err != nil {
		return Page{}, err
	}
	var page Page
	if page.List, err = recent.CountList(ctx, in.rdb); err != nil {
		return Page{}, fmt.Errorf("listing jobs: %w", err)
	}
	l := &jobsReader{in: in, q: q, now: now, list: recent.NewLister(in.rdb, from), seen: map[string]bool{}, page: &page}
	if err := l.read(ctx); err != nil {
		return Page{}, fmt.Errorf("listing jobs: %w", err)
	}
	// Jobs of one flush are listed by their kind first.
	slices.SortStableFunc(page.Jobs, func(a, b Job) int { return cmp.Compare(b.Created, a.Created) })
	return page, nil
}

// jobsReader fills one page.
type jobsReader struct {
	in   *Inspector
	q    Query
	now  time.Time
	list *recent.Lister
	seen map[string]bool // IDs of this page: one that was used again is listed more than once
	page *Page
}

func (r *jobsReader) read(ctx context.Context) error {
	began, records := time.Now(), 0
	for {
		// As many as may be needed, and a few more, since some will be gone.
		want := r.q.Limit - len(r.page.Jobs) + 10
		if r.q.Status != "" {
			want = max(want, 500)
		}
		batch, places, over, err := r.names(ctx, want)
		if err != nil {
			return err
		}
		jobs, err := r.in.overviews(ctx, batch, r.now)
		if err != nil {
			return err
		}
		records += len(batch)
		for i, j := range jobs {
			if j.State == job.Gone {
				r.page.Gone++
				continue
			}
			if r.q.Status != "" && j.Status != r.q.Status {
				continue
			}
			r.page.Jobs = append(r.page.Jobs, j)
			if len(r.page.Jobs) == r.q.Limit {
				// What was read ahead is for the next page.
				if i < len(jobs)-1 || !over {
					r.page.Next = places[i].String()
				}
				return nil
			}
		}
		if over {
			return nil
		}
		if records >= maxRecords || r.page.Looked >= maxNames || time.Since(began) > maxPause {
			r.page.Next = r.list.Position().String()
			return nil
		}
	}
}

// names reads names of jobs that may be wanted, with the places behind them. over
// says that there are no more.
func (r *jobsReader) names(ctx context.Context, want int) (ids []string, places []recent.Position, over bool, err error) {
	for len(ids) < want && r.page.Looked < maxNames {
		j, ok, err := r.list.Next(ctx)
		if err != nil {
			return nil, nil, false, err
		}
		if !ok {
			return ids, places, true, nil
		}
		r.page.Looked++
		if r.q.Task != "" && j.Task != r.q.Task || r.q.Queue != "" && j.Queue != r.q.Queue || r.seen[j.ID] {
			continue
		}
		r.seen[j.ID] = true
		ids, places = append(ids, j.ID), append(places, r.list.Position())
	}
	return ids, places, false, nil
}

// overviews reads jobs in one round trip. Those that do not parse are shown as
// canceled, with the reason.
func (in *Inspector) overviews(ctx context.Context, ids []string, now time.Time) ([]Job, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	lanes, cmds := make([]string, len(ids)), make([]*redis.SliceCmd, len(ids))
	p := in.rdb.Pipeline()
	for i, id := range ids {
		a := names.SplitAddress(id)
		var err error
		if lanes[i], err = in.router.Find(ctx, a.Queue, a.Name); err != nil {
			return nil, err
		}
		cmds[i] = p.HMGet(ctx, job.Key(lanes[i], a.Name), overviewFields...)
	}
	_, _ = p.Exec(ctx) // each reply is looked at below
	jobs := make([]Job, len(ids))
	for i, id := range ids {
		a := names.SplitAddress(id)
		o, err := parseOverview(a.Name, cmds[i])
		if err != nil && !job.IsDamaged(err) {
			return nil, err
		}
		if err != nil {
			o.State, o.Reason = job.Canceled, err.Error()
		}
		jobs[i] = newJob(a, lanes[i], o, now)
	}
	return jobs, nil
}

// Look reads jobs by their addresses, in the same order; those that Redis does not have are in
// State job.Gone. It is one round trip.
func (in *Inspector) Look(ctx context.Context, ids []string) ([]Job, error) {
	now, err := in.Now(ctx)
	if err != nil {
		return nil, err
	}
	return in.overviews(ctx, ids, now)
}
