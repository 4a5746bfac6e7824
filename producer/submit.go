package producer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/tasks"
)

const (
	// chunkBytes is how large the arguments of an automatically sized chunk get.
	chunkBytes = 1 << 20
	// A round trip of a submission carries about this much at the most, and its script
	// this much of it: a Redis may refuse requests of more than 1 MiB.
	batchBytes  = 4 << 20
	scriptBytes = 512 << 10
	batchChunks = 250
	// maxChunk bounds a chunk of any size: Redis takes values of up to 512 MB.
	maxChunk = 256 << 20
)

// erasedTask is what a submission needs to know of a task.
type erasedTask interface {
	Name() string
	Codec() tasks.Codec
	Policy() call.Policy
}

// encoder encodes the arguments of calls lo to hi-1, for those who read them.
type encoder func(lo, hi int, raw call.Reads) ([]byte, error)

// submit puts a job of n calls into Redis, in as few round trips as its size
// allows, and returns it, tracked.
func (p *Pool) submit(ctx context.Context, t erasedTask, o *options, n int, encode encoder) (submitted *await.Job, err error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.submitting.Done()
	if err := o.policy.Over(t.Policy()).CheckLimits(); err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	if p.watcher.on {
		var end func(*await.Job, error)
		ctx, end = p.watcher.begin(ctx, t, o)
		defer func() { end(submitted, err) }()
	}
	if err := p.inline.Submitting(ctx); err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	size, exact := o.chunkSize, true
	if size == 0 {
		var err error
		if size, err = p.automaticSize(ctx, o.queue, n); err != nil {
			return nil, fmt.Errorf("submitting %q: counting the workers' slots: %w", t.Name(), err)
		}
		exact = false
	}
	s := &submission{
		pool: p, task: t, options: o, calls: n, name: o.key,
		cut: cutter{
			encode: encode, calls: n, size: size, exact: exact, maxArgument: p.cfg.MaxArgument, task: t.Name(),
		},
	}
	send := s.sendOnce
	if s.name == "" {
		s.name, send = rand.Text(), s.send
	}
	submitted, err = send(ctx)
	if err = ended(err); job.IsTooLarge(err) {
		err = fmt.Errorf("refused by Redis for the size of a request: %w; pass a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", err)
	}
	if err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	p.inline.Submitted(ctx, submitted.Over())
	return submitted, nil
}

// automaticSize is Python's rule, with the slots of the whole fleet.
func (p *Pool) automaticSize(ctx context.Context, queue string, n int) (int, error) {
	slots, err := p.fleet.Slots(ctx, queue)
	if err != nil {
		return 0, err
	}
	if slots == 0 {
		slots = runtime.NumCPU()
	}
	return max(1, (n+4*slots-1)/(4*slots)), nil
}

// submission is one job on its way to Redis.
type submission struct {
	pool    *Pool
	task    erasedTask
	options *options
	name    string // of the job
	calls   int
	cut     cutter

	job      *await.Job
	lane     string // of the job
	chunks   int    // sent so far
	digested string // of a job whose ID the caller chose: the digest of what is submitted
}

func (s *submission) send(ctx context.Context) (*await.Job, error) {
	for {
		batch, err := s.cut.next(s.chunks)
		if err == nil {
			err = s.sendBatch(ctx, batch)
		}
		if err != nil {
			s.giveUp(ctx, err)
			return nil, err
		}
		if s.cut.done() {
			s.job.Grow(s.calls, s.chunks, true)
			if within := s.within(); within > 0 {
				s.pool.hub.Expire(s.job, within)
			}
			s.startInTime(s.job, s.chunks)
			return s.job, nil
		}
	}
}

// sendBatch sends chunks and their deliveries. The first batch creates the job.
func (s *submission) sendBatch(ctx context.Context, batch []job.Chunk) error {
	sealed := s.cut.done()
	total := s.chunks + len(batch)
	d, ref := s.describe(total, sealed), job.Ref{Name: s.name}
	if s.job == nil {
		if err := s.pool.protectNew(s.task, ref, &d, s.options.queue, s.calls, batch); err != nil {
			return err
		}
		var err error
		if s.lane, err = s.pool.lane(ctx, s.options.queue, s.name); err != nil {
			return err
		}
		tracked := s.pool.opens(s.task, await.NewJob(s.lane, ref, s.task.Name(), s.calls, total, sealed))
		tracked.Origin = s.options.origin
		if _, err := s.pool.hub.Track(tracked); err != nil { // nobody else has a name that was just drawn
			return err
		}
		s.job = tracked
	} else if err := s.pool.protectMore(s.task, ref, d, s.options.queue, s.calls, batch); err != nil {
		return err
	}
	state, err := s.put(ctx, ref, d, batch, s.chunks == 0)
	if err == nil {
		err = accepted(state)
	}
	if err != nil {
		return err
	}
	if s.chunks == 0 {
		s.pool.listing.note(s.job.ID, s.task.Name(), s.options.queue, sealed && total == 1)
	}
	s.chunks = total
	s.job.MarkSubmitted()
	if s.calls == 0 {
		s.job.MarkEmpty() // no recording will announce the end of nothing
	}
	return nil
}

