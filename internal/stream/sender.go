package stream

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
)

// run is the sender.
func (s *stream) run() {
	defer close(s.sent)
	refresh := time.NewTicker(max(time.Millisecond, s.Pool.JobTTL/4))
	defer refresh.Stop()
	err := s.send(refresh.C)
	if s.Job != nil && s.Job.Err() != nil {
		err = fmt.Errorf("job %s: %w", s.Job.ID, s.Job.Err()) // says why a submission failed, too
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
func (s *stream) send(refresh <-chan time.Time) error {
	for {
		changed, over, err := s.collect()
		if over || err != nil {
			return err
		}
		sent, err := s.submit()
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
			if s.Job != nil {
				err = s.transmit(nil, s.Sealed)
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
	return s.over && s.Cutter.At == s.toSend() && s.pace.onTheWay == 0
}

// toSend is how many calls there are as far as is known. It is called with mu
// held.
func (s *stream) toSend() int { return min(int(s.read.Load()), s.limit) }

// collect takes the outcomes that have arrived, hands them to the loop, and
// removes them from Redis. It reports whether the job is over.
func (s *stream) collect() (changed <-chan struct{}, over bool, err error) {
	if s.Job == nil {
		return nil, false, nil
	}
	news, over, changed := s.Job.Take()
	s.pace.note(time.Now())
	if len(news) == 0 {
		return changed, over, nil
	}
	chunks, places := make([]int, len(news)), make([]int, len(news))
	s.mu.Lock()
	for i, a := range news {
		chunks[i], places[i] = a.Chunk, a.Place
		s.ready = append(s.ready, a.Outcome)
		s.pace.arrive(a.Calls, len(a.Values))
	}
	s.mu.Unlock()
	kick(s.arrived)
	if err := s.resize(s.sendCtx); err != nil && s.sendCtx.Err() == nil {
		s.Pool.Logger.Warn("counting the slots of workers failed, the last count is used", "job", s.ID(), "task", s.Task.Name(), "error", err)
	}
	if over {
		return changed, over, nil
	}
	_, err = insist(s, func() (struct{}, error) {
		return struct{}{}, job.Consume(s.sendCtx, s.Pool.Redis, s.Job.Lane, s.Job.Ref, chunks, places)
	})
	if job.IsDamaged(err) {
		err = fmt.Errorf("%w: %w", await.ErrCorrupt, err)
	}
	if err != nil {
		err = fmt.Errorf("removing outcomes that were taken: %w", err)
	}
	return changed, false, err
}

// resize adapts the size of chunks and the window to the fleet and to what was
// measured.
func (s *stream) resize(ctx context.Context) error {
	slots, err := s.Pool.Slots(ctx, s.Options.Queue)
	if err == nil {
		s.pace.slots = max(1, slots)
	}
	slots = s.pace.slots
	window := s.Options.Window
	if size := s.Options.ChunkSize; size > 0 {
		if window == 0 {
			window = chunksOf(windowChunks*slots, size)
		}
		s.Cutter.Size = min(size, window)
	} else {
		// Two chunks for each slot at least, as far as the window allows.
		most := math.MaxInt
		if window > 0 {
			most = max(1, window/(2*slots))
		}
		s.pace.adapt(most)
		s.Cutter.Size = min(s.pace.size, most)
		if window == 0 {
			window = chunksOf(windowChunks*slots, s.Cutter.Size)
		}
	}
	s.window.Store(int64(window))
	// The window may be full of calls that are too few for a chunk of a given size:
	// there must be room to read the rest of it.
	s.slack.Store(int64(max(1, min(window/16, window-s.Cutter.Size+1))))
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
func (s *stream) submit() (sent bool, err error) {
	calls, last := s.due()
	if calls == 0 && (!last || s.Sealed || s.Job == nil) {
		return false, nil
	}
	before := s.Cutter.At
	s.Cutter.Calls = before + calls
	batch, err := s.Cutter.Next(s.Chunks)
	if err != nil {
		s.Cutter.At = before
		s.refuse(before, calls, err)
		return true, nil
	}
	if err := s.transmit(batch, last && s.Cutter.Done()); err != nil {
		return false, err
	}
	for _, c := range batch {
		s.pace.depart(len(c.Args))
	}
	s.pace.sent += s.Cutter.At - before
	s.drop(s.Cutter.At)
	return true, nil
}

// due returns how many of the calls that were read shall be sent now, and
// whether these are the last. A chunk that is not full waits for more, unless
// there are slots without one: so a slow input is not held back, and a fast one
// travels in full chunks, without a timer.
func (s *stream) due() (calls int, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting := s.toSend() - s.Cutter.At
	if s.over {
		return waiting, true
	}
	whole := waiting / s.Cutter.Size
	hungry := !s.Cutter.Exact && s.pace.onTheWay+whole < s.pace.slots
	s.wanted = s.Cutter.Size
	if hungry {
		s.wanted = 1
		return waiting, false
	}
	return whole * s.Cutter.Size, false
}

// transmit sends chunks, and creates the job if there is none. Without chunks it seals the job, or
// renews its time to live.
func (s *stream) transmit(batch []job.Chunk, seal bool) error {
	s.pace.note(time.Now())
	if s.Job == nil {
		seal = false // that is done later: a stream may have any number of chunks
		left, err := s.Pool.Enter()
		if err != nil {
			return err
		}
		defer left()
	}
	_, err := s.Send(s.sendCtx, s.Cutter.At, batch, !seal)
	return err
}

// insist repeats a round trip, which must be harmless to repeat, for a while.
func insist[T any](s *stream, try func() (T, error)) (T, error) {
	return backoff.Retry(s.sendCtx, func() (T, error) {
		reply, err := try()
		if err != nil && (s.Job.Settled() || job.IsDamaged(err)) {
			err = backoff.Permanent(err)
		}
		return reply, err
	}, backoff.WithBackOff(backoff.NewExponentialBackOff()), backoff.WithMaxElapsedTime(streamPatience))
}

// refuse ends the input before the first of these calls whose argument cannot be
// sent.
func (s *stream) refuse(first, calls int, err error) {
	limit := first
	if culprit, why := s.Cutter.Culprit(first, calls); why != nil {
		limit, err = culprit, why
	}
	s.mu.Lock()
	s.over, s.limit, s.inputErr = true, limit, err
	s.mu.Unlock()
	s.endInput()
}
