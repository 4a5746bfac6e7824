package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/chaos/load"
	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

const (
	// batch is how many jobs are read at once.
	batch = 500
	// auditors is how many records are read as a stranger would at the same time.
	auditors = 16
	// auditLimit is how long one of them waits for a job that is over, or that
	// nobody looked after.
	auditLimit = time.Minute
)

// awaitAll waits until all that was accepted is over, or the deadline, and writes
// down what is not. It only looks: a pool that waited for the jobs would help them
// along.
func (d *driver) awaitAll(ctx context.Context, deadline time.Time) error {
	for {
		left, err := d.left(ctx)
		if err != nil {
			return err
		}
		orphans := 0
		for id := range left {
			if d.isOrphan(id, left) {
				orphans++
			}
		}
		if len(left) > orphans && time.Now().Before(deadline) {
			hold(ctx, 200*time.Millisecond)
			continue
		}
		for id, l := range left {
			e := history.Event{What: history.Unended, Job: id, Text: fmt.Sprintf("%s, %d of %d chunks recorded, %d running", l.State, l.Recorded, l.Chunks, l.Running)}
			if d.isOrphan(id, left) {
				e.What = history.Orphaned
			}
			d.h.Write(e)
		}
		d.say("drained; %d jobs are not over, and %d that nobody waits for and whose deliveries were deleted or lost", len(left)-orphans, orphans)
		return nil
	}
}

// leftover is an accepted job that is not over.
type leftover struct {
	job.Snapshot
	by string // the process that submitted it
}

// isOrphan reports whether nobody can be expected to look after the job, now that
// the producers have ended: the checker judges that.
func (d *driver) isOrphan(id string, left map[string]leftover) bool {
	if d.topology.lossy() {
		return true
	}
	d.redis.Lock()
	deleted := d.deleted[id]
	d.redis.Unlock()
	return deleted && !slices.ContainsFunc(d.producers, func(p *place) bool { return p.current() == left[id].by })
}

// left reads which of the accepted jobs are not over.
func (d *driver) left(ctx context.Context) (map[string]leftover, error) {
	left := map[string]leftover{}
	for jobs := range slices.Chunk(d.accepted.All(), batch) {
		reads, places := make([]func() (job.Snapshot, error), len(jobs)), make([]whereabouts, len(jobs))
		for i, e := range jobs {
			var err error
			if places[i], err = d.find(ctx, e.Job); err != nil {
				return nil, err
			}
		}
		_, err := d.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := range jobs {
				reads[i] = job.QueueSnapshot(ctx, p, places[i].lane, places[i].name)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("reading how jobs stand: %w", err)
		}
		for i, e := range jobs {
			s, err := reads[i]()
			if err != nil {
				return nil, err
			}
			if !s.State.Ended() {
				left[e.Job] = leftover{s, e.Process}
			}
		}
	}
	return left, nil
}

// whereabouts is where a job is.
type whereabouts struct{ lane, name string }

func (d *driver) find(ctx context.Context, id string) (whereabouts, error) {
	a := names.SplitAddress(id)
	lane, err := d.router.Find(ctx, a.Queue, a.Name)
	return whereabouts{lane, a.Name}, err
}

func (d *driver) read(ctx context.Context, id string) (job.Snapshot, whereabouts, error) {
	at, err := d.find(ctx, id)
	if err != nil {
		return job.Snapshot{}, at, err
	}
	s, err := job.Read(ctx, d.rdb, at.lane, at.name)
	return s, at, err
}

// audit reads every record as a stranger who has its ID, and writes down what it
// says.
func (d *driver) audit(ctx context.Context) error {
	pool, err := producer.Open(ctx, producer.Config{Redis: d.topology.direct(), Queue: load.Queue, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	defer pool.Release()
	jobs := make(chan history.Event)
	var readers sync.WaitGroup
	for range auditors {
		readers.Go(func() {
			for e := range jobs {
				d.auditOne(ctx, pool, e)
			}
		})
	}
	all := d.accepted.All()
	for _, e := range all {
		jobs <- e
	}
	close(jobs)
	readers.Wait()
	d.say("audited the records of %d jobs", len(all))
	return nil
}

func (d *driver) auditOne(ctx context.Context, pool *producer.Pool, e history.Event) {
	ctx, cancel := context.WithTimeout(ctx, auditLimit)
	defer cancel()
	outs, class, text, err := load.Outcomes(ctx, pool, e)
	if errors.Is(err, results.ErrTimeout) {
		d.h.Write(history.Event{What: history.Unended, Job: e.Job, Text: fmt.Sprintf("it did not end within %v after somebody attached to it", auditLimit)})
		return
	}
	audited := history.Event{What: history.Audited, Job: e.Job, Outs: outs, Err: class, Text: text}
	if s, _, err := d.read(ctx, e.Job); err == nil {
		audited.Finished = s.Finished * int64(time.Millisecond)
	}
	d.h.Write(audited)
}
