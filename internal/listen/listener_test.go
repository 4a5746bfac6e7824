package listen

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// ear is a Listener and what it was told.
type ear struct {
	*Listener
	mu         sync.Mutex
	messages   map[string]bool
	subscribed map[string]int
	refused    int
}

func newEar(t *testing.T, rdb redis.UniversalClient) *ear {
	e := &ear{messages: map[string]bool{}, subscribed: map[string]int{}}
	e.Listener = New(Config{
		Redis: rdb, Silence: 300 * time.Millisecond,
		Message:    func(channel, payload string) { e.note(func() { e.messages[channel+" "+payload] = true }) },
		Subscribed: func(channel string) { e.note(func() { e.subscribed[channel]++ }) },
		Refused:    func(error) { e.note(func() { e.refused++ }) },
	})
	t.Cleanup(e.Close)
	return e
}

func (e *ear) note(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func (e *ear) heard(message string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.messages[message]
}

// times is how often the subscription to the channel was confirmed.
func (e *ear) times(channel string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.subscribed[channel]
}

func (e *ear) await(t *testing.T, channel string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := e.Await(ctx, channel); err != nil {
		t.Fatalf("channel %s: %v", channel, err)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func startCluster(t *testing.T, replicas int, opts ...redistest.Option) (*redistest.Setup, *redis.ClusterClient) {
	t.Helper()
	s := redistest.StartClusterSetup(t, 3, replicas, opts...)
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Servers[0].Addr()}, ClusterStateReloadInterval: 2 * time.Second})
	t.Cleanup(func() { rdb.Close() })
	return s, rdb
}

// chans have slots on all masters; two share one.
var chans = []string{"{a}:1", "{b}:1", "{c}:1", "{d}:1", "{a}:2", "plain"}

func TestMessagesOfAllChannelsArrive(t *testing.T) {
	for name, start := range map[string]func(t *testing.T) redis.UniversalClient{
		"one Redis": func(t *testing.T) redis.UniversalClient { return redistest.Start(t).Client(t) },
		"cluster": func(t *testing.T) redis.UniversalClient {
			_, rdb := startCluster(t, 0)
			return rdb
		},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := start(t)
			cluster, _ := rdb.(*redis.ClusterClient)
			e := newEar(t, rdb)
			for _, c := range chans {
				e.Add(c)
			}
			for _, c := range chans {
				e.await(t, c)
				if cluster != nil && c != "plain" { // one reached subscriber: it listens in the shard
					if n, err := rdb.SPublish(t.Context(), c, "x").Result(); err != nil || n != 1 {
						t.Errorf("%d subscribers in the shard of %s, %v", n, c, err)
					}
				} else {
					must(t, rdb.Publish(t.Context(), c, "x").Err())
				}
				eventually(t, "the message of "+c+" arrives", func() bool { return e.heard(c + " x") })
			}
			if !e.Healthy() {
				t.Error("it is not healthy")
			}
			e.Remove("{a}:2")
			e.Remove("{b}:1")
			for _, c := range chans {
				want := int64(1)
				if c == "{a}:2" || c == "{b}:1" {
					want = 0
				}
				eventually(t, "only channels that were not removed are listened to", func() bool { return subscribers(t, rdb, c) == want })
			}
		})
	}
}

// subscribers counts the subscriptions to a channel on all servers.
func subscribers(t *testing.T, rdb redis.UniversalClient, channel string) int64 {
	t.Helper()
	var sum atomic.Int64
	count := func(ctx context.Context, c *redis.Client) error {
		sum.Add(c.PubSubNumSub(ctx, channel).Val()[channel] + c.PubSubShardNumSub(ctx, channel).Val()[channel])
		return nil
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		must(t, cluster.ForEachMaster(t.Context(), count))
	} else {
		must(t, count(t.Context(), rdb.(*redis.Client)))
	}
	return sum.Load()
}

