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
	takeScript       = newScript("take", asynqfmt.Lua("pop", "unpop", "retire", "unlease", "count", "delete"))
	finishScript     = newScript("finish", asynqfmt.Lua("retire", "unlease", "return", "archive", "count", "delete"), "frames", "kept", "slow")
	checkpointScript = newScript("checkpoint", "")
	cancelScript     = newScript("cancel", "", "frames", "end")
	forgetScript     = newScript("forget", "", "frames", "end")
	consumeScript    = newScript("consume", "", "frames")
	putBackScript    = newScript("putback", asynqfmt.Lua("unpop"))
	forwardScript    = newScript("forward", asynqfmt.Lua("forward"))
	trimScript       = newScript("trim", asynqfmt.Lua("trim"))
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
func run(ctx context.Context, c redis.Scripter, s *redis.Script, lane string, args []any) *redis.Cmd {
	return s.Run(ctx, c, []string{asynqfmt.PendingKey(lane)}, args...)
}
