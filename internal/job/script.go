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
	submitScript     = newScript("submit", asynqfmt.Lua("enqueue", "schedule", "push"), "frames")
	takeScript       = newScript("take", asynqfmt.Lua("pop", "unpop", "retire", "unlease", "count", "delete"), "counts")
	finishScript     = newScript("finish", asynqfmt.Lua("retire", "unlease", "return", "archive", "count", "delete"), "counts", "frames", "part", "kept", "slow")
	checkpointScript = newScript("checkpoint", "", "counts", "frames", "part")
	cancelScript     = newScript("cancel", "", "counts", "frames", "end")
	forgetScript     = newScript("forget", "", "counts", "frames", "end")
	consumeScript    = newScript("consume", "", "frames")
	discardScript    = newScript("discard", "")
	putBackScript    = newScript("putback", asynqfmt.Lua("unpop"))
	forwardScript    = newScript("forward", asynqfmt.Lua("forward"))
	trimScript       = newScript("trim", asynqfmt.Lua("trim"))
	standsScript     = newScript("stands", "")
	withdrawScript   = newScript("withdraw", asynqfmt.Lua("withdraw"))
	unarchiveScript  = newScript("unarchive", asynqfmt.Lua("unarchive"))
	reissueScript    = newScript("reissue", asynqfmt.Lua("enqueue", "retire", "unlease"))
)

// newScript is the named script behind the functions of head and those of the given files.
func newScript(name, head string, functions ...string) *redis.Script {
	var b strings.Builder
	b.WriteString(head)
	for _, file := range append(functions, name) {
		text, err := files.ReadFile("lua/" + file + ".lua")
		if err != nil {
			panic(err)
		}
		b.Write(text)
	}
	return redis.NewScript(b.String())
}

// run runs a script in its lane, and loads it where the server does not have it.
//
// A script touches keys that it cannot name before it runs, all of them in the lane's slot.
// The first of the keys that it does name tells the slot. The second key never exists. While a slot
// moves from one master to another, its keys are there one by one; and for a command that
// names several keys of which one is missing, both masters answer that it is to be tried again
// (TRYAGAIN). So no script ever runs on a part of a lane.
func run(ctx context.Context, c redis.Scripter, s *redis.Script, lane string, args []any) *redis.Cmd {
	return s.Run(ctx, c, []string{asynqfmt.PendingKey(lane), Prefix(lane) + "none"}, args...)
}
