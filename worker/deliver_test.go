package worker

import (
	"errors"
	"fmt"
	"testing"
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
	} {
		if got := isFinal(fmt.Errorf("begin: %w", err)); got != final {
			t.Errorf("%v: final is %t, want %t", err, got, final)
		}
	}
}
