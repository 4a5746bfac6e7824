package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// masterName is what the Sentinel calls its master.
const masterName = "main"

// node is one redis-server.
type node struct {
	name   string
	server *redistest.Server
	admin  *redis.Client // directly, not through a proxy
	link   *link         // by which clients reach it; nil if each has its own
}

// topology is the Redis of the run.
type topology struct {
	kind     string
	nodes    []*node
	sentinel *redistest.Server
	proxies  *proxies
}

// lasting makes a server keep what it has acknowledged, whatever happens to it.
var lasting = redistest.Config("appendonly yes", "appendfsync always")

// startTopology starts the servers in folders under dir.
func startTopology(ctx context.Context, kind, dir string) (t *topology, err error) {
	t = &topology{kind: kind, proxies: newProxies()}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.stop())
		}
	}()
	count := map[string]int{Alone: 1, Sentinel: 2, Cluster: 3}[kind]
	for i := range count {
		if err := t.startNode(ctx, i, dir); err != nil {
			return t, err
		}
	}
	switch kind {
	case Sentinel:
		err = t.startSentinel(ctx, dir)
	case Cluster:
		err = t.joinCluster(ctx)
	default:
	}
	return t, err
}

func (t *topology) startNode(ctx context.Context, i int, dir string) error {
	n := &node{name: fmt.Sprintf("redis%d", i)}
	home := filepath.Join(dir, n.name)
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	opts := []redistest.Option{lasting}
	if t.kind == Cluster {
		opts = append(opts, redistest.Config("cluster-enabled yes", "cluster-require-full-coverage no"))
	}
	var err error
	if n.server, err = redistest.StartProcess(home, opts...); err != nil {
		return err
	}
	t.nodes = append(t.nodes, n)
	n.admin = redis.NewClient(&redis.Options{Addr: n.server.Addr(), DisableIdentity: true, MaxRetries: 1, ReadTimeout: 2 * time.Second})
	if t.kind == Alone {
		return nil
	}
	// Clients learn of this server from others: they must learn the proxy's address.
	if n.link, err = t.proxies.open(n.name, n.server.Addr()); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(n.link.addr())
	announce := [][2]string{{"replica-announce-ip", "127.0.0.1"}, {"replica-announce-port", port}}
	if t.kind == Cluster {
		announce = [][2]string{{"cluster-announce-ip", "127.0.0.1"}, {"cluster-announce-port", port}}
	}
	for _, a := range announce {
		if err := n.admin.ConfigSet(ctx, a[0], a[1]).Err(); err != nil {
			return fmt.Errorf("setting %s: %w", a[0], err)
		}
		n.server.Configure(a[0] + " " + a[1])
	}
	return nil
}

func (t *topology) startSentinel(ctx context.Context, dir string) error {
	master, replica := t.nodes[0], t.nodes[1]
	_, port, _ := net.SplitHostPort(master.link.addr())
	if err := replica.admin.ReplicaOf(ctx, "127.0.0.1", port).Err(); err != nil {
		return err
	}
	home := filepath.Join(dir, "sentinel")
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	var err error
	t.sentinel, err = redistest.StartWatcherProcess(home, masterName, master.link.addr(), redistest.Config(
		"sentinel down-after-milliseconds "+masterName+" 1500", "sentinel failover-timeout "+masterName+" 5000"))
	if err != nil {
		return err
	}
	return until(ctx, 30*time.Second, "the replica is in step", func() bool {
		info := replica.admin.Info(ctx, "replication").Val()
		s := redis.NewSentinelClient(&redis.Options{Addr: t.sentinel.Addr(), DisableIdentity: true})
		defer s.Close()
		replicas, err := s.Replicas(ctx, masterName).Result()
		return strings.Contains(info, "master_link_status:up") && err == nil && len(replicas) == 1
	})
}

const clusterSlots = 16384

func (t *topology) joinCluster(ctx context.Context) error {
	for i, n := range t.nodes {
		first, end := i*clusterSlots/len(t.nodes), (i+1)*clusterSlots/len(t.nodes)
		if err := n.admin.ClusterAddSlotsRange(ctx, first, end-1).Err(); err != nil {
			return fmt.Errorf("giving slots to %s: %w", n.name, err)
		}
		if i > 0 { // by the real port: its bus is beside that one
			host, port, _ := net.SplitHostPort(t.nodes[0].server.Addr())
			if err := n.admin.ClusterMeet(ctx, host, port).Err(); err != nil {
				return fmt.Errorf("introducing %s: %w", n.name, err)
			}
		}
	}
	for _, n := range t.nodes {
		err := until(ctx, 30*time.Second, n.name+" knows the whole Cluster", func() bool {
			info := n.admin.ClusterInfo(ctx).Val()
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", len(t.nodes)))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// until waits for a condition.
func until(ctx context.Context, limit time.Duration, what string, cond func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !cond() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %v in vain until %s: %w", limit, what, context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// url is how a process reaches Redis: by the link, where it has one of its own.
func (t *topology) url(own *link) string {
	switch t.kind {
	case Sentinel:
		return "redis://" + t.sentinel.Addr() + "?master_name=" + masterName
	case Cluster:
		var addrs []string
		for _, n := range t.nodes {
			addrs = append(addrs, n.link.addr())
		}
		return "redis://" + strings.Join(addrs, ",") + "?cluster=true"
	default:
		return "redis://" + own.addr()
	}
}

// direct is the URL of the driver itself.
func (t *topology) direct() string {
	if t.kind == Alone {
		return t.nodes[0].server.URL()
	}
	return t.url(nil)
}

// lossy reports whether a fault of Redis may cost writes that it acknowledged: a
// replica that takes over may lack the last ones.
func (t *topology) lossy() bool { return t.kind == Sentinel }

// stop ends all that runs.
func (t *topology) stop() error {
	var errs []error
	t.proxies.close()
	for _, n := range t.nodes {
		n.admin.Close()
		errs = append(errs, n.server.Kill())
	}
	if t.sentinel != nil {
		errs = append(errs, t.sentinel.Kill())
	}
	return errors.Join(errs...)
}
