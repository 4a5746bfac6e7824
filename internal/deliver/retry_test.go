package deliver

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// reply is an error that Redis answered.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestOnlyErrorsOfTheRecordItselfAreFinal(t *testing.T) {
	for err, final := range map[error]bool{
		errors.New("dial tcp: connection refused"):                                                              false,
		reply("OOM command not allowed when used memory > 'maxmemory'"):                                         false,
		reply("READONLY You can't write against a read only replica. script: 1a, on @x:1."):                     false,
		reply("ERR Error running script (call to f_1a): @user_script:9: -OOM command not allowed"):              false,
		reply("MOVED 3999 127.0.0.1:6381"):                                                                      false,
		reply("CLUSTERDOWN The cluster is down"):                                                                false,
		reply("NOPERM this user has no permissions to run the 'evalsha' command"):                               false,
		reply("WRONGTYPE Operation against a key holding the wrong kind of value"):                              true,
		reply("ERR user_script:3: attempt to perform arithmetic on a nil value script: 1a, on @user_script:3."): true,
		reply("ERR Failed attempt to perform arithmetic on the proxy's side"):                                   false,
		errUnstored: false,
		errLost:     true,
	} {
		if got := isFinal(fmt.Errorf("begin: %w", err)); got != final {
			t.Errorf("%v: final is %t, want %t", err, got, final)
		}
	}
}

func TestDeathsAreCountedAnewOnceACallWasGivenUp(t *testing.T) {
	for deaths, want := range []int{0, 1, 2, 3, 1, 2, 3, 1} {
		if got := sinceBlame(deaths); got != want {
			t.Errorf("%d deaths count as %d, want %d", deaths, got, want)
		}
	}
}

func TestWhatIsRecordedInTheBackgroundIsBounded(t *testing.T) {
	for _, c := range []struct{ slots, size, want int }{{2, 10, backgroundChunks}, {200, 10, 200}, {2, 1 << 20, 8}, {2, 100 << 20, 1}} {
		rec := newRecorder(nil, "w", c.slots)
		var entered atomic.Int64
		over := make(chan struct{})
		go func() {
			defer close(over)
			for range 300 {
				rec.enter(c.size)
				entered.Add(1)
			}
		}()
		for end := time.Now().Add(10 * time.Second); int(entered.Load()) < c.want && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		for range 20 { // whatever would enter has time to
			time.Sleep(time.Millisecond)
			if n := int(entered.Load()); n != c.want {
				t.Fatalf("%d frames of %d bytes are under way with %d slots, want %d", n, c.size, c.slots, c.want)
			}
		}
		for range 300 {
			rec.leave(c.size)
		}
		<-over
	}
}
