package submit

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
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
	if err := s.makeDigest(); err != nil {
		return nil, err
	}
	id := s.Options.id()
	for range creations {
		created, err := s.create(ctx)
		if err == nil && !created {
			err = s.join(ctx)
		}
		if errors.Is(err, errVanished) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", id, err)
		}
		// The record may name another pool's reply channel, and may be over: waiting
		// for it is what attaching does.
		attached, err := s.Pool.adopt(ctx, s.Task, id, s.Options.Origin, s.same)
		if errors.Is(err, await.ErrUnknownJob) {
			continue
		}
		if err == nil && created {
			s.startInTime(attached, attached.Counts().Chunks)
		}
		return attached, err
	}
	return nil, fmt.Errorf("job %s: its record disappeared %d times while it was submitted: is it being forgotten elsewhere, or does Redis evict keys (maxmemory-policy)?", id, creations)
}

var errVanished = errors.New("the record has disappeared")

// create creates the record and sends all of the job, unless the name is taken.
func (s *submission) create(ctx context.Context) (created bool, err error) {
	s.Ref = job.Ref{Name: s.Options.Key, Gen: rand.Text()[:8]}
	if s.Lane, err = s.Pool.router.Find(ctx, s.Options.Queue, s.Ref.Name); err != nil {
		return false, err
	}
	s.Pool.Hub.Listen(ctx, s.Lane)
	s.cutter.rewind()
	s.cut = s.cutter.rule()
	state, err := s.sendFrom(ctx, 0)
	return state != job.Exists, err
}

// join completes the job that exists under the name, if it is this one.
func (s *submission) join(ctx context.Context) error {
	snap, err := job.Read(ctx, s.Pool.Redis, s.Lane, s.Ref.Name)
	if err == nil && snap.State == job.Gone {
		err = errVanished
	}
	if err == nil {
		err = s.Pool.trust(snap, s.Options.Queue)
	}
	if err == nil {
		err = s.same(snap)
	}
	if err != nil || snap.State != job.Open {
		return err
	}
	more, options := *s, *s.Options // as it was begun
	more.Options = &options
	more.Ref, more.Policy = snap.Ref, snap.About.Policy
	if snap.About.Start > 0 {
		options.Start = time.UnixMilli(snap.About.Start)
	}
	if err := more.cutter.follow(snap.About.Cut); err != nil {
		return err
	}
	_, err = more.sendFrom(ctx, snap.Chunks)
	return err
}

// same says what makes the job that has the ID another one.
func (s *submission) same(snap job.Snapshot) error {
	codec := s.Task.Codec().Name()
	what := ""
	switch {
	case s.sameSum(snap.About.Sum) && snap.About.Task == s.Task.Name():
		return nil
	case snap.About.Task != s.Task.Name():
		what = fmt.Sprintf("it is of task %q, not %q", snap.About.Task, s.Task.Name())
	case snap.About.Codec != codec:
		what = fmt.Sprintf("its arguments are encoded with codec %q, not %q", snap.About.Codec, codec)
	case snap.About.Sum == "":
		what = "it was submitted without an ID of the caller's choice"
	case snap.State != job.Open && snap.Calls != s.Total:
		what = fmt.Sprintf("it has %d calls, not %d", snap.Calls, s.Total)
	default:
		what = "its arguments are not the same"
	}
	return fmt.Errorf("%w: %s; use another ID, or forget that job", results.ErrIDTaken, what)
}

// digestCalls is how many arguments are encoded together to be digested. It is
// part of the digest: programs that share a Redis must agree on it.
const digestCalls = 256

// makeDigest identifies codec and arguments. That does not depend on how the job is
// cut, which follows the number of workers.
func (s *submission) makeDigest() (err error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d\n", s.Task.Codec().Name(), s.Total)
	for at := 0; at < s.Total; at += digestCalls {
		data, err := s.cutter.Encode(at, min(at+digestCalls, s.Total), nil) // the same whoever reads it
		if err != nil {
			return s.cutter.rebase(err, at)
		}
		fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	s.digest = hex.EncodeToString(h.Sum(nil))
	s.sum = s.digest
	if sealer, ok := s.Task.Codec().(tasks.SealingCodec); ok { // it must not tell what is encrypted
		s.sum, err = sealer.Fingerprint([]byte(s.digest), "")
	}
	return err
}

// sameSum reports whether a stored digest is that of this submission.
func (s *submission) sameSum(stored string) bool {
	if stored == s.sum {
		return true
	}
	sealer, ok := s.Task.Codec().(tasks.SealingCodec)
	if !ok || stored == "" {
		return false
	}
	again, err := sealer.Fingerprint([]byte(s.digest), stored) // it may be of an older key
	return err == nil && again == stored
}
