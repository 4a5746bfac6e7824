package producer

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

// run is the sender.
func (s *stream) run(in arguments) {
	defer close(s.sent)
	s.cut.encode = in.encode
	refresh := time.NewTicker(max(time.Millisecond, s.pool.cfg.JobTTL/4))
	defer refresh.Stop()
	err := s.send(in, refresh.C)
	if s.job != nil && s.job.Err() != nil {
		err = fmt.Errorf("%s: job %s: %w", s.log, s.job.ID, s.job.Err()) // says why a submission failed, too
	}
	s.mu.Lock()
	if err == nil {
		err = s.inputErr
	}
	s.ended, s.err = true, err
	s.mu.Unlock()
	kick(s.arrived)
}

// send submits what the reader has read, and collects outcomes, until all that
// there will be are here, or no more can be.
func (s *stream) send(in arguments, refresh <-chan time.Time) error {
	for {
		changed, over, err := s.collect()
		if over || err != nil {
			return err
		}
		sent, err := s.submit(in)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if s.finished() {
			return nil
		}
		select {
		case <-s.wake:
		case <-changed:
		case <-refresh:
			if s.job != nil {
				err = s.transmit(nil, s.sealed)
			}
		case <-s.stop:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// finished reports whether every call of the input has its outcome.
func (s *stream) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over && s.cut.at == s.toSend() && s.pace.onTheWay == 0
}

// toSend is how many calls there are as far as is known. It is called with mu
// held.
func (s *stream) toSend() int { return min(int(s.read.Load()), s.limit) }

// collect takes the outcomes that have arrived, hands them to the loop, and
// removes them from Redis. It reports whether the job is over.
func (s *stream) collect() (changed <-chan struct{}, over bool, err error) {
	if s.job == nil {
		return nil, false, nil
	}
	news, over, changed := s.job.Take()
	s.pace.note(time.Now())
	if len(news) == 0 {
		return changed, over, nil
	}
	chunks := make([]int, len(news))
	s.mu.Lock()
	for i, a := range news {
		chunks[i] = a.Chunk
		s.ready = append(s.ready, a.Outcome)
		s.pace.arrive(a.Calls, len(a.Values))
	}
	s.mu.Unlock()
	kick(s.arrived)
	if err := s.resize(s.sendCtx); err != nil && s.sendCtx.Err() == nil {
		s.pool.cfg.Logger.Warn("counting the slots of workers failed, the last count is used", "job", s.id, "task", s.task.Name(), "error", err)
	}
	if over {
		return changed, over, nil
	}
	err = s.insist(func() error { return record.Consume(s.sendCtx, s.pool.rdb, s.job.ID, chunks) })
	if record.IsCorrupt(err) {
		err = fmt.Errorf("%w: %w", await.ErrCorrupt, err)
	}
	if err != nil {
		err = fmt.Errorf("%s: removing outcomes that were taken: %w", s.log, err)
	}
	return changed, false, err
}

// resize adapts the size of chunks and the window to the fleet and to what was
// measured.
func (s *stream) resize(ctx context.Context) error {
	slots, err := s.pool.fleet.Slots(ctx, s.options.queue)
	if err == nil {
		if slots == 0 {
			slots = runtime.NumCPU()
		}
		s.pace.slots = slots
	}
	slots = max(1, s.pace.slots)
	window := s.options.window
	if size := s.options.chunkSize; size > 0 {
		if window == 0 {
			window = chunksOf(windowChunks*slots, size)
		}
		s.cut.size = min(size, window)
	} else {
		// Two chunks for each slot at least, as far as the window allows.
		most := math.MaxInt
		if window > 0 {
			most = max(1, window/(2*slots))
		}
		s.pace.adapt(most)
		s.cut.size = min(s.pace.size, most)
		if window == 0 {
			window = chunksOf(windowChunks*slots, s.cut.size)
		}
	}
	s.window.Store(int64(window))
	// The window may be full of calls that are too few for a chunk of a given size:
	// there must be room to read the rest of it.
	s.slack.Store(int64(max(1, min(window/16, window-s.cut.size+1))))
	kick(s.room)
	return err
}

// chunksOf is n chunks of size calls, without overflow.
func chunksOf(n, size int) int {
	if size > math.MaxInt/2/n {
		return math.MaxInt / 2
	}
	return n * size
}

// submit sends chunks, as many as there are and as one round trip takes, and
// seals the job with the last one. It reports whether it sent anything.
func (s *stream) submit(in arguments) (sent bool, err error) {
	calls, last := s.due()
	if calls == 0 && (!last || s.sealed || s.job == nil) {
		return false, nil
	}
	before := s.cut.at
	s.cut.calls = before + calls
	batch, err := s.cut.next(s.chunks)
	if err != nil {
		s.cut.at = before
		s.refuse(before, calls, err)
		return true, nil
	}
	if err := s.transmit(batch, last && s.cut.done()); err != nil {
		return false, err
	}
	for _, c := range batch {
		s.pace.depart(len(c.Args))
	}
	s.pace.sent += s.cut.at - before
	in.drop(s.cut.at)
	return true, nil
}

// due returns how many of the calls that were read shall be sent now, and
// whether these are the last. A chunk that is not full waits for more, unless
// there are slots without one: so a slow input is not held back, and a fast one
// travels in full chunks, without a timer.
func (s *stream) due() (calls int, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.toSend() - s.cut.at
	if s.over {
		return waiting, true
	}
	whole := waiting / s.cut.size
	hungry := !s.cut.exact && s.pace.onTheWay+whole < s.pace.slots
	s.wanted = s.cut.size
	if hungry {
		s.wanted = 1
		return waiting, false
	}
	return whole * s.cut.size, false
}

// transmit sends chunks, with their deliveries, and creates the job if there is
// none.
func (s *stream) transmit(batch []record.Chunk, seal bool) error {
	s.pace.note(time.Now())
	total := s.chunks + len(batch)
	deliver := s.extend
	if s.job == nil {
		if err := s.pool.enter(); err != nil {
			return err
		}
		defer s.pool.submitting.Done()
		job := s.pool.opens(s.task, await.NewStream(s.id, s.task.Name(), s.options.queue))
		job.Origin = s.options.origin
		if _, err := s.pool.hub.Track(job); err != nil {
			return err
		}
		s.job = job
		deliver, seal = s.create, false // sealed later: a job of one chunk that is sealed at once is stored in another form
	}
	s.job.Expect(s.chunks, len(batch))
	if err := deliver(batch, total, seal, deliveries(record.Ref{ID: s.job.ID}, batch)); err != nil {
		return fmt.Errorf("%s: %w", s.log, err)
	}
	if len(batch) == 0 && seal == s.sealed {
		// It only renewed the record, if that is still there. That is no news of the job: the
		// hub asks for it after a while without any, and would never if this counted.
		return nil
	}
	s.chunks, s.sealed = total, seal
	s.job.Grow(s.cut.at, total, seal)
	s.job.MarkSubmitted()
	return nil
}

func (s *stream) create(batch []record.Chunk, total int, _ bool, ds []wire.Delivery) error {
	j := s.record(total)
	if err := s.pool.protectNew(s.task, &j, unknownTotal, batch); err != nil {
		return err
	}
	op := record.Create(j, batch)
	_, err := s.pool.broker.Submit(s.sendCtx, op, s.options.queue, s.task.Name(), ds)
	if err == nil {
		s.pool.listing.note(s.job.ID, s.task.Name(), s.options.queue, false)
	}
	return err
}

// record describes the job as it is created.
func (s *stream) record(chunks int) record.Job {
	policy := s.options.policy.Over(s.task.Policy())
	policy.Stream = true
	return record.Job{
		Policy: policy.Encode(),
		ID:     s.job.ID, Task: s.task.Name(), Codec: s.task.Codec().Name(),
		Headers: s.options.headers,
		Reply:   s.pool.hub.Channel(), Calls: s.cut.at, Chunks: chunks,
		OpenTTL: s.pool.cfg.JobTTL, ResultTTL: s.options.ttl,
	}
}

func (s *stream) extend(batch []record.Chunk, total int, seal bool, ds []wire.Delivery) error {
	if s.pool.protects(s.task) {
		if err := s.pool.protect(s.task, s.record(total), unknownTotal, batch); err != nil {
			return err
		}
	}
	op := record.Extend(record.Ref{ID: s.job.ID}, s.cut.at, total, seal, s.pool.cfg.JobTTL, batch)
	return s.insist(func() error {
		_, err := s.pool.broker.Submit(s.sendCtx, op, s.options.queue, s.task.Name(), ds)
		return err
	})
}

// insist repeats a round trip, which must be harmless to repeat, for a while.
func (s *stream) insist(try func() error) error {
	_, err := backoff.Retry(s.sendCtx, func() (struct{}, error) {
		err := try()
		if err != nil && (s.job.Settled() || record.IsCorrupt(err)) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(streamPatience))
	return err
}

// refuse ends the input before the first of these calls whose argument cannot be
// sent.
func (s *stream) refuse(first, calls int, err error) {
	limit := first
	for call := first; call < first+calls; call++ {
		one := cutter{encode: s.cut.encode, task: s.cut.task, calls: call + 1, at: call, size: 1, exact: true, maxArgument: s.cut.maxArgument, big: s.cut.big}
		if _, _, cannot := one.one(); cannot != nil {
			limit, err = call, cannot
			break
		}
	}
	s.mu.Lock()
	s.over, s.limit, s.inputErr = true, limit, fmt.Errorf("%s: %w", s.log, err)
	s.mu.Unlock()
	s.endInput.Do(func() { close(s.enough) })
}
