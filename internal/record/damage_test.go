package record

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// reply is an error that Redis answered.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

var _ redis.Error = reply("")

func TestOnlyRedisItselfSaysThatARecordIsDamaged(t *testing.T) {
	const at7, at6, mini = " script: 443c62573584, on @user_script:12.", "ERR Error running script (call to f_443c62573584): @user_script:12: ", "ERR Error compiling script (new function): :12: "
	damaged := []string{
		"DAMAGED missing: x",
		"WRONGTYPE Operation against a key holding the wrong kind of value",
	}
	for _, text := range []string{
		"WRONGTYPE Operation against a key holding the wrong kind of value", "ERR hash value is not an integer", "ERR value is not an integer or out of range",
		"ERR increment or decrement would overflow", "ERR Lua redis lib command arguments must be strings or integers",
	} {
		damaged = append(damaged, text+at7, at6+text, at6+strings.TrimPrefix(text, "ERR "), mini+text)
	}
	for _, text := range []string{
		"attempt to perform arithmetic on a nil value", "attempt to compare number with nil", "attempt to concatenate a nil value",
		"attempt to index local 'a' (a nil value)", "attempt to call a table value", "attempt to get length of a nil value", "bad argument #2 to 'format'",
	} {
		damaged = append(damaged, "ERR user_script:12: "+text+at7, at6+"user_script:12: "+text, "ERR Error running script (call to f_4): @user_script: 12: user_script: 12: "+text, mini+text)
	}
	damaged = append(damaged, mini+"cannot perform add operation between nil and number")
	for _, text := range damaged {
		if !IsCorrupt(reply(text)) {
			t.Errorf("%q does not say so", text)
		}
	}
	for _, text := range []string{
		"ERR DAMAGED", "DAMAGED backend", "ERR x WRONGTYPE y", "WRONGTYPES", "WRONGTYPE of message", "ERR value is not an integer", "ERR attempt to call a backend",
		"ERR Failed attempt to perform operation", "ERR proxy: attempt to perform arithmetic on a nil value", "ERR bad argument #1", "ERR cannot perform it",
		"OOM command not allowed when used memory > 'maxmemory'." + at7, at6 + "OOM command not allowed", "NOPERM attempt to call a command" + at7,
		"ERR Error running script (call to f_4): backend: attempt to call it", "ERR script: user_script: attempt to call",
		"ERR user_script:12: too many results to unpack" + at7, "NOREPLICAS value is not an integer" + at7,
	} {
		if IsCorrupt(reply(text)) {
			t.Errorf("%q says so", text)
		}
	}
}
