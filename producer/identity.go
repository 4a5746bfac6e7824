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
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/results"
)

// A job of a name that the caller chose may be submitted by several processes at once.
// The one that creates its record sends the rest as usual. Every other one, once it is
// known to be the same job, completes it: it adds the chunks that are missing, since the
// creator may have died at any point. All of that is idempotent.

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
		if err == nil && !created {
			err = s.join(ctx, sum)
		}
		if errors.Is(err, errVanished) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", s.options.id, err)
		}
		// The record may name another pool's reply channel, and may be over: waiting
		// for it is what attaching does.
		attached, err := s.pool.adopt(ctx, s.task, s.options.id, s.options.origin, func(snap job.Snapshot) error { return s.same(snap, sum) })
		if errors.Is(err, await.ErrUnknownJob) {
			continue
		}
		if err == nil && created {
			s.startInTime(attached, attached.Counts().Chunks)
		}
		return attached, err
	}
	return nil, fmt.Errorf("job %s: its record disappeared %d times while it was submitted: is it being forgotten elsewhere, or does Redis evict keys (maxmemory-policy)?", s.options.id, creations)
}

var errVanished = errors.New("the record has disappeared")

// create creates the record and sends all of the job, unless the name is taken.
func (s *submission) create(ctx context.Context, sum string) (created bool, err error) {
	if s.lane, err = s.pool.router.Find(ctx, s.options.queue, s.name); err != nil {
		return false, err
	}
	s.pool.hub.Listen(ctx, s.lane)
	s.cut.rewind()
	ref := job.Ref{Name: s.name, Gen: rand.Text()[:8]}
	for sent := 0; sent == 0 || !s.cut.done(); {
		batch, err := s.cut.next(sent)
		if err != nil {
			return false, err
		}
		first := sent == 0
		sent += len(batch)
		d := s.describe(sent, s.cut.done())
		d.About.Sum, d.About.Cut = sum, s.cut.rule()
		if first {
			err = s.pool.protectNew(s.task, ref, &d, s.options.queue, s.calls, batch)
		} else {
			err = s.pool.protectMore(s.task, ref, d, s.options.queue, s.calls, batch)
		}
		if err != nil {
			return false, err
		}
		state, err := s.put(ctx, ref, d, batch, first)
		switch {
		case err != nil:
			return false, err
		case first && state == job.Exists:
			return false, nil
		case first:
			s.pool.listing.note(s.options.id, s.task.Name(), s.options.queue, s.cut.done() && sent == 1)
		}
		if err := s.made(state); err != nil || s.calls == 0 {
			return err == nil, err
		}
	}
	return true, nil
}

// made is the error of an entry that was not made. A job that is complete or over has got the
// chunks already: by another submitter.
func (s *submission) made(state job.State) error {
	switch state {
	case job.Gone:
		return errVanished
	case job.Canceled:
		return nil
	}
	return accepted(state)
}

// join completes the job that exists under the name, if it is this one.
func (s *submission) join(ctx context.Context, sum string) error {
	snap, err := job.Read(ctx, s.pool.rdb, s.lane, s.name)
	if err != nil {
		return err
	}
	if snap.State == job.Gone {
		return errVanished
	}
	if err = s.pool.trust(snap, s.options.queue); err == nil {
		err = s.same(snap, sum)
	}
	if err == nil && snap.State == job.Open {
		err = s.addMissing(ctx, snap)
	}
	return err
}

// addMissing adds the chunks that an open job lacks, cut as it was begun.
func (s *submission) addMissing(ctx context.Context, snap job.Snapshot) error {
	if err := s.cut.follow(snap.About.Cut); err != nil {
		return err
	}
	if snap.About.Start > 0 {
		s.options.start = time.UnixMilli(snap.About.Start)
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
		d := s.describe(sent, s.cut.done())
		d.About.Policy = snap.About.Policy
		if err := s.pool.protectMore(s.task, snap.Ref, d, s.options.queue, s.calls, batch); err != nil {
			return err
		}
		state, err := s.put(ctx, snap.Ref, d, batch, false)
		if err == nil {
			err = s.made(state)
		}
		if err != nil || state != job.Open {
			return err // complete, by us or by another submitter
		}
	}
	return nil
}

// same says what makes the job that has the ID another one.
func (s *submission) same(snap job.Snapshot, sum string) error {
	codec := s.task.Codec().Name()
	what := ""
	switch {
	case s.sameSum(snap.About.Sum, sum) && snap.About.Task == s.task.Name():
		return nil
	case snap.About.Task != s.task.Name():
		what = fmt.Sprintf("it is of task %q, not %q", snap.About.Task, s.task.Name())
	case snap.About.Codec != codec:
		what = fmt.Sprintf("its arguments are encoded with codec %q, not %q", snap.About.Codec, codec)
	case snap.About.Sum == "":
		what = "it was submitted without an ID of the caller's choice"
	case snap.State != job.Open && snap.Calls != s.calls:
		what = fmt.Sprintf("it has %d calls, not %d", snap.Calls, s.calls)
	default:
		what = "its arguments are not the same"
	}
	return fmt.Errorf("%w: %s; use another ID, or forget that job", results.ErrIDTaken, what)
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
