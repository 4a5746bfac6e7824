package producer

import (
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/guard"
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

// unknownTotal says that the number of a job's calls is not signed: a stream's is
// not known when its chunks are sent.
const unknownTotal = -1

// protects reports whether there is anything to do.
func (p *pool) protects(t erasedTask) bool {
	_, seals := t.Codec().(tasks.SealingCodec)
	return seals || p.signer != nil
}

// protect seals and signs the arguments of chunks of the job.
func (p *pool) protect(t erasedTask, ref signing.Ref, terms signing.Terms, batch []job.Chunk) error {
	sealer, seals := t.Codec().(tasks.SealingCodec)
	for i, c := range batch {
		if seals {
			frames := sealing.Frames{Sealer: sealer, Job: ref, Task: t.Name(), Chunk: c.Number}
			sealed, err := frames.Args(c.Args)
			if err != nil {
				return fmt.Errorf("encrypting arguments: %w", err)
			}
			c.Args = sealed
		}
		place := signing.Place{What: secure.Arguments, Job: ref, Task: t.Name(), Chunk: c.Number}
		batch[i].Args = p.signer.Frame(place, terms, c.Args)
	}
	return nil
}

// protectNew protects a job that is about to be created, with its first chunks.
func (p *pool) protectNew(t erasedTask, ref job.Ref, d *description, queue string, total int, batch []job.Chunk) error {
	if !p.protects(t) {
		return nil
	}
	terms, at := termsOf(d, queue, total), signing.Ref{ID: names.Address{Queue: queue, Name: ref.Name}.String(), Gen: ref.Gen}
	of := terms
	if total == unknownTotal {
		of.Expires = 0 // a stream renews its time to live, but not this
	} else {
		of.Expires += d.TTL.Milliseconds()
	}
	d.About.Sig = p.signer.Text(jobPlace(at, d.About.Task), of, d.About.Sum, d.About.Cut)
	return p.protect(t, at, terms, batch)
}

// protectMore protects chunks that are added to a job.
func (p *pool) protectMore(t erasedTask, ref job.Ref, d description, queue string, total int, batch []job.Chunk) error {
	if !p.protects(t) {
		return nil
	}
	at := signing.Ref{ID: names.Address{Queue: queue, Name: ref.Name}.String(), Gen: ref.Gen}
	return p.protect(t, at, termsOf(&d, queue, total), batch)
}

func termsOf(d *description, queue string, total int) signing.Terms {
	return signing.Terms{
		Codec: d.About.Codec, Queue: queue, Policy: d.About.Policy, Total: total, NotBefore: d.About.Start,
		Expires: time.Now().Add(d.Life).UnixMilli(),
	}
}

func jobPlace(at signing.Ref, task string) signing.Place {
	return signing.Place{What: secure.JobRecord, Job: at, Task: task, Chunk: -1}
}

// trust checks the signature of a job of the queue that another pool has made.
func (p *pool) trust(snap job.Snapshot, queue string) error {
	if p.signer == nil {
		return nil
	}
	a, at := snap.About, signing.Ref{ID: names.Address{Queue: queue, Name: snap.Name}.String(), Gen: snap.Gen}
	terms := signing.Terms{Codec: a.Codec, Queue: queue, Policy: a.Policy, NotBefore: a.Start, Total: snap.Calls}
	if err := p.signer.CheckText(jobPlace(at, a.Task), terms, a.Sig, time.Now(), a.Sum, a.Cut); err != nil {
		return p.refused(err, at, -1, a.Task, queue)
	}
	return nil
}

// refused tells of something that was refused, and returns the error for whoever
// waits.
func (p *pool) refused(why error, of signing.Ref, chunk int, task, queue string) error {
	var e *signing.Error
	if errors.As(why, &e) && p.cfg.OnRefused != nil {
		refusal := secure.Refusal{What: e.What, Reason: e.Reason, Key: e.Key, Job: of.ID, Chunk: chunk, Task: task, Queue: queue}
		guard.Callback(p.cfg.Logger, "Config.OnRefused", func() { p.cfg.OnRefused(refusal) })
	}
	return fmt.Errorf("job %s: %w: %w", of.ID, results.ErrUntrusted, why)
}

// opens sets what checks and opens the job's outcomes.
func (p *pool) opens(t erasedTask, j *await.Job) *await.Job {
	if open := p.opener(t, j.ID, j.Queue); open != nil {
		j.Open = open(j.Ref.Gen)
	}
	return j
}

// opener makes await.Job.Open for a generation; nil when there is nothing to do.
func (p *pool) opener(t erasedTask, id, queue string) func(gen string) func(int, []byte) ([]byte, error) {
	if !p.protects(t) {
		return nil
	}
	sealer, seals := t.Codec().(tasks.SealingCodec)
	task := t.Name()
	return func(gen string) func(int, []byte) ([]byte, error) {
		of := signing.Ref{ID: id, Gen: gen}
		return func(chunk int, frame []byte) ([]byte, error) {
			place := signing.Place{What: secure.Outcomes, Job: of, Task: task, Chunk: chunk}
			if err := p.signer.CheckFrame(place, signing.Terms{}, frame, time.Now()); err != nil {
				return nil, p.refused(err, of, chunk, task, queue)
			}
			if !seals {
				return frame, nil
			}
			o, err := wire.ParseOutcome(frame)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", await.ErrCorrupt, err)
			}
			if o, err = (sealing.Frames{Sealer: sealer, Job: of, Task: task, Chunk: chunk}).OpenOutcome(sealing.Outcomes, o); err != nil {
				return nil, fmt.Errorf("%w: %w", results.ErrUntrusted, err)
			}
			return o.Encode(), nil
		}
	}
}

// sum is the digest of a submission as it is stored: nobody may learn from it what
// is encrypted.
func (s *submission) sum(digest string) (string, error) {
	if sealer, ok := s.task.Codec().(tasks.SealingCodec); ok {
		return sealer.Fingerprint([]byte(digest), "")
	}
	return digest, nil
}

// sameSum reports whether a stored digest is that of this submission.
func (s *submission) sameSum(stored, sum string) bool {
	if stored == sum {
		return true
	}
	sealer, ok := s.task.Codec().(tasks.SealingCodec)
	if !ok || stored == "" {
		return false
	}
	again, err := sealer.Fingerprint([]byte(s.digested), stored) // it may be of an older key
	return err == nil && again == stored
}

// checkKeyring says what is wrong with the keyring.
func (c Config) checkKeyring() error {
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("producer.Config: field Keyring: %w", err)
	}
	return nil
}
