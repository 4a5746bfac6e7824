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

// UnknownTotal says that the number of a job's calls is not signed: a stream's is
// not known when its chunks are sent.
const UnknownTotal = -1

// protects reports whether there is anything to do.
func (p *Pool) protects(t Task) bool {
	_, seals := t.Codec().(tasks.SealingCodec)
	return seals || p.signer != nil
}

// protect seals and signs the arguments of chunks, and, with the first ones, signs the
// description of the job.
func (o *Outgoing) protect(j *job.Job, about *job.About, batch []job.Chunk, first bool) error {
	if !o.Pool.protects(o.Task) {
		return nil
	}
	signer, ref, task := o.Pool.signer, refOf(o.Options.Queue, o.Ref), o.Task.Name()
	terms := signedTerms(*about, o.Options.Queue, o.Total)
	terms.Expires = time.Now().Add(j.Life).UnixMilli()
	if first {
		of := terms
		if o.Total == UnknownTotal {
			of.Expires = 0 // a stream renews its time to live, but not this
		} else {
			of.Expires += j.TTL.Milliseconds()
		}
		about.Sig = signer.Text(jobPlace(ref, task), of, about.Sum, about.Cut)
	}
	sealer, seals := o.Task.Codec().(tasks.SealingCodec)
	for i, c := range batch {
		if seals {
			sealed, err := (sealing.Frames{Sealer: sealer, Job: ref, Task: task, Chunk: c.Number}).Args(c.Args)
			if err != nil {
				return fmt.Errorf("encrypting arguments: %w", err)
			}
			c.Args = sealed
		}
		place := signing.Place{What: secure.Arguments, Job: ref, Task: task, Chunk: c.Number}
		batch[i].Args = signer.Frame(place, terms, c.Args)
	}
	return nil
}

// signedTerms is what the signatures of a job of the queue bind, but for when they expire.
func signedTerms(a job.About, queue string, total int) signing.Terms {
	return signing.Terms{Codec: a.Codec, Queue: queue, Policy: a.Policy, Total: total, NotBefore: a.Start}
}

// refOf is a job of the queue, as signatures name it.
func refOf(queue string, ref job.Ref) signing.Ref {
	return signing.Ref{ID: names.Address{Queue: queue, Name: ref.Name}.String(), Gen: ref.Gen}
}

func jobPlace(at signing.Ref, task string) signing.Place {
	return signing.Place{What: secure.JobRecord, Job: at, Task: task, Chunk: -1}
}

// trust checks the signature of a job of the queue that another pool has made.
func (p *Pool) trust(snap job.Snapshot, queue string) error {
	a, at := snap.About, refOf(queue, snap.Ref)
	if err := p.signer.CheckText(jobPlace(at, a.Task), signedTerms(a, queue, snap.Calls), a.Sig, time.Now(), a.Sum, a.Cut); err != nil {
		return p.refused(err, at, -1, a.Task, queue)
	}
	return nil
}

// refused tells of something that was refused, and returns the error for whoever
// waits.
func (p *Pool) refused(why error, of signing.Ref, chunk int, task, queue string) error {
	var e *signing.Error
	if errors.As(why, &e) && p.OnRefused != nil {
		refusal := secure.Refusal{What: e.What, Reason: e.Reason, Key: e.Key, Job: of.ID, Chunk: chunk, Task: task, Queue: queue}
		guard.Callback(p.Logger, "Config.OnRefused", func() { p.OnRefused(refusal) })
	}
	return fmt.Errorf("%w: %w", results.ErrUntrusted, why)
}

// opens sets what checks and opens the job's outcomes, if there is anything to do.
func (p *Pool) opens(t Task, j *await.Job) *await.Job {
	if p.protects(t) {
		of := signing.Ref{ID: j.ID, Gen: j.Ref.Gen}
		j.Open = func(chunk int, frame []byte) ([]byte, error) { return p.openOutcomes(t, of, j.Queue, chunk, frame) }
	}
	return j
}

// openOutcomes checks and opens what was recorded of a chunk.
func (p *Pool) openOutcomes(t Task, of signing.Ref, queue string, chunk int, frame []byte) ([]byte, error) {
	place := signing.Place{What: secure.Outcomes, Job: of, Task: t.Name(), Chunk: chunk}
	if err := p.signer.CheckFrame(place, signing.Terms{}, frame, time.Now()); err != nil {
		return nil, p.refused(err, of, chunk, t.Name(), queue)
	}
	sealer, seals := t.Codec().(tasks.SealingCodec)
	if !seals {
		return frame, nil
	}
	o, err := wire.ParseOutcome(frame)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", await.ErrCorrupt, err)
	}
	if o, err = (sealing.Frames{Sealer: sealer, Job: of, Task: t.Name(), Chunk: chunk}).OpenOutcome(sealing.Outcomes, o); err != nil {
		return nil, fmt.Errorf("%w: %w", results.ErrUntrusted, err)
	}
	return o.Encode(), nil
}

// openArguments checks and opens the arguments of a chunk that a record has kept. What this
// pool submits it signs, so it must not take arguments that are not signed.
func (p *Pool) openArguments(t Task, of job.Snapshot, queue string, c inspect.FailedChunk) ([]byte, error) {
	at, terms := refOf(queue, of.Ref), signedTerms(of.About, queue, of.Calls)
	place := signing.Place{What: secure.Arguments, Job: at, Task: of.About.Task, Chunk: c.Chunk}
	if err := p.signer.CheckFrame(place, terms, c.ArgsFrame, time.Now()); err != nil {
		return nil, p.refused(err, at, c.Chunk, of.About.Task, queue)
	}
	sealer, seals := t.Codec().(tasks.SealingCodec)
	if !seals {
		return c.Args, nil
	}
	frames := sealing.Frames{Sealer: sealer, Job: at, Task: of.About.Task, Chunk: c.Chunk}
	data, err := frames.OpenArgs(c.First, c.Calls, c.Args)
	if err != nil {
		return nil, fmt.Errorf("%w: the arguments cannot be decrypted: %w", results.ErrUntrusted, err)
	}
	return data, nil
}
