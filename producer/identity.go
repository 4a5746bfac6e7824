package producer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/results"
)

// A job whose ID the caller chose may be submitted by several processes at once.
// Whoever creates its record sends the rest as usual. Everybody else, once it is
// known to be the same job, completes it: adds the chunks that are missing and
// enqueues what has no outcomes, since the creator may have died at any point.
// All of that is idempotent. Deliveries are enqueued only when the record is
// known to be this job's: never in one pipeline with its creation.

// creations is how often a record is created that disappears (expired,
// forgotten) before it can be read.
const creations = 5

// sendOnce is send for a job whose ID the caller chose.
func (s *submission) sendOnce(ctx context.Context) (*await.Job, error) {
	sum, err := s.digest()
	if err != nil {
		return nil, err
	}
	for range creations {
		created, err := s.create(ctx, sum)
		if err != nil {
			return nil, err
		}
		if !created {
			err = s.join(ctx, sum)
		}
		if errors.Is(err, errVanished) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// The record may name another pool's reply channel, and may be over: waiting
		// for it is what attaching does.
		job, err := s.pool.hub.Attach(ctx, s.options.id, s.options.origin, func(snap record.Snapshot) error {
			if _, err := s.pool.trust(ctx, snap); err != nil {
				return err
			}
			return s.same(snap, sum)
		}, s.pool.opener(s.task, s.options.id, s.options.queue))
		if errors.Is(err, await.ErrUnknownJob) || errors.Is(err, errVanished) {
			continue
		}
		if err == nil && created {
			s.startInTime(job, job.Counts().Chunks)
		}
		return job, err
	}
	return nil, fmt.Errorf("job %s: its record disappeared %d times while it was submitted: is it being forgotten elsewhere, or does Redis evict keys (maxmemory-policy)?", s.options.id, creations)
}

var errVanished = errors.New("the record has disappeared")

// create creates the record and sends all of the job, unless the ID exists.
func (s *submission) create(ctx context.Context, sum string) (created bool, err error) {
	id, queue, task := s.options.id, s.options.queue, s.task.Name()
	s.cut.rewind()
	batch, err := s.cut.next(0)
	if err != nil {
		return false, err
	}
	j := s.record(id, len(batch), s.cut.done())
	j.Sum, j.Cut, j.Gen = sum, s.cut.rule(), rand.Text()[:8]
	if err := s.pool.protectNew(s.task, &j, s.calls, batch); err != nil {
		return false, err
	}
	ref := record.Ref{ID: id, Gen: j.Gen}
	reply, err := s.pool.broker.Submit(ctx, record.Create(j, batch), queue, task, nil)
	if err != nil {
		return false, err
	}
	if n, err := reply.Int(); err != nil || n == 0 {
		return false, err
	}
	s.pool.listing.note(id, task, queue, j.Inline())
	if err := s.pool.broker.EnqueueAt(ctx, queue, task, deliveries(ref, batch), s.options.start); err != nil {
		return false, err
	}
	for sent := len(batch); !s.cut.done(); sent += len(batch) {
		if batch, err = s.cut.next(sent); err != nil {
			return false, err
		}
		if s.pool.protects(s.task) {
			if err := s.pool.protect(s.task, j, s.calls, batch); err != nil {
				return false, err
			}
		}
		op := record.Add(ref, s.calls, sent+len(batch), s.cut.done(), batch)
		if _, err := s.pool.broker.SubmitAt(ctx, op, queue, task, deliveries(ref, batch), s.options.start); err != nil {
			return false, err
		}
	}
	return true, nil
}

// join completes the job that exists under the ID, if it is this one.
func (s *submission) join(ctx context.Context, sum string) error {
	snap, err := record.Read(ctx, s.pool.rdb, s.options.id)
	if err != nil {
		return err
	}
	if snap.State == record.Gone {
		return errVanished
	}
	policy, err := s.pool.trust(ctx, snap)
	if err == nil {
		err = s.same(snap, sum)
	}
	if err != nil {
		return err
	}
	if snap.State == record.Open {
		if err := s.addMissing(ctx, snap, policy); err != nil {
			return err
		}
	}
	chunks, err := record.Unrecorded(ctx, s.pool.rdb, snap)
	if err != nil {
		return err
	}
	ds := make([]wire.Delivery, len(chunks))
	for i, k := range chunks {
		ds[i] = wire.Delivery{Job: snap.ID, Gen: snap.Gen, Chunk: k, Number: 1}
	}
	var start time.Time
	if snap.Start > 0 {
		start = time.UnixMilli(snap.Start)
	}
	for len(ds) > 0 {
		n := min(batchChunks, len(ds))
		if err := s.pool.broker.EnqueueAt(ctx, snap.Queue, snap.Task, ds[:n], start); err != nil {
			return err
		}
		ds = ds[n:]
	}
	return nil
}

