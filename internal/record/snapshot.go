package record

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/names"
)

// Snapshot is what the job hash says at one moment.
type Snapshot struct {
	ID       string // its address, which names Queue
	Gen      string // see Ref
	Task     string
	Codec    string
	Queue    string
	Reply    string
	State    State // Gone: no such job, and every other field is zero; Unstarted, Untrusted, Missing and Corrupt stand for Canceled for that reason
	Reason   string
	Inline   bool
	Calls    int
	Chunks   int
	Recorded int // chunks with outcomes
	Done     int // calls with outcomes
	Failed   int // of these, failed
	Running  int // chunks that workers hold, as far as known
	Created  int64
	Finished int64
	Out      []byte // outcomes of an inline job's chunk, or the reference to large ones
	Start    int64  // see Job, ms; 0: none
	Expires  int64  // it must begin before this, ms; 0: it has begun, or has no limit
	Sum      string // see Job
	Cut      string // see Job
}

// maxCount bounds every count: what is larger is damaged or hostile, and nothing
// that is made of two of them overflows. Lua counts exactly up to here.
const maxCount = 1 << 53

var snapshotFields = []string{
	"v", "gen", "task", "codec", "reply", "state", "reason", "inline", "calls", "chunks",
	"recorded", "done", "failed", "created", "finished", "out", "sum", "cut", "start", "expires", "running", "run",
}

// QueueSnapshot adds the reading of a job to a pipeline; ParseSnapshot takes
// the reply.
func QueueSnapshot(ctx context.Context, p redis.Cmdable, id string) *redis.SliceCmd {
	return p.HMGet(ctx, Keys(id)[0], snapshotFields...)
}

// ParseSnapshot reads the reply of QueueSnapshot.
func ParseSnapshot(id string, cmd *redis.SliceCmd) (Snapshot, error) {
	reply, err := cmd.Result()
	if err != nil {
		return Snapshot{}, wrongType(err)
	}
	return parseSnapshot(id, fieldsOf(snapshotFields, reply))
}

// fieldsOf is the reply to HMGET by name. Fields that are not there are left out, but
// those that an inline job leaves out because they are as usual.
func fieldsOf(asked []string, reply []any) map[string]string {
	fields := make(map[string]string, len(reply))
	for i, v := range reply {
		if s, ok := v.(string); ok {
			fields[asked[i]] = s
		}
	}
	complete(fields, asked)
	return fields
}

func parseSnapshot(id string, fields map[string]string) (Snapshot, error) {
	if _, there := fields["state"]; !there {
		return Snapshot{ID: id, State: Gone}, nil
	}
	s := Snapshot{
		ID: id, Gen: fields["gen"], Task: fields["task"], Codec: fields["codec"], Queue: names.SplitAddress(id).Queue, Reply: fields["reply"],
		State: State(fields["state"]), Reason: fields["reason"], Inline: fields["inline"] == "1",
		Sum: fields["sum"], Cut: fields["cut"],
	}
	if out, ok := fields["out"]; ok {
		s.Out = []byte(out)
	}
	if v := fields["v"]; v != strconv.Itoa(schemaVersion) {
		return s, fmt.Errorf("%w: job %s: field v is %q, this program reads version %d: run the same version of distpool everywhere", errCorrupt, id, v, schemaVersion)
	}
	for name, dst := range map[string]*int{
		"calls": &s.Calls, "chunks": &s.Chunks, "recorded": &s.Recorded, "done": &s.Done, "failed": &s.Failed,
	} {
		n, err := strconv.Atoi(fields[name])
		if err != nil || n < 0 || n > maxCount {
			return s, fmt.Errorf("%w: job %s: field %s is %.40q, not a count", errCorrupt, id, name, fields[name])
		}
		*dst = n
	}
	if err := s.contradiction(); err != "" {
		return s, fmt.Errorf("%w: job %s: %s", errCorrupt, id, err)
	}
	s.Running = running(s, fields)
	s.Created, _ = strconv.ParseInt(fields["created"], 10, 64)
	s.Start, _ = strconv.ParseInt(fields["start"], 10, 64)
	s.Expires, _ = strconv.ParseInt(fields["expires"], 10, 64)
	if s.State == Canceled && s.Reason == string(Unstarted) {
		s.State = Unstarted
	} else if s.State == Canceled && strings.HasPrefix(s.Reason, refusal) {
		s.State, s.Reason = Untrusted, s.Reason[len(refusal):]
	} else if s.State == Canceled && strings.HasPrefix(s.Reason, vanished) {
		s.State, s.Reason = Missing, s.Reason[len(vanished):]
	} else if s.State == Canceled && strings.HasPrefix(s.Reason, contradictory) {
		s.State, s.Reason = Corrupt, s.Reason[len(contradictory):]
	}
	s.Finished, _ = strconv.ParseInt(fields["finished"], 10, 64)
	return s, nil
}

