package job

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// LostOwnership is the answer of Checkpoint to a worker that does not own the chunk any more: another
// worker does, or it has its outcomes.
const LostOwnership State = "lost"

// Saved is one entry of Checkpoint: what a running chunk has so far.
type Saved struct {
	Delivery        // by which the worker runs it
	Part     []byte // or the reference to a large frame; nil saves nothing, and only asks for the state
	Calls    int    // that are finished with it
}

// Checkpoint saves what running chunks of one lane have. It answers for each the state of
// its job, by which the worker learns that the job is over; or LostOwnership, Broken, or Unstored.
// A chunk of which Redis has lost the owner becomes the worker's again when something is saved.
func Checkpoint(ctx context.Context, c redis.UniversalClient, lane, worker string, chunks ...Saved) ([]State, error) {
	args := append(make([]any, 0, 3+6*len(chunks)), lane, worker, publishBy(c))
	for _, s := range chunks {
		args = append(args, s.Name, s.Gen, s.Chunk, s.Number, s.Part, s.Calls)
	}
	return states(run(ctx, c, checkpointScript, lane, args), lane, len(chunks))
}

// Reissue is a chunk that gets a new delivery, or only loses an old one.
type Reissue struct {
	Delivery        // the new one
	EndOnly  bool   // there is no new one: only the old one ends
	Owner    string // the worker that owns the chunk and does not run it any more; empty: none does
	Died     bool   // that worker died in it: this counts against the chunk
	Old      string // task ID of the delivery that is over; empty: there is none
	Task     string // of the job
}

// The further answers of ReissueAll.
const (
	Busy      State = "busy"   // another worker owns the chunk
	Delivered State = "exists" // the new delivery is there already
	Reissued  State = "ok"
)

// ReissueAll gives chunks of one lane new deliveries, at the head of pending. Two programs
// that do so for the same chunk make one delivery.
func ReissueAll(ctx context.Context, c redis.UniversalClient, lane string, chunks ...Reissue) ([]State, error) {
	args := append(make([]any, 0, 1+8*len(chunks)), lane)
	for _, r := range chunks {
		id, message := "", []byte(nil)
		if !r.EndOnly {
			id, message = r.TaskID(), Message(lane, r.Task, r.Delivery, "", time.Time{})
		}
		args = append(args, r.Name, r.Gen, r.Chunk, r.Owner, flag(r.Died), r.Old, id, message)
	}
	return states(run(ctx, c, reissueScript, lane, args), lane, len(chunks))
}
