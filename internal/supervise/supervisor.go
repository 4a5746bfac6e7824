package supervise

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

const (
	// every is the time between two passes. A worker's death is known when its heartbeat
	// has been missing for the fleet's lifetime, so its chunks are issued again within the
	// sum of both.
	every = 2 * time.Second
	// unbegunFor is how long a delivery may be active without an owner of its chunk. A
	// worker takes it at once, so that worker died in between.
	unbegunFor = 10 * time.Second
	// overFor is how long a delivery may be active after the end of its chunk: an asynq.Server
	// ends its deliveries itself, right after the chunk was recorded.
	overFor = 5 * time.Second
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
	active map[string]condition // by the task IDs of active deliveries
	skip   int                  // archived deliveries before the next ones to read
}

// condition is how the chunk of an active delivery stands.
type condition struct {
	owner string    // the worker that runs it; empty: none does
	over  bool      // it has its outcomes, or its job is over
	since time.Time // when this was first seen, or the owner last asked about it
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
			s.lanes[lane] = &watch{}
		}
		errs = append(errs, s.active(ctx, lane))
		if s.passes%archiveEvery == 0 {
			errs = append(errs, s.archived(ctx, lane), job.RemoveOutlived(ctx, s.cfg.Redis, lane))
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
	ds, stands, alive, err := s.read(ctx, lane, ids)
	if err != nil || alive == nil {
		return err
	}
	now, w := time.Now(), s.lanes[lane]
	seen := make(map[string]condition, len(ds))
	var lost []job.Reissue
	questions := map[string][]job.Delivery{}
	for i, st := range stands {
		d, id := ds[i], ds[i].TaskID()
		c := condition{st.Owner, !st.Waits, now}
		if before, ok := w.active[id]; ok && before.owner == c.owner && before.over == c.over {
			c.since = before.since
		}
		lasts := now.Sub(c.since)
		switch again := after(d, st); {
		case c.over && lasts >= overFor, !c.over && c.owner == "" && lasts >= unbegunFor, c.owner != "" && !alive[c.owner]:
			again.Old, again.EndOnly = id, c.over
			lost = append(lost, again)
		case c.owner != "" && lasts >= askAfter:
			c.since = now
			questions[c.owner] = append(questions[c.owner], d)
		}
		seen[id] = c
	}
	w.active = seen
	errs := []error{s.reissue(ctx, lane, lost)}
	for worker, chunks := range questions {
		errs = append(errs, s.cfg.Fleet.Ask(ctx, worker, lane, chunks))
	}
	return errors.Join(errs...)
}

// read reads how the chunks of deliveries stand, and after that which workers are alive: a
// worker that has joined meanwhile is among them. Tasks that are no deliveries are left out.
// alive is nil where it is not certain.
func (s *Supervisor) read(ctx context.Context, lane string, ids []string) (ds []job.Delivery, stands []job.Stand, alive map[string]bool, err error) {
	for _, id := range ids {
		if d, ok := job.ParseTaskID(id); ok {
			ds = append(ds, d)
		}
	}
	if len(ds) == 0 {
		return nil, nil, map[string]bool{}, nil
	}
	if stands, err = job.Stands(ctx, s.cfg.Redis, lane, ds); err != nil {
		return nil, nil, nil, err
	}
	alive, certain, err := s.cfg.Fleet.Alive(ctx)
	if err != nil || !certain {
		return nil, nil, nil, err
	}
	return ds, stands, alive, nil
}

// after is the delivery that follows on one whose chunk no worker runs. Its number follows from that
// of the old one, so two leaders make the same.
func after(d job.Delivery, s job.Stand) job.Reissue {
	d.Number++
	return job.Reissue{Delivery: d, Task: s.Task, Owner: s.Owner, Died: s.Owner != ""}
}

// reissue gives the chunks new deliveries.
func (s *Supervisor) reissue(ctx context.Context, lane string, lost []job.Reissue) error {
	for some := range slices.Chunk(lost, atOnce) {
		answers, err := job.ReissueAll(ctx, s.cfg.Redis, lane, some...)
		if err != nil {
			return err
		}
		for i, r := range some {
			if answers[i] == job.Reissued && !r.EndOnly {
				s.cfg.Logger.Info("a chunk that no worker deals with is issued again",
					"lane", lane, "job", job.Address(lane, r.Name), "chunk", r.Chunk, "task", r.Task, "owner", r.Owner, "died", r.Died)
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
	seen := append(newest, others...)
	if !slices.ContainsFunc(seen, isDelivery) {
		return nil // of a program that is no part of distpool
	}
	if certain, err := s.revive(ctx, lane, seen); err != nil || !certain {
		return err
	}
	w.skip += len(others)
	if len(others) < archiveOthers {
		w.skip = 0
	}
	for range maxTrims {
		oldest, err := job.OldestArchived(ctx, s.cfg.Redis, lane, 0, job.MaxTrimmed)
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

func isDelivery(taskID string) bool {
	_, ok := job.ParseTaskID(taskID)
	return ok
}

// revive issues the chunks of archived deliveries again that no live worker runs, and ends jobs
// that cannot end, of which no handle may be waiting for. It reports false where it is not certain
// which workers are alive.
func (s *Supervisor) revive(ctx context.Context, lane string, ids []string) (certain bool, err error) {
	ds, stands, alive, err := s.read(ctx, lane, ids)
	if err != nil || alive == nil {
		return false, err
	}
	var lost []job.Reissue
	for i, st := range stands {
		switch d := ds[i]; {
		case st.Waits && !alive[st.Owner]:
			lost = append(lost, after(d, st))
		case st.Lost:
			canceled, err := condemn(ctx, s.cfg.Redis, lane, d)
			if err != nil {
				return false, err
			}
			if canceled {
				s.cfg.Logger.Error("a job was canceled because its record is damaged", "job", job.Address(lane, d.Name), "chunk", d.Chunk)
			}
		}
	}
	return true, s.reissue(ctx, lane, lost)
}
