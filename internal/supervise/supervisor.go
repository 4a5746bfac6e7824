package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
)

const (
	// every is the time between two passes. A worker's death is known when its heartbeat
	// has been missing for the fleet's lifetime, so its chunks are issued again within the
	// sum of both.
	every = 2 * time.Second
	// unbegunFor is how long a delivery may be active without an owner of its chunk. A
	// worker takes it at once, so that worker died in between.
	unbegunFor = 10 * time.Second
	// askAfter is how long a live worker may hold a chunk before it is asked whether it
	// runs it, and the time between two questions: a failover may have lost the outcome.
	askAfter = 30 * time.Second
	// archiveEvery is how many passes go by between two looks into the archives, archiveNewest
	// how many of the newest deliveries each look reads, and archiveOthers how many of the others,
	// in turn: asynq keeps 10,000.
	archiveEvery  = 4
	archiveNewest = 200
	archiveOthers = 1250
	// maxTrims bounds the removals from one archive in one look.
	maxTrims = 20
	// atOnce bounds how many chunks share a script when they are issued again.
	atOnce = 50
)

// Fleet is what a Supervisor knows of the workers.
type Fleet interface {
	// Lead reports whether this worker leads until the next pass.
	Lead(ctx context.Context) (bool, error)
	// Alive returns the IDs of the live workers. An error, or false, says that the answer is
	// no proof of death: this worker's own heartbeat has trouble.
	Alive(ctx context.Context) (map[string]bool, bool, error)
	// Ask asks a worker whether it runs these chunks. It gives back the chunks that it does not run.
	Ask(ctx context.Context, worker, lane string, chunks []job.Delivery) error
}

// Config says what a Supervisor looks after.
type Config struct {
	Redis redis.UniversalClient
	Fleet Fleet
	// Lanes returns the lanes of all queues, of this worker and others.
	Lanes func(context.Context) ([]string, error)
	// asynq's archive of each lane is bounded to so many deliveries, and to this age.
	KeepArchived int
	ArchivedFor  time.Duration

	Logger *slog.Logger
}

// Supervisor issues chunks again that no worker deals with.
type Supervisor struct {
	cfg    Config
	passes int
	lanes  map[string]*watch
}

// watch is what the leader remembers of one lane.
type watch struct {
	unbegun map[string]time.Time // task ID of an active delivery -> since when its chunk is seen without an owner
	asked   map[string]time.Time // task ID of an active delivery -> since when a live worker holds its chunk, or was asked
	skip    int                  // archived deliveries before the next ones to read
}

// New returns a Supervisor. Run runs it.
func New(cfg Config) *Supervisor { return &Supervisor{cfg: cfg, lanes: map[string]*watch{}} }

// Run supervises until ctx ends.
func (s *Supervisor) Run(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		lead, err := s.cfg.Fleet.Lead(ctx)
		if err == nil && lead {
			err = s.Pass(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Debug("supervising failed; it is tried again", "error", err)
		}
		if !lead {
			clear(s.lanes) // what another leader did meanwhile is not known
		}
	}
}

// Pass looks once at everything that is out of the pending lists. A lane that fails does not
// keep it from the others.
func (s *Supervisor) Pass(ctx context.Context) error {
	lanes, err := s.cfg.Lanes(ctx)
	if err != nil {
		return err
	}
	for lane := range s.lanes {
		if !slices.Contains(lanes, lane) {
			delete(s.lanes, lane)
		}
	}
	var errs []error
	for _, lane := range lanes {
		if s.lanes[lane] == nil {
			s.lanes[lane] = &watch{unbegun: map[string]time.Time{}, asked: map[string]time.Time{}}
		}
		errs = append(errs, s.active(ctx, lane))
		if s.passes%archiveEvery == 0 {
			errs = append(errs, s.archived(ctx, lane))
		}
	}
	s.passes++
	return errors.Join(errs...)
}

// active looks after the active deliveries of a lane.
func (s *Supervisor) active(ctx context.Context, lane string) error {
	ids, err := job.Active(ctx, s.cfg.Redis, lane)
	if err != nil {
		return err
	}
	w := s.lanes[lane]
	forgetOthers(w.unbegun, ids)
	forgetOthers(w.asked, ids)
	out, alive, err := s.read(ctx, lane, ids)
	if err != nil || alive == nil {
		return err
	}
	now := time.Now()
	var lost []orphan
	questions := map[string][]job.Delivery{}
	for _, o := range out {
		id := o.TaskID()
		switch {
		case !o.Waits:
			o.over = true
			lost = append(lost, o)
		case o.Owner == "":
			if longer(w.unbegun, id, now, unbegunFor) {
				lost = append(lost, o)
			}
			continue
		case !alive[o.Owner]:
			o.died = true
			lost = append(lost, o)
		case longer(w.asked, id, now, askAfter):
			w.asked[id] = now
			questions[o.Owner] = append(questions[o.Owner], o.Delivery)
		}
		delete(w.unbegun, id)
	}
	errs := []error{s.reissue(ctx, lane, lost, true)}
	for worker, chunks := range questions {
		errs = append(errs, s.cfg.Fleet.Ask(ctx, worker, lane, chunks))
	}
	return errors.Join(errs...)
}

// longer reports whether what is noted under the ID has been so for d, and notes it.
func longer(since map[string]time.Time, id string, now time.Time, d time.Duration) bool {
	first, ok := since[id]
	if !ok {
		since[id] = now
		return false
	}
	return now.Sub(first) >= d
}

