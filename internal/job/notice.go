package job

import (
	"fmt"
	"strconv"
	"strings"
)

// Notice is what a transition tells the pool that made the job. It is a hint: the record
// says the same to a pool that misses it.
type Notice struct {
	Ref
	What     What
	Chunk    int // -1 when What is Ended
	Recorded int // chunks with outcomes
	Done     int // calls with outcomes
	Failed   int // of these
	Running  int // chunks that workers hold
	State    State
	Frame    []byte // What is RecordedHere: the framed outcomes
}

// What is what a notice tells.
type What string

// What notices tell.
const (
	RecordedHere  What = "out"  // a chunk was recorded, its outcomes are in the notice
	RecordedThere What = "rec"  // a chunk was recorded, its outcomes are in the record
	Progress      What = "part" // calls of a chunk that still runs have finished
	EndedEarly    What = "end"  // the job ended without a recording: State says how
)

// ParseNotices reads a message of a reply channel: notices, each a line of ten words, the
// last of which is the size of the frame behind it, and a line feed behind that. What comes
// behind a notice that does not parse is lost.
func ParseNotices(message string) ([]Notice, error) {
	var all []Notice
	for message != "" {
		n, rest, err := cutNotice(message)
		if err != nil {
			return all, err
		}
		all, message = append(all, n), rest
	}
	return all, nil
}

func cutNotice(message string) (n Notice, rest string, err error) {
	line, rest, _ := strings.Cut(message, "\n")
	f := strings.Split(line, " ")
	if len(f) != 10 {
		return n, "", fmt.Errorf("corrupt notice %.80q", message)
	}
	n = Notice{Ref: Ref{f[0], f[1]}, What: What(f[2]), State: State(f[8])}
	size := 0
	for i, to := range map[int]*int{4: &n.Recorded, 5: &n.Done, 6: &n.Failed, 7: &n.Running, 9: &size} {
		text := f[i]
		if i == 7 {
			text = strings.TrimPrefix(text, "-") // for people only
		}
		if *to, err = parseCount(text); err != nil {
			return n, "", fmt.Errorf("corrupt notice %.80q: %w", message, err)
		}
	}
	if n.Chunk = -1; n.What != EndedEarly || f[3] != "-1" {
		if n.Chunk, err = parseCount(f[3]); err != nil {
			return n, "", fmt.Errorf("corrupt notice %.80q: %w", message, err)
		}
	}
	if size >= len(rest) || rest[size] != '\n' {
		return n, "", fmt.Errorf("corrupt notice %.80q: its frame of %s bytes is cut", message, strconv.Itoa(size))
	}
	n.Frame = []byte(rest[:size])
	return n, rest[size+1:], nil
}
