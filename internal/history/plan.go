package history

import (
	"hash/fnv"
	"strconv"
)

// Plan is what was submitted, so far as the checker must know it. What a call has
// to come to follows from its submission, its index and its attempt alone, for the
// worker that runs it as for the checker.
type Plan struct {
	Verb    string `json:"verb"` // "apply", "map", "starmap", "imap", "imap-unordered"
	Calls   int    `json:"calls"`
	Mix     string `json:"mix,omitempty"`     // see the constants
	Retries int    `json:"retries,omitempty"` // further attempts of a call that fails
	Slow    int    `json:"slow,omitempty"`    // how long each call takes, ms
}

// The mixes of a plan: which calls fail.
const (
	AllFine = ""
	Mixed   = "mixed" // some calls fail, some panic, each time
	Flaky   = "flaky" // some calls fail in their first attempts
)

// IsStream reports whether the plan is of a loop over a stream, which leaves no
// job behind.
func (p Plan) IsStream() bool { return p.Verb == "imap" || p.Verb == "imap-unordered" }

// Value is the value of a call that does not fail.
func Value(sub string, call int) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(sub))
	_, _ = h.Write([]byte{'/'})
	_, _ = h.Write(strconv.AppendInt(nil, int64(call), 10))
	return h.Sum32()
}

// FlakyAttempts is how many attempts of a flaky call fail.
const FlakyAttempts = 2

// Expect is the kind of outcome of an attempt of a call, counted from 1: "" for a
// value.
func (p Plan) Expect(call, attempt int) string {
	switch {
	case p.Mix == Mixed && call%7 == 3:
		return KindError
	case p.Mix == Mixed && call%11 == 5:
		return KindPanic
	case p.Mix == Flaky && call%3 == 1 && attempt <= FlakyAttempts:
		return KindError
	}
	return ""
}

// Final is the kind of outcome that the call ends with, and after how many
// attempts.
func (p Plan) Final(call int) (kind string, attempts int) {
	for attempts = 1; ; attempts++ {
		kind = p.Expect(call, attempts)
		if kind == "" || attempts > p.Retries {
			return kind, attempts
		}
	}
}
