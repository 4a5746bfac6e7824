package monitor

import (
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/monitor/page"
	"github.com/distpool/distpool/internal/recent"
)

// row is a job in the list, and the head of its page.
type row struct {
	inspect.Job
	Speed float64
	Who   string // who runs it, as far as is known without asking for more
}

func (m *Monitor) row(j inspect.Job) row {
	r := row{Job: j, Speed: m.rates.of(j), Who: j.Owner}
	if m.cfg.HidePayloads && r.Reason != "" && r.Reason != inspect.CancelReason && r.Reason != string(job.Unstarted) {
		r.Reason = hidden
	}
	return r
}

// Good is how many calls returned a value.
func (r row) Good() int { return max(0, r.Done-r.Failed) }

// TimeLeft is the estimate; "" when there is none.
func (r row) TimeLeft() string {
	if d := r.Left(r.Speed); d >= 0 {
		return page.Roughly(d)
	}
	return ""
}

// tellingTime is how long a job must have taken for its rate to say something: of
// a few calls in a millisecond it is noise.
const tellingTime = 100 * time.Millisecond

// Telling reports whether the rate is worth showing.
func (r row) Telling() bool { return r.Done > 1 && r.Lasted() >= tellingTime }

// Rest is what the chunks are that nobody has begun: those of a job that is over
// never run.
func (r row) Rest() string {
	if r.Status.Over() {
		return "never run"
	}
	return "waiting"
}

// Total is how many calls there are; of a stream, so far.
func (r row) Total() int { return max(r.Calls, r.Done) }

// InHand is how many calls are being run: a slot runs one call of its chunk at a
// time.
func (r row) InHand() int { return min(r.Running, max(0, r.Total()-r.Done)) }

// jobsView is the list.
type jobsView struct {
	Query    inspect.Query
	Statuses []inspect.Status
	Rows     []row
	Page     inspect.Page
	Older    string // the address of the page with older jobs
	Newest   string // of the first page; "" when this is it
	Filtered bool
}

func (m *Monitor) jobsView(ctx context.Context, q url.Values) (jobsView, error) {
	v := jobsView{Statuses: inspect.Statuses, Query: inspect.Query{
		Task: clean(q.Get("task")), Queue: clean(q.Get("queue")), Status: status(q.Get("status")), From: q.Get("from"), Limit: 50,
	}}
	if _, err := recent.ParsePosition(v.Query.From); err != nil {
		v.Query.From = ""
	}
	v.Filtered = v.Query.Task != "" || v.Query.Queue != "" || v.Query.Status != ""
	var err error
	if v.Page, err = m.in.Jobs(ctx, v.Query); err != nil {
		return v, err
	}
	for _, j := range v.Page.Jobs {
		v.Rows = append(v.Rows, m.row(j))
	}
	filter := url.Values{}
	for name, value := range map[string]string{"task": v.Query.Task, "queue": v.Query.Queue, "status": string(v.Query.Status)} {
		if value != "" {
			filter.Set(name, value)
		}
	}
	if v.Query.From != "" {
		v.Newest = "/jobs"
		if len(filter) > 0 {
			v.Newest += "?" + filter.Encode()
		}
	}
	if v.Page.Next != "" {
		filter.Set("from", v.Page.Next)
		v.Older = "/jobs?" + filter.Encode()
	}
	return v, nil
}

func status(s string) inspect.Status {
	for _, known := range inspect.Statuses {
		if string(known) == s {
			return known
		}
	}
	return ""
}

// clean bounds what is looked for.
func clean(s string) string {
	s, _ = inspect.Cut(strings.TrimSpace(s), 200)
	return s
}

// jobView is one job.
type jobView struct {
	row
	Detail inspect.Detail
	Grid   grid
	Runs   []run
	Waits  string // why it waits, as far as that is a fault
	Whole  bool   // what follows is known
	Calls  inspect.FailedPage
	Error  string // why there are no failed calls to show
	Older  string // the address of the page with more failed calls
	Hide   bool
}

// run is a chunk that a worker has begun.
type run struct {
	inspect.ChunkRun
	For time.Duration
}

const (
	maxCells     = 400
	shownRuns    = 30
	failedShown  = 20
	shownMessage = 2000 // characters of an error
	shownStack   = 4000
)

func (m *Monitor) jobView(ctx context.Context, id string, q url.Values, whole bool) (jobView, error) {
	d, err := m.in.Job(ctx, id, maxCells)
	if err != nil {
		return jobView{}, err
	}
	v := jobView{row: m.row(d.Job), Detail: d, Grid: newGrid(d.Cells), Whole: whole, Hide: m.cfg.HidePayloads}
	for _, r := range d.Runs[:min(len(d.Runs), shownRuns)] {
		v.Runs = append(v.Runs, run{r, max(0, d.Read.Sub(time.UnixMilli(r.Since)))})
	}
	if d.Status == inspect.Waiting {
		m.sample(ctx)
		v.Waits = m.samples.waits(d.Queue)
	}
	if !whole || d.Failed == 0 {
		return v, nil
	}
	fq := inspect.FailedQuery{Limit: failedShown}
	if chunk, skip, ok := strings.Cut(q.Get("failed"), "."); ok {
		fq.Chunk, _ = strconv.Atoi(chunk)
		fq.Skip, _ = strconv.Atoi(skip)
		fq.Chunk, fq.Skip = max(0, fq.Chunk), max(0, fq.Skip)
	}
	if v.Calls, err = m.in.FailedCalls(ctx, id, fq); err != nil {
		v.Error = err.Error() // the rest of the page is fine
		if v.Hide {
			v.Error = hidden
		}
		return v, nil
	}
	for i := range v.Calls.Calls {
		m.trim(&v.Calls.Calls[i])
	}
	if n := v.Calls.Next; v.Calls.More {
		v.Older = page.JobURL(id) + "?failed=" + strconv.Itoa(n.Chunk) + "." + strconv.Itoa(n.Skip) + "#failed"
	}
	return v, nil
}

// trim bounds what is shown of a failed call, or hides it.
func (m *Monitor) trim(c *inspect.FailedCall) {
	c.Error.Message, c.Error.Stack = page.Text(c.Error.Message, shownMessage), page.Text(c.Error.Stack, shownStack)
	c.Error.Type = page.Text(c.Error.Type, 200)
	if m.cfg.HidePayloads {
		c.Error.Message, c.Error.Stack = hidden, ""
		c.Args = inspect.Preview{Note: "hidden"}
	}
}

// grid is how a job's chunks are drawn.
type grid struct {
	Columns, Rows int
	Squares       []square
}

// square is a cell, with its place.
type square struct {
	inspect.Cell
	X, Y  int
	Class string
}

func newGrid(cells []inspect.Cell) grid {
	g := grid{Columns: 40} // of few chunks too: a cell has one size
	for i, c := range cells {
		g.Squares = append(g.Squares, square{Cell: c, X: i % g.Columns, Y: i / g.Columns, Class: cellClass(c)})
	}
	g.Rows = (len(cells) + g.Columns - 1) / g.Columns
	return g
}

func cellClass(c inspect.Cell) string {
	switch {
	case c.Failed > 0:
		return "failed"
	case c.Done == c.Chunks:
		return "done"
	case c.Running > 0:
		return "running"
	case c.Done > 0:
		return "part"
	}
	return "waiting"
}
