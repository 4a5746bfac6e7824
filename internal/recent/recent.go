// Package recent is the list of recent jobs. Jobs are found by their addresses. So that people
// can find those whose addresses they do not know, pools list what they made, afterwards and in
// batches: see package producer. The list is for people. It is bounded, it may lack jobs, and
// it may name jobs that are gone.
package recent

import (
	"context"
	_ "embed" // the script
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
)

//go:embed lua/list.lua
var listLua string

var listScript = redis.NewScript(listLua)

// ListShards is how many lists there are. Pools write to them in turn, so that no
// key is written by all of them, and in a Cluster they are on different nodes.
const ListShards = 4

const (
	// How many jobs each shard lists at the most. Jobs of several chunks have a
	// stream of their own, so that a flood of single calls does not push them out.
	listedSingles = 50_000
	listedMany    = 25_000
	// listTTL is how long a job is listed at the most: a day longer than a job may
	// wait by default.
	listTTL = 8 * 24 * time.Hour
)

// listPrefix starts the keys of the list.
const listPrefix = "distpool:@{recent:"

// listKeys names the keys of a shard: singles, others, counters.
func listKeys(shard int) []string {
	base := listPrefix + strconv.Itoa(shard) + "}"
	return []string{base + ":one", base + ":many", base}
}

// IsListKey reports whether the key belongs to the lists of recent jobs.
func IsListKey(key string) bool { return strings.HasPrefix(key, listPrefix) }

// Listed is a job in the list.
type Listed struct {
	ID, Task, Queue string
	Single          bool // it has one chunk
}

// Batch gathers jobs that are to be listed.
type Batch struct {
	Unlisted int // jobs for which there was no room in this batch, or in those that failed before it

	singles, many lines
}

// Bounds of a batch.
const (
	batchJobs  = 8000
	batchBytes = 384 << 10
)

// lines are jobs in the form in which they travel: a line for each run of jobs of
// the same task and queue, "<task> <queue> <name> <name>...". None has blanks.
type lines struct {
	text        []byte
	jobs        int
	task, queue string // of the last line
}

func (l *lines) add(j Listed) {
	if l.jobs == 0 || j.Task != l.task || j.Queue != l.queue {
		if l.jobs > 0 {
			l.text = append(l.text, '\n')
		}
		l.text = append(append(append(l.text, j.Task...), ' '), j.Queue...)
		l.task, l.queue = j.Task, j.Queue
	}
	l.text = append(append(l.text, ' '), names.SplitAddress(j.ID).Name...)
	l.jobs++
}

// Add adds a job, or counts it as unlisted when the batch is full.
func (b *Batch) Add(j Listed) {
	if b.Len() >= batchJobs || len(b.singles.text)+len(b.many.text) > batchBytes {
		b.Unlisted++
		return
	}
	if j.Single {
		b.singles.add(j)
	} else {
		b.many.add(j)
	}
}

// Len is the number of jobs in the batch.
func (b *Batch) Len() int { return b.singles.jobs + b.many.jobs }

// List puts the batch into a shard's list, in one command.
func List(ctx context.Context, c redis.Scripter, shard int, b *Batch) error {
	return listScript.Run(ctx, c, listKeys(shard), b.singles.text, b.singles.jobs, b.many.text, b.many.jobs, b.Unlisted,
		listedSingles, listedMany, listTTL.Milliseconds()).Err()
}

// Position is a place in the merged list, newest first. The zero value is its
// beginning.
type Position struct {
	Time, Seq int64 // of the entry
	Stream    int   // of 2*ListShards
	Index     int   // jobs of the entry before this one are still to come
}

// String is the position for a query; "" for the beginning.
func (p Position) String() string {
	if p == (Position{}) {
		return ""
	}
	return fmt.Sprintf("%d-%d-%d-%d", p.Time, p.Seq, p.Stream, p.Index)
}

// ParsePosition undoes String.
func ParsePosition(s string) (Position, error) {
	if s == "" {
		return Position{}, nil
	}
	var p Position
	_, err := fmt.Sscanf(s, "%d-%d-%d-%d", &p.Time, &p.Seq, &p.Stream, &p.Index)
	if err != nil || p.String() != s || p.Time < 0 || p.Seq < 0 || p.Stream < 0 || p.Stream >= 2*ListShards || p.Index < 0 || p.Index > batchJobs {
		return Position{}, fmt.Errorf("%q is not a place in the list of jobs; start without one", s)
	}
	return p, nil
}

// listEntry is one flush of a pool.
type listEntry struct {
	time, seq int64
	jobs      []Listed
}

// parseEntry reads an entry. What does not parse is left out: the list is for
// people, and the record says more.
func parseEntry(m redis.XMessage, single bool) listEntry {
	var e listEntry
	ms, seq, _ := strings.Cut(m.ID, "-")
	e.time, _ = strconv.ParseInt(ms, 10, 64)
	e.seq, _ = strconv.ParseInt(seq, 10, 64)
	text, _ := m.Values["j"].(string)
	for line := range strings.SplitSeq(text, "\n") {
		f := strings.Split(line, " ")
		if len(f) < 3 {
			continue
		}
		for _, id := range f[2:] {
			e.jobs = append(e.jobs, Listed{ID: names.Address{Queue: f[1], Name: id}.String(), Task: f[0], Queue: f[1], Single: single})
		}
	}
	return e
}

