package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
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
func (p *pool) protect(t erasedTask, j record.Job, total int, batch []record.Chunk) error {
	sealer, seals := t.Codec().(tasks.SealingCodec)
	terms := termsOf(j, total)
	for i, c := range batch {
		if seals {
			frames := sealing.Frames{Sealer: sealer, Job: record.Ref{ID: j.ID, Gen: j.Gen}, Task: j.Task, Chunk: c.Number}
			sealed, err := frames.Args(c.Args)
			if err != nil {
				return fmt.Errorf("encrypting arguments: %w", err)
			}
			c.Args = sealed
		}
		place := signing.Place{What: secure.Arguments, Job: record.Ref{ID: j.ID, Gen: j.Gen}, Task: j.Task, Chunk: c.Number}
		batch[i].Args = p.signer.Frame(place, terms, c.Args)
	}
	return nil
}

// protectNew is protect for a job that is about to be created.
func (p *pool) protectNew(t erasedTask, j *record.Job, total int, batch []record.Chunk) error {
	if !p.protects(t) {
		return nil
	}
	terms := termsOf(*j, total)
	if total == unknownTotal {
		terms.Expires = 0 // a stream renews its time to live, but not this
	} else {
		terms.Expires += j.ResultTTL.Milliseconds()
	}
	j.Sig = p.signer.Text(jobPlace(record.Ref{ID: j.ID, Gen: j.Gen}, j.Task), terms, j.Sum, j.Cut)
	return p.protect(t, *j, total, batch)
}

// protectMore is protect for chunks that are added to the job.
func (s *submission) protectMore(batch []record.Chunk) error {
	if !s.pool.protects(s.task) {
		return nil
	}
	return s.pool.protect(s.task, s.record(s.job.ID, s.chunks, false), s.calls, batch)
}

func termsOf(j record.Job, total int) signing.Terms {
	t := signing.Terms{
		Codec: j.Codec, Queue: names.SplitAddress(j.ID).Queue, Policy: j.Policy, Total: total,
		Expires: time.Now().Add(j.OpenTTL).UnixMilli(),
	}
	if !j.Start.IsZero() {
		t.NotBefore = j.Start.UnixMilli()
	}
	return t
}

func jobPlace(job record.Ref, task string) signing.Place {
	return signing.Place{What: secure.JobRecord, Job: job, Task: task, Chunk: -1}
}

// trust checks the signature of a job that somebody else has made, and returns its
// policy, which is signed too.
func (p *pool) trust(ctx context.Context, snap record.Snapshot) (policy string, err error) {
	if p.signer == nil {
		return "", nil
	}
	sig, policy, gen, err := record.ReadSignature(ctx, p.rdb, snap.ID)
	if err != nil {
		return "", err
	}
	if gen != snap.Gen {
		return "", errVanished // between the two readings
	}
	terms := signing.Terms{Codec: snap.Codec, Queue: snap.Queue, Policy: policy, NotBefore: snap.Start, Total: snap.Calls}
	if err := p.signer.CheckText(jobPlace(record.Ref{ID: snap.ID, Gen: gen}, snap.Task), terms, sig, time.Now(), snap.Sum, snap.Cut); err != nil {
		return "", p.refused(err, record.Ref{ID: snap.ID}, -1, snap.Task, snap.Queue)
	}
	return policy, nil
}

// refused tells of something that was refused, and returns the error for whoever
// waits.
func (p *pool) refused(why error, job record.Ref, chunk int, task, queue string) error {
	var e *signing.Error
	if errors.As(why, &e) && p.cfg.OnRefused != nil {
		refusal := secure.Refusal{What: e.What, Reason: e.Reason, Key: e.Key, Job: job.ID, Chunk: chunk, Task: task, Queue: queue}
		guard.Callback(p.cfg.Logger, "Config.OnRefused", func() { p.cfg.OnRefused(refusal) })
	}
	return fmt.Errorf("job %s: %w: %w", job.ID, results.ErrUntrusted, why)
}

// opens sets what checks and opens the job's outcomes.
func (p *pool) opens(t erasedTask, j *await.Job) *await.Job {
	if open := p.opener(t, j.ID, j.Queue); open != nil {
		j.Open = open(j.Gen)
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
		job := record.Ref{ID: id, Gen: gen}
		return func(chunk int, frame []byte) ([]byte, error) {
			place := signing.Place{What: secure.Outcomes, Job: job, Task: task, Chunk: chunk}
			if err := p.signer.CheckFrame(place, signing.Terms{}, frame, time.Now()); err != nil {
				return nil, p.refused(err, job, chunk, task, queue)
			}
			if !seals {
				return frame, nil
			}
			o, err := wire.ParseOutcome(frame)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", await.ErrCorrupt, err)
			}
			if o, err = (sealing.Frames{Sealer: sealer, Job: job, Task: task, Chunk: chunk}).OpenOutcome(sealing.Outcomes, o); err != nil {
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

// others is the job that the record describes, for chunks that are added to it.
func (s *submission) others(snap record.Snapshot, policy string) record.Job {
	j := record.Job{
		ID: snap.ID, Gen: snap.Gen, Task: snap.Task, Codec: snap.Codec, Policy: policy,
		OpenTTL: s.pool.cfg.JobTTL,
	}
	if snap.Start > 0 {
		j.Start = time.UnixMilli(snap.Start)
		j.OpenTTL += max(0, time.Until(j.Start))
	}
	return j
}

// checkKeyring says what is wrong with the keyring.
func (c Config) checkKeyring() error {
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("producer.Config: field Keyring: %w", err)
	}
	return nil
}
