package job

import (
	"cmp"
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
	words := 0
	word := func() (w string) {
		w, line, _ = strings.Cut(line, " ")
		words++
		return w
	}
	count := func() (c int) {
		w := word()
		if words == 8 {
			w = strings.TrimPrefix(w, "-") // Running is for people only
		}
		c, e := parseCount(w)
		err = cmp.Or(err, e)
		return c
	}
	if strings.Count(line, " ") != 9 {
		return n, "", errors.New("it has not ten words")
	}
	n.Ref = Ref{word(), word()}
	n.What = What(word())
	if n.Chunk = -1; n.What == EndedEarly && strings.HasPrefix(line, "-1 ") {
		word()
	} else {
		n.Chunk = count()
	}
	n.Recorded, n.Done, n.Failed, n.Running = count(), count(), count(), count()
	n.State = State(word())
	size := count()
	if err != nil {
		return Notice{}, "", err
	}
	if size >= len(rest) || rest[size] != '\n' {
		return Notice{}, "", fmt.Errorf("its frame of %d bytes is cut", size)
	}
	n.Frame = []byte(rest[:size])
	return n, rest[size+1:], nil
}
