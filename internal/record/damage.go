package record

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/redis/go-redis/v9"
)

// errCorrupt is wrapped by errors about records that do not parse.
var errCorrupt = errors.New("corrupt record")

// damagedReply starts the error of a script that has found out that a live job cannot
// end any more.
const damagedReply = "DAMAGED "

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

var final = regexp.MustCompile(`^WRONGTYPE Operation |` + inScript + `(?:WRONGTYPE |` + ofCommand + `|` + ofLua + `)|^ERR ` + ofCommand + `.* on @user_script:\d+\.`)

// IsCorrupt reports whether err says that a record is damaged, as opposed to one that
// could not be read or changed.
func IsCorrupt(err error) bool {
	if errors.Is(err, errCorrupt) {
		return true
	}
	var reply redis.Error
	if !errors.As(err, &reply) {
		return false
	}
	text := reply.Error()
	return strings.HasPrefix(text, damagedReply+vanished) || strings.HasPrefix(text, damagedReply+contradictory) || final.MatchString(text)
}

// wrongType makes Redis's refusal to read a key of another type what it is: a
// corrupt record. Asking again would not help.
func wrongType(err error) error {
	if err != nil && IsCorrupt(err) && !errors.Is(err, errCorrupt) {
		return fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return err
}

// The reasons of jobs that were canceled because something was lost, or contradicts
// something else, start with these.
const (
	vanished      = string(Missing) + ": "
	contradictory = string(Corrupt) + ": "
)

// Condemn ends a live job because its record is damaged. why is the error that says so:
// IsCorrupt holds for it, or it comes from a closer look. The job's handles are told to read why.
func Condemn(ctx context.Context, c redis.Scripter, job Ref, why error) (State, error) {
	if _, lost, ok := strings.Cut(why.Error(), damagedReply+vanished); ok {
		return end(ctx, c, job, Missing, lost)
	}
	return end(ctx, c, job, Corrupt, strings.Replace(why.Error(), damagedReply+contradictory, "", 1))
}

// maxReason is how many bytes of a reason are kept.
const maxReason = 16 << 10

// Vanish ends a live job of which Redis has lost something.
func Vanish(ctx context.Context, c redis.Scripter, job Ref, why string) (State, error) {
	return end(ctx, c, job, Missing, why)
}

func end(ctx context.Context, c redis.Scripter, job Ref, kind State, why string) (State, error) {
	why = strings.ToValidUTF8(why[:min(len(why), maxReason)], "") // a codec's error may have a whole argument in it
	s, err := Op{cancelScript, Keys(job.ID), []any{string(kind) + ": " + why, Control, string(kind), job.Gen}}.Run(ctx, c).Text()
	return State(s), err
}

// Check looks whether a live job can still end, and ends it if not: Redis has lost a part
// of it, or its record contradicts itself. chunks is how many it is known to have had, at
// least, and sealed says that it is known to have been sealed. Check returns the job's
// state after that.
func Check(ctx context.Context, c redis.Scripter, job Ref, chunks int, sealed bool) (State, error) {
	s, err := Op{checkScript, Keys(job.ID), []any{job.Gen, chunks, flag(sealed)}}.Run(ctx, c).Text()
	if IsCorrupt(err) {
		return Condemn(ctx, c, job, err)
	}
	return State(s), err
}
