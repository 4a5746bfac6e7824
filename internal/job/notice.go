package job

import (
	"errors"
	"fmt"
	"iter"
	"strings"
)

// Notice is what a transition tells the pool that made the job. It is a hint: the record
// says the same to a pool that misses it.
type Notice struct {
	Ref
	Counts // but for Calls and Chunks
	What   What
	Chunk  int    // -1 when What is EndedEarly
	Frame  []byte // What is RecordedHere: the framed outcomes
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
// behind a notice that does not parse is lost: the error is the last element.
func ParseNotices(message string) iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		for message != "" {
			n, rest, err := cutNotice(message)
			if err != nil {
				err, rest = fmt.Errorf("corrupt notice %.80q: %w", message, err), ""
			}
			if !yield(n, err) {
				return
			}
			message = rest
		}
	}
}

func cutNotice(message string) (n Notice, rest string, err error) {
	line, rest, _ := strings.Cut(message, "\n")
	var words [10]string // strings.Split would allocate
	for i := range words {
		var more bool
		if words[i], line, more = strings.Cut(line, " "); more == (i == len(words)-1) {
			return n, "", errors.New("it has not ten words")
		}
	}
	n = Notice{Ref: Ref{words[0], words[1]}, Counts: Counts{State: State(words[8])}, What: What(words[2])}
	noChunk := n.What == EndedEarly && words[3] == "-1"
	if noChunk {
		words[3] = "0"
	}
	words[7] = strings.TrimPrefix(words[7], "-") // Running is for people only
	for i, count := range []*int{&n.Chunk, &n.Recorded, &n.Done, &n.Failed, &n.Running} {
		if *count, err = parseCount(words[3+i]); err != nil {
			return n, "", err
		}
	}
	if noChunk {
		n.Chunk = -1
	}
	size, err := parseCount(words[9])
	if err == nil && (size >= len(rest) || rest[size] != '\n') {
		err = fmt.Errorf("its frame of %d bytes is cut", size)
	}
	if err != nil {
		return n, "", err
	}
	n.Frame = []byte(rest[:size])
	return n, rest[size+1:], nil
}
