package redistest

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
)

func setupClient(t *testing.T, s *Setup) redis.UniversalClient {
	t.Helper()
	target, err := redisconn.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := target.Client()
	t.Cleanup(func() { c.Close() })
	return c
}

// eventuallySet writes a key until it is taken: during a failover it is not.
func eventuallySet(t *testing.T, c redis.UniversalClient, key string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		err := c.Set(context.Background(), key, "x", 0).Err()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not taken: %v", key, err)
		}
	}
}

func TestASentinelMakesTheReplicaTheMaster(t *testing.T) {
	s := StartFailover(t)
	c := setupClient(t, s)
	eventuallySet(t, c, "before")
	old, err := s.Master(t.Context())
	if err != nil || old != s.Servers[0] {
		t.Fatalf("the master is %v, %v; want the first server", old, err)
	}
	if err := old.Kill(); err != nil {
		t.Fatal(err)
	}
	now, err := s.AwaitFailover(t.Context(), old)
	if err != nil || now != s.Servers[1] {
		t.Fatalf("the master is %v, %v; want the second server", now, err)
	}
	eventuallySet(t, c, "after")
}

func TestAClustersReplicaTakesOver(t *testing.T) {
	s := StartClusterSetup(t, 3, 1, Config("cluster-node-timeout 1000"))
	c := setupClient(t, s)
	for _, key := range []string{"a", "b", "c", "d"} { // all masters have one
		eventuallySet(t, c, key)
	}
	if err := s.Servers[0].Kill(); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		eventuallySet(t, c, key)
	}
}
