package e2e_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// afterRead is a hook that calls do once, right after the next reading of a hash.
type afterRead struct {
	key string
	do  atomic.Pointer[func()]
}

func (a *afterRead) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a *afterRead) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		a.after(cmd)
		return err
	}
}

func (a *afterRead) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		a.after(cmds...)
		return err
	}
}

func (a *afterRead) after(cmds ...redis.Cmder) {
	reads := func(c redis.Cmder) bool {
		return c.Name() == "hmget" && c.Args()[1] == a.key && slices.Contains(c.Args(), any("reply"))
	}
	if slices.ContainsFunc(cmds, reads) {
		if do := a.do.Swap(nil); do != nil {
			(*do)()
		}
	}
}

// The ID passes to the next job right after Attach has read of the first one. The handle
// on the next job is right, and the attached handle is one on it.
func TestAttachingToAnIDThatIsUsedAgainHarmsNoJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		id, passed, gate := "passed-"+e.queue, e.probe(), e.probe()
		e.open(t, passed)
		old, err := producer.ApplyAsync(ctx(t), e.pool(t), hold, passed, producer.ID(id))
		must(t, err)
		_, err = old.Get(ctx(t))
		must(t, err)

		hook := &afterRead{key: record.Keys(old.ID())[0]}
		c, err := redisconn.Open(ctx(t), e.url)
		must(t, err)
		t.Cleanup(func() { _ = c.Close() })
		c.AddHook(hook)
		p := e.pool(t, func(cfg *producer.Config) { cfg.Client, cfg.Redis = c, "" })
		var next *results.AsyncResult[string]
		do := func() {
			must(t, old.Forget(ctx(t)))
			next, err = producer.ApplyAsync(ctx(t), p, hold, gate, producer.ID(id))
			must(t, err)
		}
		hook.do.Store(&do)
		attached, errAttach := producer.Attach(ctx(t), p, hold, id)
		must(t, errAttach)
		e.open(t, gate)
		for _, r := range []*results.AsyncResult[string]{next, attached} {
			_, err := r.Get(ctx(t))
			must(t, err)
		}
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("the next job's call was started %d times, want once", n)
		}
	})
}