// addMissing adds the chunks that an open job lacks, cut as it was begun.
func (s *submission) addMissing(ctx context.Context, snap record.Snapshot, policy string) error {
	if err := s.cut.follow(snap.Cut); err != nil {
		return fmt.Errorf("job %s: %w", snap.ID, err)
	}
	for sent := 0; !s.cut.done(); {
		batch, err := s.cut.next(sent)
		if err != nil {
			return err
		}
		sent += len(batch)
		if sent <= snap.Chunks && !s.cut.done() {
			continue // it has these
		}
		if s.pool.protects(s.task) {
			if err := s.pool.protect(s.task, s.others(snap, policy), s.calls, batch); err != nil {
				return err
			}
		}
		op := record.Add(record.Ref{ID: snap.ID, Gen: snap.Gen}, s.calls, sent, s.cut.done(), batch)
		reply, err := s.pool.broker.Submit(ctx, op, snap.Queue, snap.Task, nil)
		if err != nil {
			return err
		}
		switch state, err := reply.Text(); {
		case err != nil:
			return err
		case record.State(state) == record.Gone:
			return errVanished
		case record.State(state) != record.Open:
			return nil // complete, by us or by somebody else
		}
	}
	return nil
}

// same says what makes the job that has the ID another one.
func (s *submission) same(snap record.Snapshot, sum string) error {
	codec := s.task.Codec().Name()
	what := ""
	switch {
	case s.sameSum(snap.Sum, sum) && snap.Task == s.task.Name():
		return nil
	case snap.Task != s.task.Name():
		what = fmt.Sprintf("it is of task %q, not %q", snap.Task, s.task.Name())
	case snap.Codec != codec:
		what = fmt.Sprintf("its arguments are encoded with codec %q, not %q", snap.Codec, codec)
	case snap.Sum == "":
		what = "it was submitted without an ID of the caller's choice"
	case snap.State != record.Open && snap.Calls != s.calls:
		what = fmt.Sprintf("it has %d calls, not %d", snap.Calls, s.calls)
	default:
		what = "its arguments are not the same"
	}
	return fmt.Errorf("job %s: %w: %s; use another ID, or forget that job", snap.ID, results.ErrIDTaken, what)
}

// digestCalls is how many arguments are encoded together to be digested. It is
// part of the digest: programs that share a Redis must agree on it.
const digestCalls = 256

// digest identifies codec and arguments. It does not depend on how the job is
// cut, which follows the number of workers.
func (s *submission) digest() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d\n", s.task.Codec().Name(), s.calls)
	for at := 0; at < s.calls; at += digestCalls {
		data, err := s.cut.encode(at, min(at+digestCalls, s.calls), nil) // the same whoever reads it
		if err != nil {
			return "", s.cut.rebase(err, at)
		}
		fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	s.digested = hex.EncodeToString(h.Sum(nil))
	return s.sum(s.digested)
}

// rewind starts over.
func (c *cutter) rewind() { c.at, c.reduced = 0, 0 }

// rule is what follow needs to cut the same arguments in the same way.
func (c *cutter) rule() string {
	if c.exact {
		return strconv.Itoa(c.size)
	}
	return automaticCut + strconv.Itoa(c.size)
}

// automaticCut marks a size that gives way where the arguments are large.
const automaticCut = "~"

// follow starts over, by the rule of another cutter.
func (c *cutter) follow(rule string) error {
	digits, automatic := strings.CutPrefix(rule, automaticCut)
	size, err := strconv.Atoi(digits)
	if err != nil || size < 1 {
		return fmt.Errorf("%w: field cut is %q", await.ErrCorrupt, rule)
	}
	c.rewind()
	c.size, c.exact = size, !automatic
	return nil
}