// put sends a batch of chunks: with the job, if it is new, or as more of it.
func (s *submission) put(ctx context.Context, ref job.Ref, d description, batch []job.Chunk, first bool) (job.State, error) {
	large, err := s.pool.store(ctx, s.lane, s.task.Name(), ref, s.options.start, batch)
	if err != nil {
		return "", err
	}
	if large && s.job != nil {
		s.job.HasLarge()
	}
	entry := job.Add(ref, d.Calls, d.Chunks, !d.Open, 0, batch)
	if first {
		if entry, err = d.entry(ref, batch); err != nil {
			return "", err
		}
	}
	state, err := s.pool.put(ctx, s.lane, entry)
	if err == nil && large && s.job == nil && !(first && state != job.Exists) {
		// Another submitter of the job may have been first. What is the job's stays.
		for _, c := range batch {
			_ = job.Discard(ctx, s.pool.rdb, s.lane, ref.Name, c.Args) // otherwise it goes by itself
		}
	}
	return state, err
}

// describe describes the job with so many chunks.
func (s *submission) describe(chunks int, sealed bool) description {
	d := s.pool.describe(s.task, s.options)
	d.Calls, d.Chunks, d.Open = s.calls, chunks, !sealed
	d.Life += s.options.delay()
	d.Within = s.within()
	if !s.options.start.IsZero() {
		d.About.Start = s.options.start.UnixMilli()
	}
	return d
}

// within is how soon the job must begin; 0 is no limit.
func (s *submission) within() time.Duration {
	if s.options.expiresIn == 0 {
		return 0
	}
	return s.options.delay() + s.options.expiresIn
}

// giveUp removes what has been sent of a job that will not be complete.
func (s *submission) giveUp(ctx context.Context, err error) {
	if s.job == nil {
		return
	}
	s.pool.hub.Drop(s.job, err)
	ctx = context.WithoutCancel(ctx)
	s.pool.submitting.Go(func() {
		// In the background: the caller has waited long enough for a Redis that does
		// not answer. What is left after a failure here goes with its time to live.
		s.pool.answered(s.lane)
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := job.Forget(ctx, s.pool.rdb, s.lane, s.job.Ref); err != nil {
			return
		}
		// Of the last batch it is not known whether it is there.
		unwanted := job.Unwanted{Ref: s.job.Ref, Chunks: make([]int, s.chunks+batchChunks)}
		for i := range unwanted.Chunks {
			unwanted.Chunks[i] = i
		}
		s.pool.sweeper.add(leftover{lane: s.lane, job: unwanted})
	})
}

// cutter cuts the calls of a job into encoded chunks.
type cutter struct {
	encode      encoder
	task        string
	calls       int
	size        int  // calls per chunk
	reduced     int  // calls per chunk for now, where size is too many bytes; 0: size
	exact       bool // size was asked for, and is kept
	maxArgument int

	at int // calls cut so far
}

func (c *cutter) done() bool { return c.at == c.calls }

// next cuts chunks, numbered from first, for one round trip.
func (c *cutter) next(first int) ([]job.Chunk, error) {
	var batch []job.Chunk
	bytes, inScript := 0, 0
	for c.at < c.calls && len(batch) < batchChunks && bytes < batchBytes && inScript < scriptBytes {
		n, data, err := c.one()
		if err != nil {
			return nil, err
		}
		frame := wire.EncodeArgs(c.at, n, data)
		batch = append(batch, job.Chunk{Number: first + len(batch), Args: frame})
		bytes += len(frame)
		if len(frame) < job.LargeFrame {
			inScript += len(frame)
		}
		c.at += n
	}
	return batch, nil
}

// raw says that byte strings may be encoded in the raw form.
func raw() bool { return true }

// one encodes the next chunk.
func (c *cutter) one() (n int, data []byte, err error) {
	n = c.size
	if c.reduced > 0 {
		n = c.reduced
	}
	n = min(n, c.calls-c.at)
	for {
		if data, err = c.encode(c.at, c.at+n, raw); err != nil {
			return 0, nil, c.rebase(err, c.at)
		}
		if len(data) > c.maxArgument {
			if err := c.checkEach(n); err != nil {
				return 0, nil, err
			}
		}
		if c.exact || n == 1 || len(data) <= chunkBytes {
			break
		}
		// Too much for an automatic chunk: aim at the bytes from what was seen, and
		// start the next chunk there too.
		n = min(n-1, max(1, n*chunkBytes/len(data)))
		c.reduced = n
	}
	if c.reduced > 0 && len(data) < chunkBytes/2 {
		c.reduced *= 2 // the large ones are behind us, it seems
		if c.reduced >= c.size {
			c.reduced = 0
		}
	}
	if len(data) > maxChunk {
		return 0, nil, fmt.Errorf("%d calls from call %d on encode to %d bytes, more than the %d that fit into a chunk; use a smaller ChunkSize", n, c.at, len(data), maxChunk)
	}
	return n, data, nil
}

// checkEach finds an argument that is too large by itself.
func (c *cutter) checkEach(n int) error {
	for i := c.at; i < c.at+n; i++ {
		data, err := c.encode(i, i+1, raw)
		if err != nil {
			return c.rebase(err, i)
		}
		if len(data) > c.maxArgument {
			return fmt.Errorf("the argument of call %d of %q encodes to %d bytes, more than Config.MaxArgument allows (%d); pass a reference to the data, or raise the limit", i, c.task, len(data), c.maxArgument)
		}
	}
	return nil
}

// rebase makes the index in an encoding error, which counts from call from,
// count from the start of the job.
func (c *cutter) rebase(err error, from int) error {
	var ae *tasks.ArgError
	if !errors.As(err, &ae) {
		return err
	}
	moved := *ae
	moved.Call += from
	if c.calls == 1 {
		moved.Call = -1 // there is only one: its index says nothing
	}
	return &moved
}
