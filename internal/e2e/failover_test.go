package e2e_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// on skips a test of a topology that this run is not about.
func on(t *testing.T, topology string) {
	t.Helper()
	if !slices.Contains(topologies(t), topology) {
		t.Skipf("set %s=%s to run it (make test-topologies does)", envRedis, topology)
	}
	t.Parallel()
}

// Redis replicates after it has answered, so a master that dies may take with it
// what it has acknowledged: a job, an outcome, a delivery. Every handle gets its
// values, or ErrExpired if the job itself is lost; none waits for ever.
func TestASentinelFailoverEndsEveryJobRightOrWithErrExpired(t *testing.T) {
	on(t, sentinel)
	// With its data on disk: a master that is started again without is empty, and a
	// candidate for the Sentinel until it has copied the new master. That one forks for
	// it, which takes more than the second after which it counts as down when the machine
	// is busy, and then the empty one becomes the master.
	s := redistest.StartFailover(t, redistest.Config("appendonly yes"))
	e := newEnv(t, s.URL(), true)
	e.worker(t, 2)
	e.worker(t, 2)
	p, gate := e.pool(t), e.probe()
	l := e.load(t, 4)
	l.more(t, 10)
	// It runs on both masters.
	r, err := producer.ApplyAsync(ctx(t), p, hold, gate)
	must(t, err)
	e.awaitStarted(t, gate, 1)
	for range 2 { // and back again
		old, err := s.Master(ctx(t))
		must(t, err)
		replicated(t, s)
		must(t, old.Kill())
		now, err := s.AwaitFailover(ctx(t), old)
		must(t, err)
		t.Logf("%s is the master after %s", now.Addr(), old.Addr())
		l.more(t, 10)
		old.Restart(t) // a replica from now on
	}
	e.open(t, gate)
	if _, err := r.Get(ctx(t)); err != nil {
		t.Errorf("a call that ran all the time: %v", err)
	}
	l.more(t, 10)
	l.finish(t, results.ErrExpired)
}

// replicated waits until the master has a replica that has acknowledged all that the
// master had when this was called. A replica that is online may have nothing but the
// copy with which it began: the master sends what came after once the replica has said,
// which it does each second, that it has loaded the copy.
func replicated(t *testing.T, s *redistest.Setup) {
	t.Helper()
	had := int64(-1)
	eventually(t, "the master has a replica that is up to date", func() bool {
		m, err := s.Master(ctx(t))
		if err != nil {
			return false
		}
		info, err := m.Client(t).Info(ctx(t), "replication").Result()
		if err != nil || !strings.Contains(info, "role:master") || !strings.Contains(info, "state=online") {
			return false
		}
		if had < 0 {
			had = number(t, info, "master_repl_offset:")
		}
		return number(t, info, ",offset=") >= had
	})
}

// number reads the number behind the first occurrence of a text.
func number(t *testing.T, in, behind string) int64 {
	t.Helper()
	_, after, _ := strings.Cut(in, behind)
	digits := strings.IndexFunc(after, func(r rune) bool { return r < '0' || r > '9' })
	n, err := strconv.ParseInt(after[:max(digits, 0)], 10, 64)
	must(t, err)
	return n
}

func TestAClusterWhoseMastersRestartOnTheirFilesLosesNoJob(t *testing.T) {
	on(t, cluster)
	s := redistest.StartClusterSetup(t, 3, 0, redistest.Config("cluster-node-timeout 2000", "appendonly yes", "appendfsync always"))
	e := newEnv(t, s.URL(), true)
	e.worker(t, 2)
	e.worker(t, 2)
	l := e.load(t, 4)
	for _, server := range s.Servers {
		l.more(t, 10)
		must(t, server.Kill())
		time.Sleep(4 * time.Second) // the fault itself: the others have noticed
		server.Restart(t)
	}
	l.more(t, 10)
	l.finish(t)
}

// As with Sentinel; in a Cluster a job, its delivery and the registry of workers are
// on different masters, so any of them may be lost alone.
func TestAClusterWhoseReplicasTakeOverEndsEveryJobRightOrWithErrExpired(t *testing.T) {
	on(t, cluster)
	s := redistest.StartClusterSetup(t, 3, 1, redistest.Config("cluster-node-timeout 1000"))
	e := newEnv(t, s.URL(), true)
	e.worker(t, 2)
	e.worker(t, 2)
	l := e.load(t, 4)
	for i, server := range s.Servers[:3] {
		l.more(t, 10)
		must(t, server.Kill())
		// Jobs of other slots go on meanwhile, and a master that is back too early
		// stays one.
		heir := s.Servers[3+i].Client(t)
		eventually(t, "the replica has taken over", func() bool {
			info, err := heir.Info(ctx(t), "replication").Result()
			return err == nil && strings.Contains(info, "role:master")
		})
		l.more(t, 10)
		server.Restart(t) // a replica of it
		client := server.Client(t)
		eventually(t, "it has its master's data", func() bool {
			info, err := client.Info(ctx(t), "replication").Result()
			return err == nil && strings.Contains(info, "master_link_status:up")
		})
	}
	l.finish(t, results.ErrExpired)
}

func TestASlotThatMovesLosesNoJob(t *testing.T) {
	on(t, cluster)
	s := redistest.StartClusterSetup(t, 3, 0)
	e := newEnv(t, s.URL(), true)
	e.worker(t, 2)
	e.worker(t, 2)
	l := e.load(t, 4)
	l.more(t, 10)
	// The registry of workers, the numbers of lanes and the lanes of the queue go to
	// another master, key by key, while they are in use.
	keys := []string{"distpool:@{workers}", "distpool:@{lanes}"}
	for _, lane := range e.lanes(t) {
		keys = append(keys, "asynq:{"+lane+"}")
	}
	for _, key := range keys {
		e.moveSlot(t, s, key)
		l.more(t, 5)
	}
	l.finish(t)
}

// moveSlot moves the slot of the key to another master, as redis-cli does it.
func (e *env) moveSlot(t *testing.T, s *redistest.Setup, key string) {
	t.Helper()
	c := e.rdb.(*redis.ClusterClient)
	slot, err := c.ClusterKeySlot(ctx(t), key).Result()
	must(t, err)
	clients := make([]*redis.Client, len(s.Servers))
	ids := make([]string, len(s.Servers))
	from := -1
	for i, server := range s.Servers {
		clients[i] = server.Client(t).(*redis.Client)
		ids[i] = clients[i].ClusterMyID(ctx(t)).Val()
		if clients[i].Exists(ctx(t), key).Err() == nil { // the others answer MOVED
			from = i
		}
	}
	to := (from + 1) % len(s.Servers)
	must(t, clients[to].Do(ctx(t), "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]).Err())
	must(t, clients[from].Do(ctx(t), "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]).Err())
	host, port, _ := strings.Cut(s.Servers[to].Addr(), ":")
	for {
		keys, err := clients[from].ClusterGetKeysInSlot(ctx(t), int(slot), 100).Result()
		must(t, err)
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			err := clients[from].Migrate(ctx(t), host, port, k, 0, 5*time.Second).Err()
			if err != nil && !errors.Is(err, context.Canceled) && !strings.HasPrefix(err.Error(), "NOKEY") {
				must(t, err)
			}
		}
	}
	for _, i := range []int{to, from} {
		must(t, clients[i].Do(ctx(t), "CLUSTER", "SETSLOT", slot, "NODE", ids[to]).Err())
	}
	t.Logf("slot %d of %s moved from %s to %s", slot, key, s.Servers[from].Addr(), s.Servers[to].Addr())
}
