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

func (r *chunkRun) place(what, task string) signing.Place {
	return signing.Place{What: what, Job: r.signed(), Task: task, Chunk: r.chunk.Number}
}

// signed is the job as signatures name it.
func (r *chunkRun) signed() signing.Ref { return signing.Ref{ID: r.chunk.Job, Gen: r.Gen} }

// trust checks the signatures of what was taken.
func (r *chunkRun) trust() error {
	s := r.on.Signer
	if s == nil {
		return nil
	}
	terms := signing.Terms{Codec: r.chunk.Codec, Queue: r.chunk.Queue, Policy: r.chunk.Policy, Total: r.chunk.Total}
	if err := s.CheckFrame(r.place(secure.Arguments, r.chunk.Task), terms, r.chunk.Args, time.Now()); err != nil {
		return err
	}
	if len(r.chunk.Partial) == 0 {
		return nil
	}
	return s.CheckFrame(r.place(secure.Checkpoint, r.chunk.Task), signing.Terms{}, r.chunk.Partial, time.Now())
}

// distrust ends a job whose signature is missing or wrong.
func (r *chunkRun) distrust(why error) {
	h := r.on
	refusal := secure.Refusal{Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue}
	var e *signing.Error
	if errors.As(why, &e) {
		refusal.What, refusal.Reason, refusal.Key = e.What, e.Reason, e.Key
	}
	r.Logger().Error("refusing a job because of its signature", "reason", refusal.Reason, "error", why)
	if h.OnRefused != nil {
		guard.Callback(h.Executor.Log, "Config.OnRefused", func() { h.OnRefused(refusal) })
	}
	r.doom(job.Untrusted.Because(why.Error()), why)
}

func (r *chunkRun) frames() sealing.Frames {
	return sealing.Frames{Sealer: r.sealer, Job: r.signed(), Task: r.chunk.Task, Chunk: r.chunk.Number}
}

// OpenArgs opens the arguments of a chunk of the task.
func (r *chunkRun) OpenArgs(t call.Task, first, calls int, data []byte) ([]byte, error) {
	s := call.SealerOf(t)
	if s == nil {
		return data, nil
	}
	frames := r.frames()
	frames.Sealer, frames.Task = s, t.Name()
	data, err := frames.OpenArgs(first, calls, data)
	if err != nil {
		// Whoever submitted this may lack our keys as we lack theirs. The error tells
		// nothing of the arguments, and travels readable: r.sealer is not set.
		return nil, fmt.Errorf("the arguments cannot be decrypted: %w", err)
	}
	r.sealer = s
	return data, nil
}

// seal seals outcomes before they leave the worker.
func (r *chunkRun) seal(what string, o wire.Outcome) wire.Outcome {
	if r.sealer == nil {
		return o
	}
	sealed, err := r.frames().Outcome(what, o)
	if err != nil { // the key has been used to open the arguments, so it is there
		panic("distpool: encrypting outcomes: " + err.Error())
	}
	return sealed
}

// outcomeFrame is what is recorded of a chunk that is over.
func (r *chunkRun) outcomeFrame(o wire.Outcome) []byte {
	o = r.seal(sealing.Outcomes, o)
	return r.on.Signer.Frame(r.place(secure.Outcomes, r.chunk.Task), signing.Terms{}, o.Encode())
}

// partialFrame is what is saved of a chunk that is not over.
func (r *chunkRun) partialFrame(p wire.Partial) []byte {
	p.Outcome = r.seal(sealing.Checkpoint, p.Outcome)
	return r.on.Signer.Frame(r.place(secure.Checkpoint, r.chunk.Task), signing.Terms{}, p.Encode())
}

// OpenPartial opens what an earlier owner saved. The delivery that waited for the time of the
// next attempts may come before it: an operator has it run now.
func (r *chunkRun) OpenPartial(p wire.Partial) (_ wire.Partial, err error) {
	if p.Waits == r.Number {
		p.Due = 0
	}
	if r.sealer != nil {
		p.Outcome, err = r.frames().OpenOutcome(sealing.Checkpoint, p.Outcome)
	}
	return p, err
}

// shown is a failure's message as asynq and its tools may show it.
func (r *chunkRun) shown(msg string) string {
	if r.sealer != nil {
		return "(encrypted)"
	}
	return execute.Truncate(msg, 1000)
}
