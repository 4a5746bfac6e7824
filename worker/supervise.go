package worker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// superviseEvery is how often the leader looks for deliveries whose worker is
	// gone. A worker's death is known after lifetime, so its chunks are issued
	// again within the sum of both.
	superviseEvery = 2 * time.Second
	// Most passes do with less, so that a leader with nothing to do is quiet. Every so
	// many of them it reads which queues there are, and what lies in archives that it knows to be small.
	queuesEvery   = 2
	archivesEvery = 4
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

	passes int      // so far: rounds in which it led, and looked
	queues []string // as of the last time that they were read
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
		lead, err := s.w.member.Lead(ctx)
		if err == nil && lead && !s.w.member.Troubled() {
			err = s.pass(ctx)
		}
		if err != nil && ctx.Err() == nil && !s.w.member.Troubled() {
			s.w.log.Warn("supervising failed; will try again", "error", err)
		}
	}
}

func (s *supervisor) resign(ctx context.Context) {
	if err := s.w.member.Resign(ctx); err != nil {
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
	archives := s.passes%archivesEvery == 0
	if err := s.lookAround(ctx); err != nil || !archives {
		return err
	}
	return s.trim(ctx)
}

// lookAround has the chunks issued again of which nothing would become.
func (s *supervisor) lookAround(ctx context.Context) error {
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
	alive, certain, err := s.w.member.Alive(ctx)
	if err != nil || !certain {
		return err
	}
	questions := map[string][]fleet.Question{}
	suspects := map[record.Ref]bool{}
	orphans := map[origin][]orphan{}
	for i, o := range outs {
		if s.isSuspect(o, holdings[i]) {
			suspects[refs[i].Job] = true
		}
		if owner := holdings[i].Owner; holdings[i].Open && alive[owner] && s.isToBeAsked(o.id) {
			questions[owner] = append(questions[owner], fleet.Question{Job: refs[i].Job.ID, Gen: refs[i].Job.Gen, Chunk: refs[i].Chunk})
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
	for job := range suspects {
		state, err := record.Check(ctx, s.w.rdb, job, 0, false)
		if err != nil && !record.IsCorrupt(err) { // what is too damaged to be ended is so for its handles, too
			return err
		}
		if state == record.Canceled {
			s.w.log.Error("a job was canceled because its record is damaged", "job", job.ID)
		}
	}
	for owner, asked := range questions {
		if err := fleet.Ask(ctx, s.w.rdb, owner, asked); err != nil {
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

// readQueues reads which queues there are.
func (s *supervisor) readQueues(ctx context.Context) error {
	queues, err := s.w.rdb.SMembers(ctx, record.AsynqQueues).Result()
	if err != nil {
		return err
	}
	for q := range s.w.cfg.Queues { // whoever named them, or not
		if !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	for _, q := range queues {
		if s.archive[q] == nil {
			s.archive[q] = newArchive(q)
		}
	}
	for q := range s.archive {
		if !slices.Contains(queues, q) {
			delete(s.archive, q)
		}
	}
	s.queues = queues
	return nil
}

// busy lists queues in whose lists of taken deliveries it is worth looking: none, if one
// command tells that there are no such deliveries.
func (s *supervisor) busy(ctx context.Context) ([]string, error) {
	if !record.OneServer(s.w.rdb) {
		return s.queues, nil
	}
	keys := make([]string, len(s.queues))
	for i, q := range s.queues {
		keys[i] = activeKey(q)
	}
	if n, err := s.w.rdb.Exists(ctx, keys...).Result(); err != nil || n == 0 {
		return nil, err
	}
	return s.queues, nil
}

// activeKey is asynq's list of deliveries that were taken from the queue (asynq v0.26,
// internal/base).
func activeKey(queue string) string { return "asynq:{" + queue + "}:active" }

// outside lists the deliveries that are in no queue: of each chunk the newest,
// since the older ones have been dealt with.
func (s *supervisor) outside(ctx context.Context) ([]out, error) {
	if s.passes%queuesEvery == 0 || s.queues == nil {
		if err := s.readQueues(ctx); err != nil {
			return nil, err
		}
	}
	busy, err := s.busy(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[chunkKey]out{}
	add := func(queue string, ids []string, archived bool) {
		for _, id := range ids {
			d, ok := wire.ParseTaskID(queue, id)
			if !ok {
				continue
			}
			if k := (chunkKey{refOf(d), d.Chunk}); d.Number > newest[k].delivery.Number {
				newest[k] = out{id, queue, d, archived}
			}
		}
	}
	for _, q := range busy {
		ids, err := s.w.rdb.LRange(ctx, activeKey(q), 0, -1).Result()
		if err != nil {
			return nil, err
		}
		add(q, ids, false)
	}
	for _, q := range s.queues {
		a := s.archive[q]
		if s.passes%archivesEvery != 0 && a.small {
			continue
		}
		ids, err := a.look(ctx, s.w.rdb)
		if err != nil {
			return nil, err
		}
		add(q, ids, true)
	}
	s.passes++
	return slices.Collect(maps.Values(newest)), nil
}

// forget drops what was remembered of deliveries that are no longer out. Not every pass
// looks into the archives, so that is not known at once.
func (s *supervisor) forget(outs []out) {
	still := make(map[string]bool, len(outs))
	for _, o := range outs {
		still[o.id] = true
	}
	const unseen = archivesEvery * superviseEvery * 2
	for m, after := range map[*map[string]time.Time]time.Duration{&s.unbegun: 0, &s.issued: issueAgain, &s.held: askEvery + unseen} {
		for id, at := range *m {
			if !still[id] && time.Since(at) >= after {
				delete(*m, id)
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

// isSuspect reports whether a delivery is there for a chunk that has no arguments, of a
// job that lives: usually because the chunk has been recorded, but they may be lost.
func (s *supervisor) isSuspect(o out, h record.Holding) bool {
	if !h.Live || h.Open {
		return false
	}
	if o.archived {
		return true
	}
	since, ok := s.unbegun[o.id]
	if ok && time.Since(since) <= unbegunFor {
		return false
	}
	s.unbegun[o.id] = time.Now()
	return ok
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
