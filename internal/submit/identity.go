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
func (o *Outgoing) sendOnce(ctx context.Context) (*await.Job, error) {
	if err := o.makeDigest(); err != nil {
		return nil, err
	}
	id := o.ID()
	for range creations {
		created, err := o.create(ctx)
		if err == nil && !created {
			err = o.join(ctx)
		}
		if errors.Is(err, errVanished) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("job %s: %w", id, err)
		}
		// The record may name another pool's reply channel, and may be over: waiting
		// for it is what attaching does.
		attached, err := o.Pool.adopt(ctx, o.Task, id, o.Options.Origin, o.same)
		if errors.Is(err, await.ErrUnknownJob) {
			continue
		}
		if err == nil && created {
			o.startInTime(attached)
		}
		return attached, err
	}
	return nil, fmt.Errorf("job %s: its record disappeared %d times while it was submitted: is it being forgotten elsewhere, or does Redis evict keys (maxmemory-policy)?", id, creations)
}

// create creates the record and sends all of the job, unless the name is taken.
func (o *Outgoing) create(ctx context.Context) (created bool, err error) {
	o.Ref.Gen, o.Chunks, o.created = rand.Text()[:8], 0, false
	if o.Lane, err = o.Pool.router.Find(ctx, o.Options.Queue, o.Ref.Name); err != nil {
		return false, err
	}
	o.Pool.Hub.Listen(ctx, o.Lane)
	o.Cutter.rewind()
	o.About.Cut = o.Cutter.rule()
	state, err := o.sendFrom(ctx, 0)
	return state != job.Exists, err
}

// join completes the job that exists under the name, if it is this one.
func (o *Outgoing) join(ctx context.Context) error {
	snap, err := job.Read(ctx, o.Pool.Redis, o.Lane, o.Ref.Name)
	if err == nil && snap.State == job.Gone {
		err = errVanished
	}
	if err == nil {
		err = o.Pool.trust(snap, o.Options.Queue)
	}
	if err == nil {
		err = o.same(snap)
	}
	if err != nil || snap.State != job.Open {
		return err
	}
	out, options := *o, *o.Options // as it was begun
	out.Options, out.Ref, out.About, out.Chunks, out.created = &options, snap.Ref, snap.About, 0, true
	if snap.About.Start > 0 {
		options.Start = time.UnixMilli(snap.About.Start)
	}
	if err := out.Cutter.follow(snap.About.Cut); err != nil {
		return err
	}
	_, err = out.sendFrom(ctx, snap.Chunks)
	return err
}

// same says what makes the job that has the ID another one.
func (o *Outgoing) same(snap job.Snapshot) error {
	codec := o.Task.Codec().Name()
	what := ""
	switch {
	case o.sameSum(snap.About.Sum) && snap.About.Task == o.Task.Name():
		return nil
	case snap.About.Task != o.Task.Name():
		what = fmt.Sprintf("it is of task %q, not %q", snap.About.Task, o.Task.Name())
	case snap.About.Codec != codec:
		what = fmt.Sprintf("its arguments are encoded with codec %q, not %q", snap.About.Codec, codec)
	case snap.About.Sum == "":
		what = "it was submitted without an ID of the caller's choice"
	case snap.State != job.Open && snap.Calls != o.Total:
		what = fmt.Sprintf("it has %d calls, not %d", snap.Calls, o.Total)
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
func (o *Outgoing) makeDigest() (err error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d\n", o.Task.Codec().Name(), o.Total)
	for at := 0; at < o.Total; at += digestCalls {
		data, err := o.Cutter.Encode(at, min(at+digestCalls, o.Total))
		if err != nil {
			return o.Cutter.rebase(err, at)
		}
		fmt.Fprintf(h, "%d\n%s", len(data), data)
	}
	o.digest = hex.EncodeToString(h.Sum(nil))
	o.About.Sum = o.digest
	if sealer, ok := o.Task.Codec().(tasks.SealingCodec); ok { // it must not tell what is encrypted
		o.About.Sum, err = sealer.Fingerprint([]byte(o.digest), "")
	}
	return err
}

// sameSum reports whether a stored digest is that of this submission.
func (o *Outgoing) sameSum(stored string) bool {
	if stored == o.About.Sum {
		return true
	}
	sealer, ok := o.Task.Codec().(tasks.SealingCodec)
	if !ok || stored == "" {
		return false
	}
	again, err := sealer.Fingerprint([]byte(o.digest), stored) // it may be of an older key
	return err == nil && again == stored
}