// Redis 6.2 has no sharded channels.
func TestOldServersGetPlainSubscriptions(t *testing.T) {
	_, rdb := startCluster(t, 0, redistest.Config(`rename-command SSUBSCRIBE ""`))
	e := newEar(t, rdb)
	for _, c := range chans {
		e.Add(c)
	}
	for _, c := range chans {
		e.await(t, c)
		must(t, rdb.Publish(t.Context(), c, "x").Err())
		eventually(t, "the message of "+c+" arrives", func() bool { return e.heard(c + " x") })
	}
	if e.refused != 0 {
		t.Errorf("it was refused %d times", e.refused)
	}
}

func TestARefusedSubscriptionIsToldOnce(t *testing.T) {
	s := redistest.Start(t)
	admin := s.Client(t)
	must(t, admin.Do(t.Context(), "ACL", "SETUSER", "u", "on", "nopass", "+@all", "~*", "resetchannels").Err())
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr(), Username: "u", Password: "p"})
	t.Cleanup(func() { rdb.Close() })
	e := newEar(t, rdb)
	e.Add("c")
	if err := e.Await(t.Context(), "c"); err == nil || !strings.Contains(err.Error(), "NOPERM") {
		t.Errorf("a forbidden channel: %v", err)
	}
	if !e.Add("c") || e.Healthy() {
		t.Error("the refusal counts as no answer, or as health")
	}
	eventually(t, "it is told", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.refused == 1 })
	must(t, admin.Do(t.Context(), "ACL", "SETUSER", "u", "allchannels").Err())
	eventually(t, "it listens", e.Healthy)
	if e.refused != 1 {
		t.Errorf("it was told %d times", e.refused)
	}
}

// A slot goes to another master and back: Redis ends the subscription, and go-redis does not notice.
func TestASubscriptionFollowsItsSlot(t *testing.T) {
	s, rdb := startCluster(t, 0)
	e := newEar(t, rdb)
	e.Add("{a}:1")
	e.await(t, "{a}:1")
	slot := rdb.ClusterKeySlot(t.Context(), "{a}:1").Val()
	ids := map[string]string{}
	for _, server := range s.Servers {
		ids[server.Addr()] = server.Client(t).(*redis.Client).ClusterMyID(t.Context()).Val()
	}
	for i, to := range s.Servers {
		before := e.times("{a}:1")
		owner, err := rdb.MasterForKey(t.Context(), "{a}")
		must(t, err)
		moved := owner.Options().Addr != to.Addr()
		for _, server := range s.Servers { // all at once: no key is there
			must(t, server.Client(t).Do(t.Context(), "CLUSTER", "SETSLOT", slot, "NODE", ids[to.Addr()]).Err())
		}
		if moved {
			eventually(t, "it has subscribed again", func() bool { return e.times("{a}:1") > before })
		}
		eventually(t, "the client knows the master", func() bool {
			rdb.ReloadState(t.Context())
			m, err := rdb.MasterForKey(t.Context(), "{a}")
			return err == nil && m.Options().Addr == to.Addr()
		})
		eventually(t, "it listens at the new master", func() bool {
			n, err := rdb.SPublish(t.Context(), "{a}:1", string(rune('0'+i))).Result()
			return err == nil && n == 1
		})
		eventually(t, "the message arrives", func() bool { return e.heard("{a}:1 " + string(rune('0'+i))) })
	}
}

func TestASubscriptionFollowsAFailover(t *testing.T) {
	s, rdb := startCluster(t, 1, redistest.Config("cluster-node-timeout 1000"))
	e := newEar(t, rdb)
	for _, c := range chans {
		e.Add(c)
	}
	for _, c := range chans {
		e.await(t, c)
	}
	master, err := rdb.MasterForKey(t.Context(), "{a}")
	must(t, err)
	for i, server := range s.Servers[:3] {
		if server.Addr() != master.Options().Addr {
			continue
		}
		must(t, server.Kill())
		eventually(t, "it notices", func() bool { return !e.Healthy() })
		heir := s.Servers[3+i].Client(t)
		eventually(t, "the replica has taken over, and is listened to", func() bool {
			return heir.SPublish(t.Context(), "{a}:1", "x").Val() == 1
		})
	}
	eventually(t, "the message arrives", func() bool { return e.heard("{a}:1 x") && e.Healthy() })
}
