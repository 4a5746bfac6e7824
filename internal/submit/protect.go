package submit

import (
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// What leaves a producer is sealed when the task's codec seals, and signed when the
// pool has a keyring; what comes back is checked and opened by await.Job.Open. All
// of it is here, and a pool with neither pays two comparisons for a submission.

// protects reports whether there is anything to do.
func (p *Pool) protects(t Task) bool {
	_, seals := t.Codec().(tasks.SealingCodec)
	return seals || p.signer != nil
}

// frames seals and opens what is of the place, if the task's codec does.
func frames(t Task, at signing.Place) (f sealing.Frames, seals bool) {
	sealer, seals := t.Codec().(tasks.SealingCodec)
	return sealing.Frames{Sealer: sealer, Job: at.Job, Task: at.Task, Chunk: at.Chunk}, seals
}

// signedTerms is what the signatures of a job of the queue bind, but for when they expire.
func signedTerms(a job.About, queue string, total int) signing.Terms {
	return signing.Terms{Codec: a.Codec, Queue: queue, Policy: a.Policy, Total: total, NotBefore: a.Start}
}

// refOf is a job of the queue, as signatures name it.
func refOf(queue string, ref job.Ref) signing.Ref {
	return signing.Ref{ID: names.Address{Queue: queue, Name: ref.Name}.String(), Gen: ref.Gen}
}

// protect seals and signs the arguments of chunks, and, with the first ones, signs the
// description of the job, which lives for life.
func (o *Outgoing) protect(life time.Duration, batch []job.Chunk) error {
	if !o.Pool.protects(o.Task) {
		return nil
	}
	signer, at := o.Pool.signer, signing.Place{Job: refOf(o.Options.Queue, o.Ref), Task: o.Task.Name()}
	terms := signedTerms(o.About, o.Options.Queue, o.Total)
	terms.Expires = time.Now().Add(life).UnixMilli()
	if !o.created {
		of, place := terms, at
		if o.Total == UnknownTotal {
			of.Expires = 0 // a stream renews its time to live, but not this
		} else {
			of.Expires += o.Options.TTL.Milliseconds()
		}
		place.What, place.Chunk = secure.JobRecord, -1
		o.About.Sig = signer.Text(place, of, o.About.Sum, o.About.Cut)
	}
	at.What = secure.Arguments
	for i, c := range batch {
		at.Chunk = c.Number
		if f, seals := frames(o.Task, at); seals {
			sealed, err := f.Args(c.Args)
			if err != nil {
				return fmt.Errorf("encrypting arguments: %w", err)
			}
			c.Args = sealed
		}
		batch[i].Args = signer.Frame(at, terms, c.Args)
	}
	return nil
}

// trust checks the signature of a job of the queue that another pool has made.
func (p *Pool) trust(snap job.Snapshot, queue string) error {
	a := snap.About
	at := signing.Place{What: secure.JobRecord, Job: refOf(queue, snap.Ref), Task: a.Task, Chunk: -1}
	return p.refused(at, p.signer.CheckText(at, signedTerms(a, queue, snap.Calls), a.Sig, time.Now(), a.Sum, a.Cut))
}

// refused tells of something that was refused, and returns the error for whoever waits; nil for nil.
func (p *Pool) refused(at signing.Place, why error) error {
	if why == nil {
		return nil
	}
	if e, ok := errors.AsType[*signing.Error](why); ok && p.OnRefused != nil {
		refusal := secure.Refusal{What: e.What, Reason: e.Reason, Key: e.Key, Job: at.Job.ID, Chunk: at.Chunk, Task: at.Task, Queue: names.SplitAddress(at.Job.ID).Queue}
		guard.Callback(p.Logger, "Config.OnRefused", func() { p.OnRefused(refusal) })
	}
	return fmt.Errorf("%w: %w", results.ErrUntrusted, why)
}

// opens sets what checks and opens the job's outcomes, if there is anything to do.
func (p *Pool) opens(t Task, j *await.Job) {
	if p.protects(t) {
		of := signing.Ref{ID: j.ID, Gen: j.Ref.Gen}
		j.Open = func(chunk int, frame []byte) ([]byte, error) { return p.openOutcomes(t, of, chunk, frame) }
	}
}

// openOutcomes checks and opens what was recorded of a chunk.
func (p *Pool) openOutcomes(t Task, of signing.Ref, chunk int, frame []byte) ([]byte, error) {
	at := signing.Place{What: secure.Outcomes, Job: of, Task: t.Name(), Chunk: chunk}
	if err := p.refused(at, p.signer.CheckFrame(at, signing.Terms{}, frame, time.Now())); err != nil {
		return nil, err
	}
	f, seals := frames(t, at)
	if !seals {
		return frame, nil
	}
	o, err := wire.ParseOutcome(frame)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", await.ErrCorrupt, err)
	}
	if o, err = f.OpenOutcome(sealing.Outcomes, o); err != nil {
		return nil, fmt.Errorf("%w: %w", results.ErrUntrusted, err)
	}
	return o.Encode(), nil
}

// openArguments checks and opens the arguments of a chunk that a record has kept. What this
// pool submits it signs, so it must not take arguments that are not signed.
func (p *Pool) openArguments(t Task, of job.Snapshot, queue string, c inspect.FailedChunk) ([]byte, error) {
	at := signing.Place{What: secure.Arguments, Job: refOf(queue, of.Ref), Task: of.About.Task, Chunk: c.Chunk}
	if err := p.refused(at, p.signer.CheckFrame(at, signedTerms(of.About, queue, of.Calls), c.ArgsFrame, time.Now())); err != nil {
		return nil, err
	}
	f, seals := frames(t, at)
	if !seals {
		return c.Args, nil
	}
	data, err := f.OpenArgs(c.First, c.Calls, c.Args)
	if err != nil {
		return nil, fmt.Errorf("%w: the arguments cannot be decrypted: %w", results.ErrUntrusted, err)
	}
	return data, nil
}