// contradiction says what in a snapshot cannot be, "" for nothing.
func (s Snapshot) contradiction() string {
	switch {
	case s.State != Open && s.State != Sealed && s.State != Done && s.State != Canceled:
		return fmt.Sprintf("field state is %.40q", s.State)
	case s.Recorded > s.Chunks:
		return fmt.Sprintf("%d of %d chunks have outcomes", s.Recorded, s.Chunks)
	case s.Inline && s.Chunks != 1:
		return fmt.Sprintf("its only chunk is one of %d", s.Chunks)
	case s.State == Done && s.Recorded < s.Chunks, s.State == Sealed && s.Recorded == s.Chunks:
		return fmt.Sprintf("it is %s, and %d of %d chunks have outcomes", s.State, s.Recorded, s.Chunks)
	}
	return ""
}

// running is how many chunks workers hold. It is for people only, so what does
// not parse is none.
func running(s Snapshot, fields map[string]string) int {
	switch {
	case s.State.Ended():
		return 0
	case s.Inline && fields["run"] != "":
		return 1
	}
	n, _ := strconv.Atoi(fields["running"])
	return min(max(0, n), maxCount)
}

// Read reads one job. An address that no job can have is that of none.
func Read(ctx context.Context, c redis.Cmdable, id string) (Snapshot, error) {
	if _, err := names.ParseAddress(id, ""); err != nil {
		return Snapshot{ID: id, State: Gone}, nil
	}
	return ParseSnapshot(id, QueueSnapshot(ctx, c, id))
}

// QueueOrder adds to a pipeline the reading of the numbers of the chunks that
// were recorded after the first seen ones, in the order of their recording.
func QueueOrder(ctx context.Context, p redis.Cmdable, id string, seen int) *redis.StringSliceCmd {
	return p.LRange(ctx, Keys(id)[3], int64(seen), -1)
}

// QueueOut adds to a pipeline the reading of the outcomes of one chunk (of a
// job that is not inline). They may be the reference to large ones (see QueueLarge).
func QueueOut(ctx context.Context, p redis.Cmdable, id string, chunk int) *redis.StringCmd {
	return p.HGet(ctx, Keys(id)[2], strconv.Itoa(chunk))
}

// Unrecorded lists the chunks of a job that have no outcomes yet, in no order.
func Unrecorded(ctx context.Context, c redis.Cmdable, s Snapshot) ([]int, error) {
	if s.State.Ended() {
		return nil, nil
	}
	if s.Inline {
		return []int{0}, nil
	}
	reply, err := c.HKeys(ctx, Keys(s.ID)[1]).Result()
	if err != nil {
		return nil, err
	}
	return chunkNumbers("args hash", reply)
}

// ParseOrder reads the reply of QueueOrder.
func ParseOrder(cmd *redis.StringSliceCmd) ([]int, error) {
	reply, err := cmd.Result()
	if err != nil {
		return nil, wrongType(err)
	}
	return chunkNumbers("order list", reply)
}

func chunkNumbers(where string, reply []string) ([]int, error) {
	chunks := make([]int, len(reply))
	for i, s := range reply {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("%w: %q in the %s is not a chunk", errCorrupt, s, where)
		}
		chunks[i] = n
	}
	return chunks, nil
}

// ParseOut reads the reply of QueueOut. redis.Nil says that there are none.
func ParseOut(cmd *redis.StringCmd) ([]byte, error) {
	frame, err := cmd.Bytes()
	return frame, wrongType(err)
}

// QueueState adds to a pipeline the reading of a job's state.
func QueueState(ctx context.Context, p redis.Cmdable, id string) *redis.StringCmd {
	return p.HGet(ctx, Keys(id)[0], "state")
}

// ParseState reads the reply of QueueState.
func ParseState(cmd *redis.StringCmd) (State, error) {
	s, err := cmd.Result()
	if errors.Is(err, redis.Nil) {
		return Gone, nil
	}
	return State(s), err
}
