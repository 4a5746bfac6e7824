package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
)

const clusterSlots = 16384

// StartCluster starts a Redis Cluster of so many masters, without replicas, and
// returns its servers once each of them knows all slots. The client that
// Server.Client returns speaks to one server only: see ClusterURL.
func StartCluster(t testing.TB, masters int, opts ...Option) []*Server {
	t.Helper()
	return StartClusterSetup(t, masters, 0, opts...).Servers
}

// StartClusterSetup starts a Redis Cluster of so many masters, each with so many
// replicas, which take over for a master that is gone. It ends when t ends.
func StartClusterSetup(t testing.TB, masters, replicas int, opts ...Option) *Setup {
	t.Helper()
	return startSetup(t, func(dir string) (*Setup, error) { return StartClusterProcess(dir, masters, replicas, opts...) })
}

// StartClusterProcess is StartClusterSetup for programs: the data folders are
// made under dir, which must exist, and the caller stops the servers.
func StartClusterProcess(dir string, masters, replicas int, opts ...Option) (*Setup, error) {
	s := &Setup{}
	if err := s.startCluster(dir, masters, replicas, opts); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	s.url = ClusterURL(s.Servers)
	return s, nil
}

func (s *Setup) startCluster(dir string, masters, replicas int, opts []Option) error {
	// Masters come first, then the first replica of each, and so on.
	opts = append([]Option{Config("cluster-enabled yes", "repl-diskless-sync-delay 0")}, opts...)
	if err := s.start(dir, "node", masters*(1+replicas), opts); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var clients []*redis.Client
	defer func() {
		for _, client := range clients {
			_ = client.Close()
		}
	}()
	for i, server := range s.Servers {
		client, err := server.client()
		if err != nil {
			return err
		}
		clients = append(clients, client)
		if i < masters {
			first, end := i*clusterSlots/masters, (i+1)*clusterSlots/masters
			if err := client.ClusterAddSlotsRange(ctx, first, end-1).Err(); err != nil {
				return fmt.Errorf("giving slots to %s: %w", server.Addr(), err)
			}
		}
		if i > 0 {
			if err := client.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(s.Servers[0].port)).Err(); err != nil {
				return fmt.Errorf("introducing %s to the Cluster: %w", server.Addr(), err)
			}
		}
	}
	if err := s.untilClusterKnows(ctx, clients, masters, 0); err != nil {
		return err
	}
	for i := masters; i < len(clients); i++ {
		id, err := clients[i%masters].ClusterMyID(ctx).Result()
		if err == nil {
			err = clients[i].ClusterReplicate(ctx, id).Err()
		}
		if err != nil {
			return fmt.Errorf("making %s a replica: %w", s.Servers[i].Addr(), err)
		}
	}
	return s.untilClusterKnows(ctx, clients, masters, masters*replicas)
}

// untilClusterKnows waits until each server knows all servers, a master for every
// slot, and so many replicas, each with its master's data.
func (s *Setup) untilClusterKnows(ctx context.Context, clients []*redis.Client, masters, replicas int) error {
	for i, client := range clients {
		err := until(ctx, "the Cluster of "+s.Servers[i].Addr()+" stands", func() (bool, error) {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return false, err
			}
			nodes, err := client.ClusterNodes(ctx).Result()
			if err != nil {
				return false, err
			}
			ok := strings.Contains(info, "cluster_state:ok") && strings.Contains(info, fmt.Sprintf("cluster_size:%d\r", masters)) &&
				strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(clients))) && strings.Count(nodes, "slave ") == replicas
			if !ok || i < masters || replicas == 0 {
				return ok, nil
			}
			repl, err := client.Info(ctx, "replication").Result()
			return strings.Contains(repl, "master_link_status:up"), err
		})
		if err != nil {
			return err
		}
	}
	return nil
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

// until polls cond until it holds or ctx ends.
func until(ctx context.Context, what string, cond func() (bool, error)) error {
	for {
		ok, err := cond()
		if ok && err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain until %s: %w", what, errors.Join(ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// client returns a client for this one server, which the caller closes.
func (s *Server) client() (*redis.Client, error) {
	target, err := redisconn.Parse(s.URL())
	if err != nil {
		return nil, err
	}
	return target.Client().(*redis.Client), nil
}

// start starts n servers that hold data, each in a folder of its own under dir.
func (s *Setup) start(dir, name string, n int, opts []Option) error {
	for i := range n {
		server, err := startIn(filepath.Join(dir, name+strconv.Itoa(i)), opts)
		if err != nil {
			return err
		}
		s.Servers = append(s.Servers, server)
	}
	return nil
}

func startIn(dir string, opts []Option) (*Server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of a redis-server: %w", err)
	}
	return StartProcess(dir, opts...)
}
