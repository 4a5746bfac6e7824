package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/internal/wire"
)

const (
	// streamPatience is how long a stream tries to send to a Redis that does not
	// take it, before it ends with Redis's error.
	streamPatience = 10 * time.Second
	// sendGrace is how long a loop that was left waits for a round trip that is
	// under way, inputGrace for an input that is being read.
	sendGrace  = 2 * time.Second
	inputGrace = time.Second
	// windowChunks is how many chunks per slot an automatic window holds.
	windowChunks = 4
)

// stream is one loop over a stream, without its types. Three goroutines have a
// part in it: the reader appends arguments, the sender submits them as chunks and
// collects outcomes, the loop yields these. The job is open while the input is,
// and is known to no other process.
type stream struct {
	*submit.Outgoing
	failure error                   // what the loop got as its last pair; of the loop
	watched func(*await.Job, error) // ends what observers see of it

	wake      chan struct{} // to the sender: the reader has something
	room      chan struct{} // to the reader: the window may have moved
	arrived   chan struct{} // to the loop: there is something in ready, or the end
	stop      chan struct{} // closed when the loop is over
	inputRead chan struct{} // closed when the reader has ended
	sent      chan struct{} // closed when the sender has ended

	// The window: the reader adds to read, the loop to yielded, and their
	// difference stays within window. The loop wakes the reader when it is full and
	// slack calls have become free: one by one would cost a switch for each call.
	read    atomic.Int64
	yielded atomic.Int64
	window  atomic.Int64
	slack   atomic.Int64
	full    atomic.Bool

	reading  context.Context // ends when the reader shall stop
	endInput context.CancelFunc

	mu       sync.Mutex // guards all below
	wanted   int        // arguments that are worth waking the sender for
	over     bool       // the input has ended
	inputErr error      // not by itself, but by this
	limit    int        // calls from this one on are not sent
	ready    []wire.Outcome
	ended    bool // nothing is added to ready any more
	err      error

	// Of the sender, as the Outgoing is. The loop reads its Job once it has outcomes of it.
	sendCtx context.Context
	abort   context.CancelFunc
	pace    pace
	drop    func(before int) // forgets the arguments of the calls before that one
}

// open begins a loop. Its errors, and those of the stream, lack what they are about.
func open(ctx context.Context, p *submit.Pool, t submit.Task, o *submit.Options) (*stream, error) {
	if o.Key != "" || o.ExpiresIn != 0 || o.Delayed != "" {
		return nil, errors.New("the options ID, ExpiresIn, Delay and At are for jobs whose calls are known at once; leave them out, or use MapAsync")
	}
	out, err := p.NewOutgoing(t, o, submit.UnknownTotal)
	if err != nil {
		return nil, err
	}
	s := &stream{
		Outgoing: out,
		wake:     make(chan struct{}, 1), room: make(chan struct{}, 1), arrived: make(chan struct{}, 1),
		stop: make(chan struct{}), inputRead: make(chan struct{}), sent: make(chan struct{}),
		limit: math.MaxInt, pace: pace{size: 1, slots: runtime.NumCPU(), noted: time.Now()},
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	left, err := p.Enter()
	if err != nil {
		return nil, err
	}
	left()
	if err := s.resize(ctx); err != nil {
		return nil, fmt.Errorf("counting the workers' slots: %w", err)
	}
	ctx, s.watched = s.Watch(ctx)
	s.sendCtx, s.abort = context.WithCancel(context.WithoutCancel(ctx))
	s.reading, s.endInput = context.WithCancel(s.sendCtx)
	s.Retry = func(try func() (job.State, error)) (job.State, error) { return insist(s, try) }
	return s, nil
}

func kick(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// inputEnds is called by the reader.
func (s *stream) inputEnds(err error) {
	s.mu.Lock()
	s.over = true
	if err != nil && s.inputErr == nil {
		s.inputErr = err
	}
	s.mu.Unlock()
	kick(s.wake)
}

// inputPanicked is the error of an input that panicked with p.
func (s *stream) inputPanicked(p any) error {
	text := guard.Text(p)
	s.Pool.Logger.Error("the input of a stream panicked", "task", s.Task.Name(), "panic", text, "stack", string(debug.Stack()))
	err, _ := p.(error)
	return &inputPanic{text, err}
}

// inputPanic is the error of an input that panicked, with the text of what it panicked
// with: the methods of that are not called any more unless somebody looks for it.
type inputPanic struct {
	text string
	err  error // nil if it was no error
}

func (e *inputPanic) Error() string { return "the input panicked: " + e.text }
func (e *inputPanic) Unwrap() error { return e.err }

// awaitRoom is called by the reader before it reads on. It returns false when the
// stream has ended.
func (s *stream) awaitRoom() bool {
	if s.read.Load()-s.yielded.Load() >= s.window.Load() {
		s.full.Store(true)
		defer s.full.Store(false)
		for !s.roomy() {
			select {
			case <-s.room:
			case <-s.reading.Done():
				return false
			}
		}
	}
	return s.reading.Err() == nil
}

func (s *stream) roomy() bool {
	return s.read.Load()-s.yielded.Load() <= s.window.Load()-s.slack.Load()
}

// delivered is called by the loop for each call that it yields.
func (s *stream) delivered() {
	s.yielded.Add(1)
	if s.full.Load() && s.roomy() {
		kick(s.room)
	}
}

// arrivals waits for outcomes, or for the end of the stream and its error.
func (s *stream) arrivals(ctx context.Context) (ready []wire.Outcome, ended bool, err error) {
	for {
		s.mu.Lock()
		ready, ended, err = s.ready, s.ended, s.err
		s.ready = nil
		s.mu.Unlock()
		if ended || len(ready) > 0 {
			return ready, ended, err
		}
		deadlock, leave := nested.Enter(ctx, nested.Job{ID: s.ID(), Task: s.Task.Name(), Queue: s.Options.Queue})
		select {
		case <-s.arrived:
		case err = <-deadlock:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		leave()
		if err != nil {
			return nil, true, err
		}
	}
}

// leave ends what is left of the stream when its loop is over.
func (s *stream) leave() {
	close(s.stop)
	s.endInput()
	// A round trip under way is let pass: the creation of a job that was canceled
	// here could still happen in Redis, after the job is forgotten.
	grace := time.AfterFunc(sendGrace, s.abort)
	<-s.sent
	grace.Stop()
	s.abort()
	select {
	case <-s.inputRead:
	case <-time.After(inputGrace):
	}
	defer func() { s.watched(s.Job, s.failure) }()
	if s.Job == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), streamPatience/2)
	defer cancel()
	if err := s.Pool.Hub.Forget(ctx, s.Job); err != nil && !errors.Is(err, await.ErrClosed) {
		s.Pool.Logger.Warn("the record of a stream that is over stays until its time to live has passed", "job", s.Job.ID, "task", s.Task.Name(), "error", err)
	}
	s.Job.Fail(await.ErrCanceled)
}
