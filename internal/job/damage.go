package job

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

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

// Check looks whether a job that is not over can still end, and cancels it if not: Redis has lost
// a part of it, or its record contradicts itself. chunks is how many it is known to have had, at
// least, and sealed says that it is known to have had all. Check returns the job's state after
// that.
func Check(ctx context.Context, c redis.UniversalClient, lane string, ref Ref, chunks int, sealed bool) (State, error) {
	s, err := Read(ctx, c, lane, ref.Name)
	switch {
	case IsDamaged(err):
		return condemn(ctx, c, lane, ref, Corrupt.Because(err.Error()))
	case err != nil:
		return "", err
	case s.State == Gone || s.Ref != ref:
		return Gone, nil
	case s.State.Ended():
		return s.State, nil
	case s.Chunks < chunks && s.State != Open:
		return condemn(ctx, c, lane, ref, Corrupt.Because(fmt.Sprintf("it has all its chunks, and there are %d of %d", s.Chunks, chunks)))
	case s.Chunks < chunks || sealed && s.State == Open:
		return condemn(ctx, c, lane, ref, Missing.Because("Redis has lost a part of what was submitted"))
	}
	return s.State, nil
}

func condemn(ctx context.Context, c redis.UniversalClient, lane string, ref Ref, reason string) (State, error) {
	states, err := Cancel(ctx, c, lane, reason, ref)
	if err != nil {
		return "", err
	}
	return states[0], nil
}

// tooLarge are parts of the replies with which Redis, or a service that speaks its
// protocol, refuses a request for its size.
var tooLarge = []string{
	"invalid bulk length",             // proto-max-bulk-len
	"invalid multibulk length",        // more than 1 Mi arguments, or 10 before AUTH
	"string exceeds maximum allowed",  // of APPEND and SETRANGE
	"max request size exceeded",       // Upstash
	"max single record size exceeded", // Upstash
	"too big",                         // proxies: "request is too big", "value too big"
	"too large",
}

// IsTooLarge reports whether err is Redis's refusal of a request for its size. The same
// request would be refused again.
func IsTooLarge(err error) bool {
	reply, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	text := strings.ToLower(reply.Error())
	for _, part := range tooLarge {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
