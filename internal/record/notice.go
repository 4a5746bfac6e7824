package record

import (
	"fmt"
	"strconv"
	"strings"
)

// Notice is what a transition tells the pool that made the job. It is a hint:
// the record says the same to those who miss it.
type Notice struct {
	Job      Ref
	What     string // one of the Notice constants
	Chunk    int    // the recorded chunk; -1 when What is NoticeEnd
	Recorded int
	Done     int
	Failed   int
	Running  int // chunks that workers hold
	State    State
	Outcome  []byte // What is NoticeOut: the framed outcomes; NoticeRec: the reference to them, if they are large
}

// What a notice tells.
const (
	NoticeOut  = "out"  // a chunk was recorded, its outcomes are here
	NoticeRec  = "rec"  // a chunk was recorded, its outcomes are in the record
	NoticePart = "part" // calls of a chunk that still runs have finished
	NoticeEnd  = "end"  // the job ended without a recording: State says how
)

// ParseNotice undoes what common.lua's notify does.
func ParseNotice(payload string) (Notice, error) {
	head, outcome, ok := strings.Cut(payload, "\n")
	f := strings.Split(head, " ")
	if !ok || len(f) != 8 {
		return Notice{}, fmt.Errorf("corrupt notice %.80q", payload)
	}
	n := Notice{Job: ParseRef(f[0]), What: f[1], State: State(f[7]), Outcome: []byte(outcome)}
	for i, dst := range []*int{&n.Chunk, &n.Recorded, &n.Done, &n.Failed, &n.Running} {
		v, err := strconv.Atoi(f[2+i])
		if err != nil {
			return Notice{}, fmt.Errorf("corrupt notice %.80q: %w", payload, err)
		}
		*dst = v
	}
	if carries := n.What == NoticeOut || n.What == NoticeRec; n.Chunk < -1 || carries && n.Chunk < 0 ||
		min(n.Recorded, n.Done, n.Failed, n.Running) < 0 || max(n.Chunk, n.Recorded, n.Done, n.Failed, n.Running) > maxCount {
		return Notice{}, fmt.Errorf("corrupt notice %.80q: a count or a chunk that cannot be", payload)
	}
	return n, nil
}
