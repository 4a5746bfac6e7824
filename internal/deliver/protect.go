package deliver

import (
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/guard"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/secure"
)

// What a worker takes from Redis is checked and opened here, and what it puts
// there is sealed and signed. Nothing of a chunk is looked at before that.

func (r *chunkRun) place(what string) signing.Place {
	return signing.Place{What: what, Job: r.frames.Job, Task: r.frames.Task, Chunk: r.frames.Chunk}
}

// trust checks the signatures of what was taken.
func (r *chunkRun) trust() error {
	s := r.on.Signer
	if s == nil {
		return nil
	}
	terms := signing.Terms{Codec: r.chunk.Codec, Queue: r.chunk.Queue, Policy: r.chunk.Policy, Total: r.chunk.Total}
	if err := s.CheckFrame(r.place(secure.Arguments), terms, r.chunk.Args, time.Now()); err != nil {
		return err
	}
	if len(r.chunk.Partial) == 0 {
		return nil
	}
	return s.CheckFrame(r.place(secure.Checkpoint), signing.Terms{}, r.chunk.Partial, time.Now())
}

// distrust ends a job whose signature is missing or wrong.
func (r *chunkRun) distrust(why error) {
	h := r.on
	refusal := secure.Refusal{Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue}
	var e *signing.Error
	if errors.As(why, &e) {
		refusal.What, refusal.Reason, refusal.Key = e.What, e.Reason, e.Key
	}
	r.log().Error("refusing a job because of its signature", "reason", refusal.Reason, "error", why)
	if h.OnRefused != nil {
		guard.Callback(h.Executor.Log, "Config.OnRefused", func() { h.OnRefused(refusal) })
	}
	r.doom(job.Untrusted, why)
}

// OpenArgs opens the arguments of a chunk of the task.
func (r *chunkRun) OpenArgs(t call.Task, first, calls int, data []byte) ([]byte, error) {
	frames := r.frames
	if frames.Sealer = call.SealerOf(t); frames.Sealer == nil {
		return data, nil
	}
	data, err := frames.OpenArgs(first, calls, data)
	if err != nil {
		// The submitter may lack our keys as we lack theirs. The error tells nothing of the
		// arguments, and travels readable: r.frames has no Sealer.
		return nil, fmt.Errorf("the arguments cannot be decrypted: %w", err)
	}
	r.frames = frames
	return data, nil
}

// seal seals outcomes before they leave the worker.
func (r *chunkRun) seal(what string, o wire.Outcome) wire.Outcome {
	if r.frames.Sealer == nil {
		return o
	}
	sealed, err := r.frames.Outcome(what, o)
	if err != nil { // the key has been used to open the arguments, so it is there
		panic("distpool: encrypting outcomes: " + err.Error())
	}
	return sealed
}

// outcomeFrame is what is recorded of a chunk that is over.
func (r *chunkRun) outcomeFrame() []byte {
	o := r.seal(sealing.Outcomes, r.run.Outcome())
	return r.on.Signer.Frame(r.place(secure.Outcomes), signing.Terms{}, o.Encode())
}

// partialFrame is what is saved of a chunk that is not over.
func (r *chunkRun) partialFrame(p wire.Partial) []byte {
	p.Outcome = r.seal(sealing.Checkpoint, p.Outcome)
	return r.on.Signer.Frame(r.place(secure.Checkpoint), signing.Terms{}, p.Encode())
}

// OpenPartial opens what an earlier owner saved. The delivery that waited for the time of the
// next attempts may come before it: an operator has it run now.
func (r *chunkRun) OpenPartial(p wire.Partial) (_ wire.Partial, err error) {
	if p.Waits == r.Number {
		p.Due = 0
	}
	if r.frames.Sealer != nil {
		p.Outcome, err = r.frames.OpenOutcome(sealing.Checkpoint, p.Outcome)
	}
	return p, err
}

// shown is a failure's message as asynq and its tools may show it.
func (r *chunkRun) shown(msg string) string {
	if r.frames.Sealer != nil {
		return "(encrypted)"
	}
	return execute.Truncate(msg, 1000)
}
