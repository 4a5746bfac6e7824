package job

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/redis/go-redis/v9"
)

// ErrDamaged is wrapped by errors about records that contradict themselves or do not parse.
var ErrDamaged = errors.New("damaged record")

// The error replies that damage causes: the same request fails again, whatever becomes of
// Redis. Everything else that Redis answers, or a proxy or a managed service in its place,
// says that it does not work properly just now. A text counts only where Redis puts it, since
// a proxy may use the same words: in a script Redis names the line, before the text in
// versions before 7 and for Lua's own errors, and otherwise after it. The tests' embedded
// Redis has no name for a script.
const (
	inScript = `^(?:ERR )?(?:Error (?:running|compiling) script \([^)]*\): )?(?:@?(?:user_script)?: ?\d+: )+-?(?:ERR )?`
	// HINCRBY of a field that is no number, or too large; a missing field as an argument.
	ofCommand = `(?:(?:hash )?value is not an integer|increment or decrement would overflow|Lua redis(?: lib|\(\)) command arguments must be strings or integers)`
	// Arithmetic on a field that is no number, or not there.
	ofLua = `(?:attempt to (?:perform arithmetic|compare|concatenate|index|call|get length)|bad argument #|cannot perform )`
)

var final = regexp.MustCompile(`^WRONGTYPE |` + inScript + `(?:WRONGTYPE |` + ofCommand + `|` + ofLua + `)|^ERR ` + ofCommand + `.* on @user_script:\d+\.`)

// IsDamaged reports whether err is about a record that does not parse or contradicts itself,
// as opposed to a record that could not be read or changed.
func IsDamaged(err error) bool {
	if errors.Is(err, ErrDamaged) {
		return true
	}
	var reply redis.Error
	return errors.As(err, &reply) && final.MatchString(reply.Error())
}

// damaged makes Redis's refusal to read a key of another type what it is.
func damaged(err error) error {
	if err != nil && IsDamaged(err) && !errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
