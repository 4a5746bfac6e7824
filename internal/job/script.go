package job

import (
	"context"
	"embed"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

//go:embed lua/*.lua
var files embed.FS

// The scripts, each with the functions that it calls.
var (
	submitScript     = newScript("submit", asynqfmt.Lua("enqueue", "schedule", "push"), "counts", "live", "frames", "publish")
	takeScript       = newScript("take", asynqfmt.Lua("pop", "unpop", "retire", "unlease", "count", "delete"), "counts")
	finishScript     = newScript("finish", asynqfmt.Lua("retire", "unlease", "return", "archive", "count", "delete"), "counts", "live", "frames", "part", "kept", "slow", "publish")
	checkpointScript = newScript("checkpoint", "", "counts", "frames", "part", "publish")
	cancelScript     = newScript("cancel", "", "counts", "live", "frames", "publish")
	dropScript       = newScript("drop", "", "live", "frames")
	traceScript      = newScript("trace", "")
	forwardScript    = newScript("forward", asynqfmt.Lua("forward"))
	reissueScript    = newScript("reissue", asynqfmt.Lua("enqueue", "retire", "unlease"))

	// These change no job. ARGV[1] is the lane.
	putBackScript  = moveScript("unpop", "asynq_unpop(q, {unpack(ARGV, 2)}) return 0")
	withdrawScript = moveScript("withdraw", "return asynq_withdraw(q, {unpack(ARGV, 5)}, ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]))")
	trimScript     = moveScript("trim", "return asynq_trim(q, tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]))")
)

// script is a script and what Redis calls it.
type script struct{ text, sha string }

func scriptOf(text string) script { return script{text, redis.NewScript(text).Hash()} }

// moveScript is a script that calls one of asynq's moves.
func moveScript(move, call string) script {
	return scriptOf(asynqfmt.Lua(move) + "local q = 'asynq:{' .. ARGV[1] .. '}:'\n" + call)
}

// newScript is the named script behind the functions of head and those of the given files.
func newScript(name, head string, functions ...string) script {
	var b strings.Builder
	b.WriteString(head)
	for _, file := range append(functions, name) {
		text, err := files.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err)
		}
		b.Write(text)
	}
	return scriptOf(b.String())
}

// appendAll appends values to the arguments of a script.
func appendAll[T any](args []any, values []T) []any {
	for _, v := range values {
		args = append(args, v)
	}
	return args
}

// run runs a script in its lane.
func run(ctx context.Context, c redis.UniversalClient, s script, lane string, args []any) *redis.Cmd {
	return send(ctx, c, s, false, append(begin(s, lane, len(args)), args...))
}

// begin begins the command that runs a script in its lane, with room for n arguments.
//
// A script touches keys that it cannot name before it runs, all of them in the lane's slot.
// The two keys that it does name tell the slot, and never exist. While a slot
// moves from one master to another, its keys are there one by one; and a command that
// names several keys of which one is missing is sent on by the old master, and told to try again
// by the new one (TRYAGAIN). So no script ever runs on a part of a lane. Neither key is asynq's: a user of
// Redis who may cancel jobs needs no right to asynq's keys.
func begin(s script, lane string, n int) []any {
	none := Prefix(lane) + "none"
	return append(make([]any, 0, n+5), "evalsha", s.sha, 2, none, none+"2")
}

// command is one that the Redis client repeats if it hears no reply, unless once is set: then its
// sender is to know.
type command struct {
	*redis.Cmd
	once bool
}

// NoRetry implements redis.Cmder.
func (c command) NoRetry() bool { return c.once }

// send sends such a command, and the script with it where the server does not have it. Of
// redis.Script's methods it does without the copies of all arguments that these make.
func send(ctx context.Context, c redis.UniversalClient, s script, once bool, args []any) *redis.Cmd {
	for {
		cmd := redis.NewCmd(ctx, args...)
		cmd.SetFirstKeyPos(3)
		_ = c.Process(ctx, command{cmd, once})
		if args[1] == s.text || !redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			return cmd
		}
		args[0], args[1] = "eval", s.text
	}
}