// forgetOthers keeps only what is noted under the given IDs.
func forgetOthers(since map[string]time.Time, ids []string) {
	if len(since) == 0 {
		return
	}
	still := make(map[string]bool, len(ids))
	for _, id := range ids {
		still[id] = true
	}
	for id := range since {
		if !still[id] {
			delete(since, id)
		}
	}
}

// orphan is a delivery that no worker runs.
type orphan struct {
	job.Delivery
	job.Holding
	died bool // its owner did
	over bool // its chunk is over: only the delivery ends
}

// read reads how the chunks of deliveries stand, and after that which workers are alive: a
// worker that has joined meanwhile is among them. Tasks that are no deliveries are left out.
// alive is nil where it is not certain.
func (s *Supervisor) read(ctx context.Context, lane string, ids []string) (out []orphan, alive map[string]bool, err error) {
	var deliveries []job.Delivery
	for _, id := range ids {
		if d, ok := job.ParseTaskID(id); ok {
			deliveries = append(deliveries, d)
		}
	}
	if len(deliveries) == 0 {
		return nil, map[string]bool{}, nil
	}
	holdings, err := job.Holdings(ctx, s.cfg.Redis, lane, deliveries)
	if err != nil {
		return nil, nil, err
	}
	alive, certain, err := s.cfg.Fleet.Alive(ctx)
	if err != nil || !certain {
		return nil, nil, err
	}
	out = make([]orphan, len(deliveries))
	for i := range out {
		out[i] = orphan{Delivery: deliveries[i], Holding: holdings[i]}
	}
	return out, alive, nil
}

// reissue gives the chunks new deliveries. The number of a new delivery follows from that of
// the old one, so two leaders make the same.
func (s *Supervisor) reissue(ctx context.Context, lane string, lost []orphan, active bool) error {
	for some := range slices.Chunk(lost, atOnce) {
		chunks := make([]job.Reissue, len(some))
		for i, o := range some {
			d := o.Delivery
			d.Number++
			chunks[i] = job.Reissue{Delivery: d, EndOnly: o.over, Owner: o.Owner, Died: o.died, Message: job.Message(lane, o.Task, d, "", time.Time{})}
			if active {
				chunks[i].Old = o.TaskID()
			}
		}
		answers, err := job.ReissueAll(ctx, s.cfg.Redis, lane, chunks...)
		if err != nil {
			return err
		}
		for i, o := range some {
			if answers[i] == job.Reissued && !o.over {
				s.cfg.Logger.Info("a chunk that no worker deals with is issued again",
					"lane", lane, "job", o.Name, "chunk", o.Chunk, "task", o.Task, "owner", o.Owner, "died", o.died)
			}
		}
	}
	return nil
}

// archived looks after archived deliveries of chunks that still wait for their outcomes: the
// newest, as many others in turn, and those that are removed to bound the archive.
func (s *Supervisor) archived(ctx context.Context, lane string) error {
	w := s.lanes[lane]
	newest, err := job.Archived(ctx, s.cfg.Redis, lane, 0, archiveNewest)
	if err != nil || len(newest) == 0 {
		return err
	}
	others, err := job.Archived(ctx, s.cfg.Redis, lane, archiveNewest+w.skip, archiveOthers)
	if err != nil {
		return err
	}
	if certain, err := s.revive(ctx, lane, append(newest, others...)); err != nil || !certain {
		return err
	}
	w.skip += len(others)
	if len(others) < archiveOthers {
		w.skip = 0
	}
	for range maxTrims {
		oldest, err := job.OldestArchived(ctx, s.cfg.Redis, lane, job.MaxTrimmed)
		if err != nil {
			return err
		}
		if certain, err := s.revive(ctx, lane, oldest); err != nil || !certain {
			return err
		}
		n, err := job.TrimArchive(ctx, s.cfg.Redis, lane, s.cfg.KeepArchived, s.cfg.ArchivedFor, time.Now())
		if err != nil || n < job.MaxTrimmed {
			return err
		}
	}
	return nil
}

// revive issues the chunks of archived deliveries again that no live worker runs, and ends jobs
// that cannot end. It reports false where it is not certain which workers are alive.
func (s *Supervisor) revive(ctx context.Context, lane string, ids []string) (certain bool, err error) {
	out, alive, err := s.read(ctx, lane, ids)
	if err != nil || alive == nil {
		return false, err
	}
	var lost []orphan
	var suspects []job.Delivery
	for _, o := range out {
		switch {
		case o.Waits && !alive[o.Owner]:
			o.died = o.Owner != ""
			lost = append(lost, o)
		case o.Lives && !o.Waits:
			suspects = append(suspects, o.Delivery)
		}
	}
	if err := s.condemn(ctx, lane, suspects); err != nil {
		return false, err
	}
	return true, s.reissue(ctx, lane, lost, false)
}

// condemn ends the jobs of chunks that are lost, of which no handle may be waiting for.
func (s *Supervisor) condemn(ctx context.Context, lane string, suspects []job.Delivery) error {
	if len(suspects) == 0 {
		return nil
	}
	lost, err := job.Lost(ctx, s.cfg.Redis, lane, suspects)
	if err != nil {
		return err
	}
	for i, d := range suspects {
		if !lost[i] {
			continue
		}
		why := job.Corrupt.Because(fmt.Sprintf("chunk %d has neither arguments nor outcomes", d.Chunk))
		states, err := job.Cancel(ctx, s.cfg.Redis, lane, why, d.Ref)
		if err != nil {
			return err
		}
		if states[0] == job.Canceled {
			s.cfg.Logger.Error("a job was canceled because its record is damaged", "job", names.Address{Queue: job.QueueOf(lane), Name: d.Name}.String(), "chunk", d.Chunk)
		}
	}
	return nil
}
