package worker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// superviseEvery is how often the leader looks for deliveries whose worker is
	// gone. A worker's death is known after lifetime, so its chunks are issued
	// again within the sum of both.
	superviseEvery = 2 * time.Second
	// term is how long a leader that died keeps others from taking its place.
	term = 2*superviseEvery + time.Second
	// unbegunFor is how long a delivery may be out of its queue without anybody
	// having begun its chunk. A worker begins at once, so this one died in between.
	unbegunFor = 10 * time.Second
	// issueAgain is how long a delivery that was issued again may take to be begun
	// before it is looked for.
	issueAgain = 30 * time.Second
	// askEvery is how long a live worker may hold a chunk before it is asked whether
	// it runs it, and how often it is.
	askEvery = 30 * time.Second
	// reissueAtOnce is how many chunks share a round trip when they are issued again:
	// an operator may archive a queue of thousands.
	reissueAtOnce = 200
)

// supervisor issues chunks again whose delivery is lost: its worker died, it was
// taken and never begun, or it lies in asynq's archive. asynq does something about
// the first only, after the lease of the delivery has run out and a pass that comes
// once a minute: one to two minutes later.
//
// Every worker has one, and one of them leads. A delivery that is issued without
// need does no harm: the record refuses it.
type supervisor struct {
	w       *worker
	unbegun map[string]time.Time // asynq task ID -> since when it is out without an owner
	issued  map[string]time.Time // asynq task ID -> when its chunk was issued again
	held    map[string]time.Time // asynq task ID -> since when a live worker holds its chunk, or was asked
	archive map[string]*archive  // queue -> what is known of its archived deliveries
}

func newSupervisor(w *worker) *supervisor {
	return &supervisor{w: w, unbegun: map[string]time.Time{}, issued: map[string]time.Time{}, held: map[string]time.Time{}, archive: map[string]*archive{}}
}

// run supervises until ctx ends.
func (s *supervisor) run(ctx context.Context) {
	ticker := time.NewTicker(superviseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		lead, err := record.Lead(ctx, s.w.rdb, s.w.self.ID, term)
		if err == nil && lead && !s.w.isTroubled() {
			err = s.pass(ctx)
		}
		if err != nil && ctx.Err() == nil && !s.w.isTroubled() {
			s.w.log.Warn("supervising failed; will try again", "error", err)
		}
	}
}

func (s *supervisor) resign(ctx context.Context) {
	if err := record.Resign(ctx, s.w.rdb, s.w.self.ID); err != nil {
		s.w.log.Warn("handing the supervision over failed; it ends by itself", "error", err)
	}
}

// out is a delivery that is in no queue any more: a worker has taken it, or it is
// archived.
type out struct {
	id, queue string
	delivery  wire.Delivery
	archived  bool
}

// pass looks once at everything that is out.
func (s *supervisor) pass(ctx context.Context) error {
	outs, err := s.outside(ctx)
	if err != nil {
		return err
	}
	s.forget(outs)
	if len(outs) == 0 {
		return nil
	}
	refs := make([]record.ChunkRef, len(outs))
	for i, o := range outs {
		refs[i] = record.ChunkRef{Job: refOf(o.delivery), Chunk: o.delivery.Chunk}
	}
	holdings, err := record.Holdings(ctx, s.w.rdb, refs)
	if err != nil {
		return err
	}
	workers, err := record.Workers(ctx, s.w.rdb)
	if err != nil {
		return err
	}
	alive := make(map[string]bool, len(workers))
	for _, w := range workers {
		alive[w.ID] = true
	}
	questions := map[string][]record.ChunkRef{}
	orphans := map[origin][]orphan{}
	for i, o := range outs {
		if o.archived && !holdings[i].Open {
			s.archive[o.queue].settle(o.id)
		}
		if owner := holdings[i].Owner; holdings[i].Open && alive[owner] && s.isToBeAsked(o.id) {
			questions[owner] = append(questions[owner], refs[i])
		}
		if s.orphaned(o, holdings[i], alive) {
			of := origin{o.queue, holdings[i].Task}
			orphans[of] = append(orphans[of], orphan{o, holdings[i].Owner})
		}
	}
	for of, all := range orphans {
		for some := range slices.Chunk(all, reissueAtOnce) {
			if err := s.reissue(ctx, of, some); err != nil {
				return err
			}
		}
	}
	for owner, refs := range questions {
		if err := record.Ask(ctx, s.w.rdb, owner, refs); err != nil {
			return err
		}
	}
	return nil
}

