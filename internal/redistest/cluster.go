package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const clusterSlots = 16384

// StartCluster starts a Redis Cluster of so many masters, without replicas, and
// returns its servers once each of them knows all slots. The client that
// Server.Client returns speaks to one server only: see ClusterURL.
func StartCluster(t testing.TB, masters int, opts ...Option) []*Server {
	t.Helper()
	servers := make([]*Server, masters)
	for i := range servers {
		servers[i] = Start(t, append([]Option{Config("cluster-enabled yes")}, opts...)...)
	}
	var clients []redis.UniversalClient
	for i, s := range servers {
		client := s.Client(t)
		clients = append(clients, client)
		first, end := i*clusterSlots/masters, (i+1)*clusterSlots/masters
		if err := client.ClusterAddSlotsRange(t.Context(), first, end-1).Err(); err != nil {
			t.Fatalf("giving slots to %s: %v", s.Addr(), err)
		}
		if i > 0 {
			if err := client.ClusterMeet(t.Context(), "127.0.0.1", strconv.Itoa(servers[0].port)).Err(); err != nil {
				t.Fatalf("introducing %s to the Cluster: %v", s.Addr(), err)
			}
		}
	}
	for _, client := range clients {
		waitForCluster(t, client, masters)
	}
	return servers
}

// ClusterURL names a Cluster by all of its servers.
func ClusterURL(servers []*Server) string {
	var addrs []string
	for _, s := range servers {
		addrs = append(addrs, s.Addr())
	}
	u := strings.Replace(servers[0].URL(), servers[0].Addr(), strings.Join(addrs, ","), 1)
	if strings.Contains(u, "?") {
		return u + "&cluster=true"
	}
	return u + "?cluster=true"
}

// waitForCluster waits until the server behind client knows that many masters
// and a server for every slot.
func waitForCluster(t testing.TB, client redis.UniversalClient, masters int) {
	t.Helper()
	var info string
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		var err error
		if info, err = client.ClusterInfo(t.Context()).Result(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", masters)) {
			return
		}
	}
	t.Fatalf("the Cluster was not ready after %v: %s", startTimeout, info)
}

// StartSentinel starts a Sentinel that watches master under the given name. A
// quorum of one decides. Options are those of the Sentinel, except that the
// master's password is known to it.
func StartSentinel(t testing.TB, master *Server, name string, opts ...Option) *Server {
	t.Helper()
	var lines []string
	if master.opts.password != "" {
		lines = append(lines, fmt.Sprintf("sentinel auth-pass %s %s", name, strconv.Quote(master.opts.password)))
	}
	return Start(t, append([]Option{watching(name, master.Addr()), Config(lines...)}, opts...)...)
}

// StartSentinelProcess is StartSentinel for programs; see StartProcess. The master
// is at addr, a host:port, which need not be its own: a proxy's will do.
func StartSentinelProcess(dir, name, addr string, opts ...Option) (*Server, error) {
	return StartProcess(dir, append([]Option{watching(name, addr)}, opts...)...)
}

// watching makes the server a Sentinel.
func watching(name, addr string) Option {
	return func(o *options) {
		o.sentinel = true
		o.config = append(o.config, fmt.Sprintf("sentinel monitor %s %s 1", name, strings.Replace(addr, ":", " ", 1)))
	}
}
