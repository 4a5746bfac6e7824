package job

import (
	"fmt"
	"strconv"
	"strings"
)

// State is where a job is in its life.
type State string

// The states of a job. Jobs in the first two are alive. The field state is absent while a job
// is Sealed.
const (
	Open     State = "open"     // more chunks may come
	Sealed   State = "sealed"   // every chunk is known
	Done     State = "done"     // every chunk has its outcomes
	Canceled State = "canceled" // ended before its time
	Gone     State = "gone"     // never stored: there is no such job
)

// Why a job was canceled, where readers tell it apart. They are stored in front of the
// reason, and stand for Canceled in snapshots and notices.
const (
	Unstarted State = "unstarted" // no chunk began in time
	Forgotten State = "forgotten" // the job was removed while it was alive
	Untrusted State = "untrusted" // a worker refused its signature
	Missing   State = "missing"   // Redis has lost a part of it
	Corrupt   State = "corrupt"   // its record contradicts itself
)

// maxReason is how many bytes of a reason are kept.
const maxReason = 16 << 10

// Because is the reason of a job that ends in the state, with more about it.
func (s State) Because(why string) string {
	why = strings.ToValidUTF8(why[:min(len(why), maxReason)], "") // a codec's error may have a whole argument in it
	return string(s) + ": " + why
}

// parseReason undoes Because.
func parseReason(reason string) (State, string) {
	kind, why, ok := strings.Cut(reason, ": ")
	switch s := State(kind); s {
	case Unstarted, Forgotten:
		if !ok {
			return s, ""
		}
	case Untrusted, Missing, Corrupt:
		if ok {
			return s, why
		}
	}
	return Canceled, reason
}

// Ended reports whether nothing more will be recorded.
func (s State) Ended() bool { return s != Open && s != Sealed }

// maxCount bounds every count: a larger one is damaged or hostile, and no sum of two
// of them overflows. Lua counts exactly up to here.
const maxCount = 1 << 53

// parseCount reads a number that counts things. It has one form: no sign, no leading zeros.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > maxCount || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%w: %.40q is not a count", ErrDamaged, s)
	}
	return int(n), nil
}
