package job

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// Counts is how far a job is.
type Counts struct {
	State    State
	Calls    int // known so far
	Chunks   int // known so far
	Recorded int // chunks with outcomes
	Done     int // calls with outcomes
	Failed   int // of these
	Running  int // chunks that workers hold
}

// Snapshot is what a job's hash says at one moment of the job as a whole. Where the State is Gone
// there is no such job, and every other field is zero.
type Snapshot struct {
	Ref
	Counts
	Reason   string // why it was canceled
	About    About
	Pool     string
	Single   bool // it was created with its only chunk: it keeps no order of recordings
	Created  int64
	Finished int64
	Expires  int64  // it must begin before this, Unix ms; 0: it has begun, or has no limit
	Out      []byte // outcomes of the only chunk of a job of one chunk, or the reference to a large frame
}

// CountFields are the fields that a Snapshot is read from, but for the outcomes.
var CountFields = []string{
	"about", "gen", "reply", "state", "reason", "calls", "chunks", "recorded", "done", "failed", "running",
	"created", "finished", "expires", "own:0", "counted:0",
}

var snapshotFields = append(CountFields[:len(CountFields):len(CountFields)], "out:0")

// QueueSnapshot adds the reading of a job to a pipeline. The result returns it, once the pipeline has
// been executed.
func QueueSnapshot(ctx context.Context, p redis.Cmdable, lane, name string) func() (Snapshot, error) {
	cmd := p.HMGet(ctx, Key(lane, name), snapshotFields...)
	return func() (Snapshot, error) {
		f, err := FieldsOf(snapshotFields, cmd)
		if err != nil {
			return Snapshot{}, err
		}
		return ParseFields(name, f)
	}
}

// Read reads one job.
func Read(ctx context.Context, c redis.Cmdable, lane, name string) (Snapshot, error) {
	return QueueSnapshot(ctx, c, lane, name)()
}

// FieldsOf reads the fields of a hash by their names, without those that are not there.
func FieldsOf(names []string, cmd *redis.SliceCmd) (map[string]string, error) {
	reply, err := cmd.Result()
	if err != nil {
		return nil, damaged(err)
	}
	f := make(map[string]string, len(reply))
	for i, v := range reply {
		if s, ok := v.(string); ok {
			f[names[i]] = s
		}
	}
	return f, nil
}

// ParseFields makes a Snapshot of fields of a job.
func ParseFields(name string, f map[string]string) (s Snapshot, err error) {
	s = Snapshot{Ref: Ref{Name: name, Gen: f["gen"]}, Counts: Counts{State: Gone}}
	if f["about"] == "" {
		return s, nil
	}
	s.Pool, s.Reason, s.State = f["reply"], f["reason"], Sealed
	switch state := State(f["state"]); state {
	case "":
	case Canceled:
		s.State, s.Reason = parseReason(s.Reason)
	default:
		s.State = state
	}
	if s.About, err = ParseAbout(f["about"]); err != nil {
		return s, fmt.Errorf("job %s: %w", name, err)
	}
	if err := s.count(f); err != nil {
		return s, fmt.Errorf("job %s: %w", name, err)
	}
	if why := s.contradiction(); why != "" {
		return s, fmt.Errorf("%w: job %s: %s", ErrDamaged, name, why)
	}
	return s, nil
}

// contradiction says what in a snapshot cannot be, "" for nothing.
func (s *Snapshot) contradiction() string {
	switch s.State {
	case Open, Sealed, Done, Canceled, Unstarted, Forgotten, Untrusted, Missing, Corrupt:
	default:
		return fmt.Sprintf("field state is %.40q", s.State)
	}
	switch {
	case s.State == Open && s.Single: // an open job has its totals
		return "it is open, and has no number of chunks"
	case s.Recorded > s.Chunks:
		return fmt.Sprintf("%d of %d chunks have outcomes", s.Recorded, s.Chunks)
	case s.State == Done && s.Recorded < s.Chunks, s.State == Sealed && s.Chunks > 0 && s.Recorded == s.Chunks:
		return fmt.Sprintf("it is %s, and %d of %d chunks have outcomes", s.State, s.Recorded, s.Chunks)
	}
	return ""
}

// count reads the numbers of a snapshot. A job of one chunk does not keep those that
// follow from its state.
func (s *Snapshot) count(f map[string]string) (err error) {
	count := func(name string, absent int) int {
		text, ok := f[name]
		if !ok {
			return absent
		}
		n, nerr := parseCount(text)
		if nerr != nil {
			err = fmt.Errorf("field %s: %w", name, nerr)
		}
		return n
	}
	s.Calls, s.Chunks = count("calls", 1), count("chunks", 1)
	s.Recorded, s.Done, s.Failed = count("recorded", 0), count("done", 0), count("failed", 0)
	s.Expires = int64(count("expires", 0))
	// For people only, so a number that does not parse is none.
	s.Created, _ = strconv.ParseInt(f["created"], 10, 64)
	s.Finished, _ = strconv.ParseInt(f["finished"], 10, 64)
	s.Running, _ = strconv.Atoi(f["running"])
	s.Running = min(max(0, s.Running), s.Chunks)
	if s.Single = f["chunks"] == ""; !s.Single {
		return err
	}
	if out, ok := f["out:0"]; ok {
		s.Out, s.Recorded, s.Done = []byte(out), 1, s.Calls
	} else if !s.State.Ended() {
		s.Done, _ = strconv.Atoi(f["counted:0"])
		if f["own:0"] != "" {
			s.Running = 1
		}
	}
	return err
}

// QueueOrder adds to a pipeline the reading of which chunks were recorded at the given places,
// from 0. There must be at least one. The result returns the chunk at each place, -1 where the record
// has none.
func QueueOrder(ctx context.Context, p redis.Cmdable, lane, name string, places []int) func() ([]int, error) {
	fields := make([]string, len(places))
	for i, place := range places {
		fields[i] = "order:" + strconv.Itoa(place)
	}
	cmd := p.HMGet(ctx, Key(lane, name), fields...)
	return func() ([]int, error) {
		f, err := FieldsOf(fields, cmd)
		chunks := make([]int, len(fields))
		for i, field := range fields {
			chunks[i] = -1
			if text, ok := f[field]; ok && err == nil {
				chunks[i], err = parseCount(text)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("the order of recordings: %w", err)
		}
		return chunks, nil
	}
}

// QueueOut adds to a pipeline the reading of the outcomes of a chunk. The result returns them, which may
// be the reference to a large frame. redis.Nil says that there are none.
func QueueOut(ctx context.Context, p redis.Cmdable, lane, name string, chunk int) func() ([]byte, error) {
	cmd := p.HGet(ctx, Key(lane, name), OutOf(chunk))
	return func() ([]byte, error) {
		frame, err := cmd.Bytes()
		return frame, damaged(err)
	}
}