// Lister reads the merged list, newest first. It is for one goroutine.
type Lister struct {
	c       redis.Cmdable
	streams []listStream
	at      Position // the last job that Next returned
	started bool
	trips   int // so far
}

// listStream is one of the merged streams.
type listStream struct {
	key   string
	last  string      // where to read on: an argument of XREVRANGE
	ahead []listEntry // read, and not yet used up
	over  bool
}

// NewLister starts at a position.
func NewLister(c redis.Cmdable, from Position) *Lister {
	l := &Lister{c: c, at: from, started: from != (Position{})}
	for i := range 2 * ListShards {
		s := listStream{key: listKeys(i / 2)[i%2], last: "+"}
		if l.started {
			s.last = fmt.Sprintf("%d-%d", from.Time, from.Seq)
			if i > from.Stream {
				s.last = "(" + s.last // those came before
			}
		}
		l.streams = append(l.streams, s)
	}
	return l
}

// fill reads on until something is ahead in each stream that is not over, in a round trip for
// all streams.
func (l *Lister) fill(ctx context.Context) error {
	for {
		// Few entries at first, since one may name thousands of jobs, and more when they turn out to be small.
		n := min(2<<l.trips, 32)
		cmds, p := map[int]*redis.XMessageSliceCmd{}, l.c.Pipeline()
		for i := range l.streams {
			if s := &l.streams[i]; len(s.ahead) == 0 && !s.over {
				cmds[i] = p.XRevRangeN(ctx, s.key, s.last, "-", int64(n))
			}
		}
		if len(cmds) == 0 {
			return nil
		}
		l.trips = min(l.trips+1, 4)
		if _, err := p.Exec(ctx); err != nil {
			return err
		}
		for i, cmd := range cmds {
			l.read(i, cmd.Val())
			l.streams[i].over = len(cmd.Val()) < n
		}
	}
}

// read takes entries of a stream.
func (l *Lister) read(stream int, messages []redis.XMessage) {
	s := &l.streams[stream]
	for _, m := range messages {
		e := parseEntry(m, stream%2 == 0)
		if l.started && stream == l.at.Stream && e.time == l.at.Time && e.seq == l.at.Seq {
			e.jobs = e.jobs[:min(len(e.jobs), l.at.Index)]
		}
		if len(e.jobs) > 0 {
			s.ahead = append(s.ahead, e)
		}
		s.last = "(" + m.ID
	}
}

// Next returns the next older job, and ok false at the end of the list.
func (l *Lister) Next(ctx context.Context) (job Listed, ok bool, err error) {
	if err := l.fill(ctx); err != nil {
		return Listed{}, false, err
	}
	best := -1
	for i, s := range l.streams {
		// Of entries of the same ID, the one of the higher stream is first.
		if len(s.ahead) > 0 && (best < 0 || !older(s.ahead[0], l.streams[best].ahead[0])) {
			best = i
		}
	}
	if best < 0 {
		return Listed{}, false, nil
	}
	s := &l.streams[best]
	e := &s.ahead[0]
	n := len(e.jobs) - 1
	job = e.jobs[n]
	l.at = Position{e.time, e.seq, best, n}
	if e.jobs = e.jobs[:n]; n == 0 {
		s.ahead = s.ahead[1:]
	}
	return job, true, nil
}

func older(a, b listEntry) bool {
	return a.time < b.time || a.time == b.time && a.seq < b.seq
}

// Position is behind the last job that Next returned.
func (l *Lister) Position() Position { return l.at }

// ListCounts is how complete the list is.
type ListCounts struct {
	Jobs       int       // that it names
	Cut        int       // older ones that made room, as long as the counter lives
	Unlisted   int       // that were never listed
	UnlistedAt time.Time // when that was said last; zero: never
}

// CountList reads how complete the list is.
func CountList(ctx context.Context, c redis.Cmdable) (ListCounts, error) {
	cmds := make([]*redis.SliceCmd, ListShards)
	p := c.Pipeline()
	for i := range cmds {
		cmds[i] = p.HMGet(ctx, listKeys(i)[2], "one", "many", "cut", "unlisted", "unlisted:at")
	}
	var n ListCounts
	if _, err := p.Exec(ctx); err != nil {
		return n, err
	}
	for _, cmd := range cmds {
		f := cmd.Val()
		num := func(i int) int { s, _ := f[i].(string); v, _ := strconv.Atoi(s); return v }
		n.Jobs += num(0) + num(1)
		n.Cut += num(2)
		n.Unlisted += num(3)
		if at := num(4); at > 0 {
			if t := time.UnixMilli(int64(at)); t.After(n.UnlistedAt) {
				n.UnlistedAt = t
			}
		}
	}
	return n, nil
}
