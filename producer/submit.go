package producer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/broker"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
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
	batchChunks = 500
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
func (p *Pool) submit(ctx context.Context, t erasedTask, o options, n int, encode encoder) (job *await.Job, err error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.submitting.Done()
	if err := o.policy.Over(t.Policy()).CheckLimits(); err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	if p.watcher.on {
		var end func(*await.Job, error)
		ctx, end = p.watcher.begin(ctx, t, &o)
		defer func() { end(job, err) }()
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
		pool: p, task: t, options: o, calls: n,
		cut: cutter{
			encode: encode, calls: n, size: size, exact: exact, maxArgument: p.cfg.MaxArgument, task: t.Name(),
			big: func() bool { return p.fleet.ReadsBig(ctx, o.queue) }, chosen: o.id != "",
		},
	}
	send := s.send
	if o.id != "" {
		send = s.sendOnce
	}
	job, err = send(ctx)
	if err = ended(err); record.IsTooLarge(err) {
		err = fmt.Errorf("refused by Redis for the size of a request: %w; pass a reference to the data, use a smaller ChunkSize, or raise the limit of Redis", err)
	}
	if err != nil {
		return nil, fmt.Errorf("submitting %q: %w", t.Name(), err)
	}
	p.inline.Submitted(ctx, job.Done())
	return job, nil
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
	options options
	calls   int
	cut     cutter

	job      *await.Job
	chunks   int    // sent so far
	failed   sent   // of which it is not known how much is there
	digested string // of a job whose ID the caller chose: the digest of what is submitted
}

// sent is a batch on its way.
type sent struct {
	op     record.Op
	chunks int // so many the job would have with it
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
func (s *submission) sendBatch(ctx context.Context, batch []record.Chunk) error {
	sealed := s.cut.done()
	total := s.chunks + len(batch)
	var op record.Op
	if s.job == nil {
		id := names.Address{Queue: s.options.queue, Name: rand.Text()}.String()
		j := s.record(id, total, sealed)
		if err := s.pool.protectNew(s.task, &j, s.calls, batch); err != nil {
			return err
		}
		job := s.pool.opens(s.task, await.NewJob(id, s.task.Name(), s.options.queue, s.calls, total, sealed))
		job.Origin = s.options.origin
		if _, err := s.pool.hub.Track(job); err != nil { // nobody else has an ID that was just drawn
			return err
		}
		s.job = job
		op = record.Create(j, batch)
	} else {
		if err := s.protectMore(batch); err != nil {
			return err
		}
		op = record.Add(record.Ref{ID: s.job.ID}, s.calls, total, sealed, batch)
	}
	if _, err := s.pool.broker.SubmitAt(ctx, op, s.options.queue, s.task.Name(), deliveries(record.Ref{ID: s.job.ID}, batch), s.options.start); err != nil {
		s.failed = sent{op, total}
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

// record describes the job as it is created.
func (s *submission) record(id string, chunks int, sealed bool) record.Job {
	return record.Job{
		ID: id, Task: s.task.Name(), Codec: s.task.Codec().Name(),
		Reply: s.pool.hub.Channel(), Policy: s.options.policy.Over(s.task.Policy()).Encode(), Calls: s.calls, Chunks: chunks, Sealed: sealed,
		Headers: s.options.headers,
		OpenTTL: s.pool.cfg.JobTTL + s.options.delay(), ResultTTL: s.options.ttl,
		Start: s.options.start, Within: s.within(),
	}
}

// within is how soon the job must begin; 0 is no limit.
func (s *submission) within() time.Duration {
	if s.options.expiresIn == 0 {
		return 0
	}
	return s.options.delay() + s.options.expiresIn
}

// deliveries are the first deliveries of the chunks.
func deliveries(job record.Ref, chunks []record.Chunk) []wire.Delivery {
	ds := make([]wire.Delivery, len(chunks))
	for i, c := range chunks {
		ds[i] = wire.Delivery{Job: job.ID, Gen: job.Gen, Chunk: c.Number, Number: 1}
	}
	return ds
}

// giveUp removes what has been sent of a job that will not be complete.
func (s *submission) giveUp(ctx context.Context, err error) {
	if s.job == nil {
		return
	}
	s.pool.hub.Drop(s.job, err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	s.pool.submitting.Go(func() {
		// In the background: the caller has waited long enough for a Redis that does
		// not answer. What is left after a failure here goes with its time to live.
		defer cancel()
		if _, err := record.Forget(ctx, s.pool.rdb, s.job.ID); err != nil {
			return
		}
		_ = s.failed.op.DropLarge(ctx, s.pool.rdb)
		job := broker.Unwanted{Job: record.Ref{ID: s.job.ID}, Chunks: make([]int, max(s.chunks, s.failed.chunks))}
		for i := range job.Chunks {
			job.Chunks[i] = i
		}
		s.pool.sweeper.add(leftover{queue: s.options.queue, job: job})
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
	big         call.Reads // whether the workers know the forms of what is large
	chosen      bool       // the ID is the caller's, and others may have to cut the calls in the same way

	at int // calls cut so far
}

func (c *cutter) done() bool { return c.at == c.calls }

// next cuts chunks, numbered from first, for one round trip.
func (c *cutter) next(first int) ([]record.Chunk, error) {
	var batch []record.Chunk
	bytes, inScript := 0, 0
	for c.at < c.calls && len(batch) < batchChunks && bytes < batchBytes && inScript < scriptBytes {
		n, data, err := c.one()
		if err != nil {
			return nil, err
		}
		frame := wire.EncodeArgs(c.at, n, data)
		apart := len(frame) >= record.LargeFrame && c.big != nil && c.big()
		batch = append(batch, record.Chunk{Number: first + len(batch), Args: frame, Apart: apart})
		bytes += len(frame)
		if !apart {
			inScript += len(frame)
		}
		c.at += n
	}
	return batch, nil
}

// reads says whether the raw form may be used. That depends on the workers that live just
// now, and how calls are cut that somebody else may have to cut must not: there it is not
// used where the cut follows from the bytes.
func (c *cutter) reads() call.Reads {
	if c.chosen && !c.exact && c.size > 1 {
		return nil
	}
	return c.big
}

// one encodes the next chunk.
func (c *cutter) one() (n int, data []byte, err error) {
	n = c.size
	if c.reduced > 0 {
		n = c.reduced
	}
	n = min(n, c.calls-c.at)
	for {
		if data, err = c.encode(c.at, c.at+n, c.reads()); err != nil {
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
		data, err := c.encode(i, i+1, c.reads())
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
