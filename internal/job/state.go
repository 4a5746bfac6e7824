package job

import (
	"fmt"
	"strconv"
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

// Ended reports whether nothing more will be recorded.
func (s State) Ended() bool { return s != Open && s != Sealed }

// maxCount bounds every count: a larger one is damaged or hostile, and no sum of two
// of them overflows. Lua counts exactly up to here.
const maxCount = 1 << 53

// parseCount reads a number that counts things. It has one form: no sign, no leading zeros.
func parseCount(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n > maxCount || len(s) > 1 && s[0] == '0' {
		return 0, fmt.Errorf("%w: %.40q is not a count", errDamaged, s)
	}
	return int(n), nil
}
