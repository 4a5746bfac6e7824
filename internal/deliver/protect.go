package deliver

import (
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/sealing"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/secure"
)

// protection checks and opens what a worker takes of a chunk from Redis, and seals and signs what it
// puts there. Nothing of a chunk is looked at before that.
type protection struct {
	signer *signing.Signer // nil while signing is off
	frames sealing.Frames  // without a Sealer the task's codec does not encrypt, or its arguments did not open
}

func (p *protection) place(what string) signing.Place {
	return signing.Place{What: what, Job: p.frames.Job, Task: p.frames.Task, Chunk: p.frames.Chunk}
}

// check checks the signatures of what was taken.
func (p *protection) check(c *execute.Chunk) error {
	if p.signer == nil {
		return nil
	}
	terms := signing.Terms{Codec: c.Codec, Queue: c.Queue, Policy: c.Policy, Total: c.Total}
	err := p.signer.CheckFrame(p.place(secure.Arguments), terms, c.Args, time.Now())
	if err == nil && len(c.Partial) > 0 {
		err = p.signer.CheckFrame(p.place(secure.Checkpoint), signing.Terms{}, c.Partial, time.Now())
	}
	return err
}

// OpenArgs opens the arguments of a chunk of the task.
func (p *protection) OpenArgs(t call.Task, first, calls int, data []byte) ([]byte, error) {
	frames := p.frames
	if frames.Sealer = call.SealerOf(t); frames.Sealer == nil {
		return data, nil
	}
	data, err := frames.OpenArgs(first, calls, data)
	if err != nil {
		// The submitter may lack our keys as we lack theirs. The error tells nothing of the
		// arguments, and travels readable: frames has no Sealer.
		return nil, fmt.Errorf("the arguments cannot be decrypted: %w", err)
	}
	p.frames = frames
	return data, nil
}

// seal seals outcomes before they leave the worker.
func (p *protection) seal(what string, o wire.Outcome) wire.Outcome {
	if p.frames.Sealer == nil {
		return o
	}
	sealed, err := p.frames.Outcome(what, o)
	if err != nil { // the key has been used to open the arguments, so it is there
		panic("distpool: encrypting outcomes: " + err.Error())
	}
	return sealed
}

// outcomes is what is recorded of a chunk that is over.
func (p *protection) outcomes(o wire.Outcome) []byte {
	o = p.seal(sealing.Outcomes, o)
	return p.signer.Frame(p.place(secure.Outcomes), signing.Terms{}, o.Encode())
}

// partial is what is saved of a chunk that is not over.
func (p *protection) partial(part wire.Partial) []byte {
	part.Outcome = p.seal(sealing.Checkpoint, part.Outcome)
	return p.signer.Frame(p.place(secure.Checkpoint), signing.Terms{}, part.Encode())
}

// OpenPartial opens what an earlier owner saved.
func (p *protection) OpenPartial(part wire.Partial) (_ wire.Partial, err error) {
	if p.frames.Sealer != nil {
		part.Outcome, err = p.frames.OpenOutcome(sealing.Checkpoint, part.Outcome)
	}
	return part, err
}

// shown is a failure's message as asynq and its tools may show it.
func (p *protection) shown(msg string) string {
	if p.frames.Sealer != nil {
		return "(encrypted)"
	}
	return execute.Truncate(msg, 1000)
}
