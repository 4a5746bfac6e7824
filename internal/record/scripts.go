package record

import (
	"context"
	_ "embed" // the scripts
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/combine"
)

// One file per transition; common.lua is prepended to each.
var (
	//go:embed lua/common.lua
	commonLua string
	//go:embed lua/create.lua
	createLua string
	//go:embed lua/add.lua
	addLua string
	//go:embed lua/consume.lua
	consumeLua string
	//go:embed lua/begin.lua
	beginLua string
	//go:embed lua/recording.lua
	recordingLua string
	//go:embed lua/record.lua
	recordLua string
	//go:embed lua/submit.lua
	submitLua string
	//go:embed lua/fetch.lua
	fetchLua string
	//go:embed lua/ending.lua
	endingLua string
	//go:embed lua/finish.lua
	finishLua string
	//go:embed lua/finish_inline.lua
	finishInlineLua string
	//go:embed lua/giveback.lua
	giveBackLua string
	//go:embed lua/release.lua
	releaseLua string
	//go:embed lua/checkpoint.lua
	checkpointLua string
	//go:embed lua/cancel.lua
	cancelLua string
	//go:embed lua/check.lua
	checkLua string
	//go:embed lua/expire.lua
	expireLua string
	//go:embed lua/forget.lua
	forgetLua string
	//go:embed lua/ring.lua
	ringLua string
	//go:embed lua/list.lua
	listLua string

	createScript     = redis.NewScript(commonLua + createLua)
	addScript        = redis.NewScript(commonLua + addLua)
	consumeScript    = redis.NewScript(commonLua + consumeLua)
	beginScript      = redis.NewScript(commonLua + beginLua)
	recordScript     = redis.NewScript(commonLua + recordingLua + recordLua)
	submitScript     = redis.NewScript(commonLua + submitLua)
	fetchScript      = redis.NewScript(commonLua + fetchLua)
	finishScript     = redis.NewScript(commonLua + recordingLua + endingLua + finishLua)
	finishInline     = redis.NewScript(commonLua + recordingLua + endingLua + finishInlineLua)
	giveBackScript   = redis.NewScript(giveBackLua)
	releaseScript    = redis.NewScript(commonLua + releaseLua)
	checkpointScript = redis.NewScript(commonLua + checkpointLua)
	cancelScript     = redis.NewScript(commonLua + cancelLua)
	checkScript      = redis.NewScript(commonLua + checkLua)
	expireScript     = redis.NewScript(commonLua + expireLua)
	forgetScript     = redis.NewScript(commonLua + forgetLua)
	ringScript       = redis.NewScript(ringLua)
	listScript       = redis.NewScript(listLua)
)

// Op is one transition, ready to run: alone, or as part of a pipeline. Its arguments
// may be large (see there).
type Op struct {
	script *redis.Script
	keys   []string
	args   []any
}

// Run runs the transition in a round trip of its own, loading the script when
// the server does not have it.
func (o Op) Run(ctx context.Context, c redis.Scripter) *redis.Cmd {
	if o.larges() != nil {
		return o.runApart(ctx, c)
	}
	return o.script.Run(ctx, c, o.keys, o.args...)
}

// Queue adds the transition to a pipeline. The script must have been loaded: a
// server that does not have it answers NOSCRIPT (see IsNoScript, Load).
func (o Op) Queue(ctx context.Context, p redis.Pipeliner) Queued {
	sets := put(ctx, p, o.larges())
	return Queued{o.script.EvalSha(ctx, p, o.keys, o.args...), sets}
}

// Queued is a transition that was added to a pipeline.
type Queued struct {
	cmd  *redis.Cmd
	sets []*redis.BoolCmd // of its large arguments
}

// Reply is the transition's reply, once the pipeline has been executed. If it failed
// since a large argument could not be stored, as for a lack of memory, it is the error of
// that: the script's only says that there is none.
func (q Queued) Reply() *redis.Cmd {
	if q.cmd.Err() == nil {
		return q.cmd
	}
	for _, set := range q.sets {
		if err := set.Err(); err != nil {
			q.cmd.SetErr(err)
			break
		}
	}
	return q.cmd
}

// Cmd is the transition as a command, for a pipeline of somebody else's. As with
// Queue, the script must have been loaded; and nothing about it must be Apart.
func (o Op) Cmd(ctx context.Context) *redis.Cmd {
	cmd, _ := combine.Script(ctx, o.script.Hash(), o.keys, o.args...)
	return cmd
}

// runOnce is Run for a transition that must not be repeated when the connection
// breaks and nobody knows whether it has happened.
func (o Op) runOnce(ctx context.Context, c redis.UniversalClient) *redis.Cmd {
	return o.Run(ctx, onceScripter{c})
}

// onceScripter is a client that sends scripts once.
type onceScripter struct{ redis.UniversalClient }

func (c onceScripter) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.once(ctx, "evalsha", sha, keys, args)
}

func (c onceScripter) Eval(ctx context.Context, source string, keys []string, args ...any) *redis.Cmd {
	return c.once(ctx, "eval", source, keys, args)
}

func (c onceScripter) once(ctx context.Context, name, script string, keys []string, args []any) *redis.Cmd {
	cmd, _ := combine.Script(ctx, script, keys, args...)
	cmd.Args()[0] = name
	_ = c.Process(ctx, once{cmd})
	if IsNoScript(cmd.Err()) {
		cmd.SetErr(redis.ErrNoScript) // what go-redis looks for
	}
	return cmd
}

// once is a command that go-redis does not repeat.
type once struct{ *redis.Cmd }

// NoRetry is asked by go-redis.
func (once) NoRetry() bool { return true }

// Load puts every script into the server's cache (in a Cluster: into every
// master's), so that pipelines can refer to them.
func Load(ctx context.Context, c redis.UniversalClient) error {
	load := func(ctx context.Context, c redis.Scripter) error {
		for _, s := range []*redis.Script{createScript, submitScript, addScript, cancelScript, expireScript, ringScript} {
			if err := s.Load(ctx, c).Err(); err != nil {
				return err
			}
		}
		return nil
	}
	if cluster, ok := c.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return load(ctx, c) })
	}
	return load(ctx, c)
}

// IsNoScript reports whether the server did not know the script: it was
// restarted, failed over, or its cache was flushed.
func IsNoScript(err error) bool {
	return err != nil && (errors.Is(err, redis.ErrNoScript) || strings.HasPrefix(err.Error(), "NOSCRIPT"))
}
