package job

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Snapshot is what a job's hash says at one moment of the job as a whole.
type Snapshot struct {
	Ref
	State    State // Gone: there is no such job, and every other field is zero
	Reason   string
	About    About
	Pool     string
	Calls    int
	Chunks   int
	Recorded int // chunks with outcomes
	Done     int // calls with outcomes
	Failed   int // of these
	Running  int // chunks that workers hold
	Created  int64
	Finished int64
	Expires  int64  // it must begin before this, Unix ms; 0: it has begun, or has no limit
	Out      []byte // outcomes of the only chunk of a job of one chunk, or the reference to a large frame
}

var snapshotFields = []string{
	"about", "gen", "reply", "state", "reason", "calls", "chunks", "recorded", "done", "failed", "running",
	"created", "finished", "expires", "own:0", "out:0", "counted:0",
}

// QueueSnapshot adds the reading of a job to a pipeline; ParseSnapshot takes the reply.
func QueueSnapshot(ctx context.Context, p redis.Cmdable, lane, name string) *redis.SliceCmd {
	return p.HMGet(ctx, Key(lane, name), snapshotFields...)
}

// ParseSnapshot reads the reply of QueueSnapshot.
func ParseSnapshot(name string, cmd *redis.SliceCmd) (Snapshot, error) {
	reply, err := cmd.Result()
	if err != nil {
		return Snapshot{}, damagedIfWrongType(err)
	}
	f := make(map[string]string, len(reply))
	for i, v := range reply {
		if s, ok := v.(string); ok {
			f[snapshotFields[i]] = s
		}
	}
	s := Snapshot{Ref: Ref{Name: name, Gen: f["gen"]}, State: Gone}
	if f["about"] == "" {
		return s, nil
	}
	s.Pool, s.Reason, s.State = f["reply"], f["reason"], Sealed
	if state := f["state"]; state != "" {
		s.State = State(state)
	}
	if s.About, err = ParseAbout(f["about"]); err != nil {
		return s, fmt.Errorf("job %s: %w", name, err)
	}
	if err := s.count(f); err != nil {
		return s, fmt.Errorf("job %s: %w", name, err)
	}
	return s, nil
}

// count reads the numbers of a snapshot. A job of one chunk does not keep those that
// follow from its state.
func (s *Snapshot) count(f map[string]string) error {
	s.Calls, s.Chunks = 1, 1
	for name, to := range map[string]*int{
		"calls": &s.Calls, "chunks": &s.Chunks, "recorded": &s.Recorded, "done": &s.Done, "failed": &s.Failed,
	} {
		text, ok := f[name]
		if !ok {
			continue
		}
		n, err := parseCount(text)
		if err != nil {
			return fmt.Errorf("field %s: %w", name, err)
		}
		*to = n
	}
	s.Created, _ = strconv.ParseInt(f["created"], 10, 64)
	s.Finished, _ = strconv.ParseInt(f["finished"], 10, 64)
	s.Expires, _ = strconv.ParseInt(f["expires"], 10, 64)
	if f["chunks"] != "" {
		// For people only, so a number that does not parse is none.
		s.Running, _ = strconv.Atoi(f["running"])
		s.Running = min(max(0, s.Running), s.Chunks)
		return nil
	}
	if out, ok := f["out:0"]; ok {
		s.Out, s.Recorded, s.Done = []byte(out), 1, s.Calls
	} else if !s.State.Ended() {
		s.Done, _ = strconv.Atoi(f["counted:0"])
		if f["own:0"] != "" {
			s.Running = 1
		}
	}
	return nil
}

// damagedIfWrongType makes Redis's refusal to read a key of another type what it is.
func damagedIfWrongType(err error) error {
	if err != nil && strings.HasPrefix(err.Error(), "WRONGTYPE") {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	return err
}

// QueueOrder adds to a pipeline the reading of which chunks were recorded as numbers from
// to from+n-1; ParseOrder takes the reply.
func QueueOrder(ctx context.Context, p redis.Cmdable, lane, name string, from, n int) *redis.SliceCmd {
	return p.HMGet(ctx, Key(lane, name), numbered("order:", from, n)...)
}

// ParseOrder reads the reply of QueueOrder: the chunks in the order of their recording, up
// to the first number that is not there.
func ParseOrder(cmd *redis.SliceCmd) ([]int, error) {
	reply, err := cmd.Result()
	if err != nil {
		return nil, damagedIfWrongType(err)
	}
	var chunks []int
	for _, v := range reply {
		s, ok := v.(string)
		if !ok {
			break
		}
		n, err := parseCount(s)
		if err != nil {
			return chunks, fmt.Errorf("the order of recordings: %w", err)
		}
		chunks = append(chunks, n)
	}
	return chunks, nil
}

// QueueOut adds to a pipeline the reading of the outcomes of a chunk. redis.Nil says that
// there are none. They may be the reference to a large frame.
func QueueOut(ctx context.Context, p redis.Cmdable, lane, name string, chunk int) *redis.StringCmd {
	return p.HGet(ctx, Key(lane, name), "out:"+strconv.Itoa(chunk))
}

// Unrecorded lists the chunks without outcomes, of the n chunks that begin with from.
func Unrecorded(ctx context.Context, c redis.Cmdable, lane, name string, from, n int) ([]int, error) {
	fields := append(numbered("args:", from, n), numbered("own:", from, n)...)
	reply, err := c.HMGet(ctx, Key(lane, name), fields...).Result()
	if err != nil {
		return nil, damagedIfWrongType(err)
	}
	var chunks []int
	for i := range n {
		if reply[i] != nil || reply[n+i] != nil {
			chunks = append(chunks, from+i)
		}
	}
	return chunks, nil
}

func numbered(prefix string, from, n int) []string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = prefix + strconv.Itoa(from+i)
	}
	return fields
}
