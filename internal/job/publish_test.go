package job

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// On a Cluster subscribers of the lane's shard get notices, and plain subscribers of any master
// where the shard has none; also where Redis has no sharded channels, as before version 7.
func TestAClusterPublishesInTheShardOrEverywhere(t *testing.T) {
	for _, c := range []struct {
		name    string
		old     []redistest.Option
		sharded bool
	}{
		{"sharded subscriber", nil, true},
		{"plain subscriber", nil, false},
		{"old servers", []redistest.Option{redistest.Config(`rename-command SPUBLISH ""`)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{redistest.StartCluster(t, 3, c.old...)[0].Addr()}})
			t.Cleanup(func() { rdb.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var subs []*redis.PubSub
			if c.sharded {
				subs = append(subs, rdb.SSubscribe(ctx, ReplyChannel(lane, "pool")))
			} else {
				masters := make(chan *redis.Client, 3)
				must(t, rdb.ForEachMaster(ctx, func(_ context.Context, m *redis.Client) error { masters <- m; return nil }))
				for range 3 {
					subs = append(subs, (<-masters).Subscribe(ctx, ReplyChannel(lane, "pool")))
				}
			}
			for _, sub := range subs {
				defer sub.Close()
				if _, err := sub.Receive(ctx); err != nil {
					t.Fatal(err)
				}
			}
			submit(t, rdb, Sealed, newCall(lane, "j"))
			finish(t, rdb, OK, done(take(t, rdb, 1)[0]))
			for i, sub := range subs {
				if m, err := sub.ReceiveMessage(ctx); err != nil || !strings.HasPrefix(m.Payload, "j  out 0 1 1 0 0 done ") {
					t.Errorf("subscriber %d: %v, %v", i, m, err)
				}
			}
		})
	}
}
