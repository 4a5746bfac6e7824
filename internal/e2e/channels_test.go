package e2e_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
)

// On a Cluster notices stay in the shard of their lane and need no polling, also after the slots of
// the lanes have moved.
func TestNoticesStayInTheShardOfTheirLane(t *testing.T) {
	on(t, cluster)
	s := redistest.StartClusterSetup(t, 3, 0)
	e := newEnv(t, s.URL(), true)
	e.worker(t, 4)
	p := e.pool(t)
	late := metronome(t)
	calls := func() {
		t.Helper()
		must(t, e.eachServer(t, func(ctx context.Context, c *redis.Client) error { return c.ConfigResetStat(ctx).Err() }))
		for i := range 30 {
			began := time.Now()
			n, err := producer.Apply(ctx(t), p, square, i)
			same(t, "a call", n, err, i*i)
			inTime(t, "a call that polling finds after 2 s", time.Since(began), time.Second, late)
		}
		var sharded, plain atomic.Int64
		must(t, e.eachServer(t, func(ctx context.Context, c *redis.Client) error {
			info, err := c.Info(ctx, "commandstats").Result()
			if strings.Contains(info, "cmdstat_spublish:") {
				sharded.Add(number(t, info, "cmdstat_spublish:calls="))
			}
			if strings.Contains(info, "cmdstat_publish:") {
				plain.Add(number(t, info, "cmdstat_publish:calls="))
			}
			return err
		}))
		if sharded.Load() < 30 || plain.Load() > 0 {
			t.Errorf("30 calls sent %d notices in shards and %d to all, want 30 and 0", sharded.Load(), plain.Load())
		}
	}
	calls()
	for _, lane := range e.lanes(t) {
		e.moveSlot(t, s, "asynq:{"+lane+"}")
	}
	eventually(t, "pool and worker listen again", func() bool {
		listening := 0
		for _, lane := range e.lanes(t) {
			for _, pattern := range []string{"distpool:{" + lane + "}:reply:*", "distpool:{" + lane + "}:control"} {
				if len(e.shardChannels(t, lane, pattern)) == 1 {
					listening++
				}
			}
		}
		return listening == 2*len(e.lanes(t))
	})
	calls()
}

// shardChannels are the sharded channels that are listened to at the master of a lane.
func (e *env) shardChannels(t *testing.T, lane, pattern string) []string {
	t.Helper()
	c := e.rdb.(*redis.ClusterClient)
	c.ReloadState(ctx(t))
	master, err := c.MasterForKey(ctx(t), "{"+lane+"}")
	must(t, err)
	channels, err := master.PubSubShardChannels(ctx(t), pattern).Result()
	must(t, err)
	return channels
}

// A worker with a user that may not use channels tries to subscribe again and again: that costs
// neither connections nor log lines, and jobs are canceled all the same.
func TestAForbiddenCancelChannelCostsNoConnections(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		if !e.real {
			t.Skip("miniredis has no rules for channels")
		}
		p := e.pool(t)
		var mu sync.Mutex // guards what each sums up
		each := func(f func(context.Context, *redis.Client) (int64, error)) (sum int64) {
			t.Helper()
			must(t, e.eachServer(t, func(ctx context.Context, c *redis.Client) error {
				n, err := f(ctx, c)
				mu.Lock()
				defer mu.Unlock()
				sum += n
				return err
			}))
			return sum
		}
		each(func(ctx context.Context, c *redis.Client) (int64, error) {
			return 0, c.Do(ctx, "ACL", "SETUSER", "default", "resetchannels").Err()
		})
		url, sep := e.url, "?"
		if strings.Contains(url, "?") {
			sep = "&"
		}
		e.worker(t, 1, func(s *workerSpec) { s.Redis = url + sep + "client_name=forbidden" })
		eventually(t, "it has tried four times to subscribe", func() bool {
			return each(func(ctx context.Context, c *redis.Client) (n int64, err error) {
				entries, err := c.ACLLog(ctx, 100).Result()
				for _, entry := range entries {
					if entry.Object == "asynq:cancel" {
						n += entry.Count
					}
				}
				return n, err
			}) >= 4
		})
		open := each(func(ctx context.Context, c *redis.Client) (n int64, err error) {
			list, err := c.ClientList(ctx).Result()
			for line := range strings.Lines(list) {
				if strings.Contains(line, " name=forbidden ") && strings.Contains(line, " cmd=subscribe ") {
					n++
				}
			}
			return n, err
		})
		if open > 2 { // to asynq's channel, and to that of jobs that ended
			t.Errorf("%d connections have tried to subscribe, want 2 at the most", open)
		}
		if n := strings.Count(e.log.String(), "subscribe to asynq:cancel"); n != 1 {
			t.Errorf("the log says %d times that it may not subscribe, want once", n)
		}
		mark := e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, linger, mark)
		must(t, err)
		eventually(t, "a call runs", func() bool { return e.rdb.Exists(ctx(t), mark.Key+":started").Val() == 1 })
		must(t, r.Cancel(ctx(t)))
		eventually(t, "its context has ended", func() bool { return e.rdb.LLen(ctx(t), mark.Key+":ended").Val() == 1 })
	})
}