// isToBeAsked reports whether it is time to ask the worker that holds the chunk of
// the delivery, and notes that it is.
func (s *supervisor) isToBeAsked(id string) bool {
	since, ok := s.held[id]
	if ok && time.Since(since) < askEvery {
		return false
	}
	s.held[id] = time.Now()
	return ok
}

// outside lists the deliveries that are in no queue: of each chunk the newest,
// since the older ones have been dealt with.
func (s *supervisor) outside(ctx context.Context) ([]out, error) {
	queues, err := s.w.rdb.SMembers(ctx, "asynq:queues").Result()
	if err != nil {
		return nil, err
	}
	for q := range s.w.cfg.Queues { // asynq lists a queue once per producer process: a Redis that lost its data may lack it
		if !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	newest := map[chunkKey]out{}
	add := func(queue string, ids []string, archived bool) {
		for _, id := range ids {
			d, ok := wire.ParseTaskID(id)
			if !ok {
				continue
			}
			if k := (chunkKey{refOf(d), d.Chunk}); d.Number > newest[k].delivery.Number {
				newest[k] = out{id, queue, d, archived}
			}
		}
	}
	for _, q := range queues {
		ids, err := s.w.rdb.LRange(ctx, "asynq:{"+q+"}:active", 0, -1).Result()
		if err != nil {
			return nil, err
		}
		add(q, ids, false)
		if s.archive[q] == nil {
			s.archive[q] = newArchive(q)
		}
		if ids, err = s.archive[q].look(ctx, s.w.rdb); err != nil {
			return nil, err
		}
		add(q, ids, true)
	}
	for q := range s.archive {
		if !slices.Contains(queues, q) {
			delete(s.archive, q)
		}
	}
	return slices.Collect(maps.Values(newest)), nil
}

// forget drops what was remembered of deliveries that are no longer out.
func (s *supervisor) forget(outs []out) {
	still := make(map[string]bool, len(outs))
	for _, o := range outs {
		still[o.id] = true
	}
	for _, m := range []map[string]time.Time{s.unbegun, s.issued, s.held} {
		for id := range m {
			if !still[id] {
				delete(m, id)
			}
		}
	}
}

// orphaned reports whether nobody works on the delivery's chunk any more.
func (s *supervisor) orphaned(o out, h record.Holding, alive map[string]bool) bool {
	if !h.Open {
		return false
	}
	if at, ok := s.issued[o.id]; ok && time.Since(at) < issueAgain {
		return false
	}
	if h.Owner != "" {
		delete(s.unbegun, o.id)
		return !alive[h.Owner]
	}
	if o.archived {
		return true
	}
	since, ok := s.unbegun[o.id]
	if !ok {
		s.unbegun[o.id] = time.Now()
		return false
	}
	return time.Since(since) > unbegunFor
}

// origin is where the chunk of a lost delivery comes from.
type origin struct{ queue, task string }

// orphan is a delivery on whose chunk nobody works any more.
type orphan struct {
	out
	owner string // who died with it; "" for nobody
}

// reissue sends chunks to their queue again, each unless it has been and is on its way.
// The number of the delivery follows from the one that was lost, so that two leaders
// send the same one.
func (s *supervisor) reissue(ctx context.Context, of origin, orphans []orphan) error {
	lost := make([]wire.Delivery, len(orphans))
	for i, o := range orphans {
		lost[i] = o.delivery
	}
	sent, err := s.w.broker.Reissue(ctx, of.queue, of.task, lost)
	if err != nil {
		return err
	}
	for i, o := range orphans {
		s.issued[o.id] = time.Now()
		if sent[i] == 0 {
			continue
		}
		why := "its worker died"
		switch {
		case o.archived:
			why = "its delivery is in asynq's archive"
		case o.owner == "":
			why = "its delivery was taken and never begun"
		}
		s.w.log.Warn("a chunk is issued again: "+why, "job", o.delivery.Job, "chunk", o.delivery.Chunk, "task", of.task, "dead", o.owner, "delivery", sent[i])
	}
	return nil
}
