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
)

// masterName is the name under which the Sentinels of a Setup watch its master.
const masterName = "pool"

// Setup is a Redis of several servers: a Cluster, or a master with a replica that
// a Sentinel watches.
type Setup struct {
	Servers  []*Server // that hold data; those that began as masters come first
	Sentinel *Server   // nil in a Cluster
	url      string
}

// URL names the setup in the form that all of distpool reads.
func (s *Setup) URL() string { return s.url }

// Kill ends all servers with SIGKILL.
func (s *Setup) Kill() error {
	var errs []error
	for _, server := range s.Servers {
		errs = append(errs, server.Kill())
	}
	if s.Sentinel != nil {
		errs = append(errs, s.Sentinel.Kill())
	}
	return errors.Join(errs...)
}

// StartFailover starts a master, a replica that has its data, and a Sentinel that
// makes the replica the master a second after the other one has gone (see DownAfter).
// It ends when t ends.
func StartFailover(t testing.TB, opts ...Option) *Setup {
	t.Helper()
	return startSetup(t, func(dir string) (*Setup, error) { return StartFailoverProcess(dir, opts...) })
}

// StartFailoverProcess is StartFailover for programs: the data folders are made
// under dir, which must exist, and the caller stops the servers.
func StartFailoverProcess(dir string, opts ...Option) (*Setup, error) {
	s := &Setup{}
	if err := s.startFailover(dir, opts); err != nil {
		return nil, errors.Join(err, s.Kill())
	}
	s.url = fmt.Sprintf("redis://%s/0?master_name=%s", s.Sentinel.Addr(), masterName)
	return s, nil
}

func (s *Setup) startFailover(dir string, opts []Option) error {
	opts = append([]Option{Config("repl-diskless-sync-delay 0")}, opts...)
	if err := s.start(dir, "master", 1, opts); err != nil {
		return err
	}
	master := s.Servers[0]
	replica := append(opts[:len(opts):len(opts)], Config(fmt.Sprintf("replicaof 127.0.0.1 %d", master.port)))
	if err := s.start(dir, "replica", 1, replica); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	client, err := s.Servers[1].client()
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	err = until(ctx, "the replica has its master's data", func() (bool, error) {
		info, err := client.Info(ctx, "replication").Result()
		return strings.Contains(info, "master_link_status:up"), err
	})
	if err != nil {
		return err
	}
	down := master.opts.down
	if down == 0 {
		down = time.Second
	}
	watch := []Option{watching(masterName, master.Addr()), Config(
		fmt.Sprintf("sentinel down-after-milliseconds %s %d", masterName, down.Milliseconds()),
		// How long a new master may be waited for, and how soon after one failover
		// the next one may come.
		fmt.Sprintf("sentinel failover-timeout %s 5000", masterName))}
	if s.Sentinel, err = startIn(filepath.Join(dir, "sentinel"), watch); err != nil {
		return err
	}
	watcher, err := s.Sentinel.client()
	if err != nil {
		return err
	}
	defer func() { _ = watcher.Close() }()
	return until(ctx, "the Sentinel knows the replica", func() (bool, error) {
		// Without it there is nothing to fail over to.
		list, err := watcher.Do(ctx, "SENTINEL", "REPLICAS", masterName).Slice()
		return len(list) == 1, err
	})
}

// Master returns the server that the Sentinel takes for the master.
func (s *Setup) Master(ctx context.Context) (*Server, error) {
	watcher, err := s.Sentinel.client()
	if err != nil {
		return nil, err
	}
	defer func() { _ = watcher.Close() }()
	addr, err := watcher.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName).StringSlice()
	if err != nil {
		return nil, err
	}
	for _, server := range s.Servers {
		if len(addr) == 2 && addr[1] == strconv.Itoa(server.port) {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the Sentinel names %v as the master, which is no server of this setup", addr)
}

// AwaitFailover waits until another server than old is the master, and takes
// writes.
func (s *Setup) AwaitFailover(ctx context.Context, old *Server) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var now *Server
	err := until(ctx, "another server is the master", func() (ok bool, err error) {
		if now, err = s.Master(ctx); err != nil || now == old {
			return false, err
		}
		client, err := now.client()
		if err != nil {
			return false, err
		}
		defer func() { _ = client.Close() }()
		info, err := client.Info(ctx, "replication").Result()
		return strings.Contains(info, "role:master"), err
	})
	return now, err
}

// startSetup starts a setup for a test.
func startSetup(t testing.TB, start func(dir string) (*Setup, error)) *Setup {
	t.Helper()
	s, err := start(t.TempDir())
	switch {
	case errors.Is(err, ErrNoServer) && os.Getenv(EnvRequire) != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Errorf("stopping the servers of this test: %v", err)
		}
		if !t.Failed() {
			return
		}
		for _, server := range s.Servers {
			t.Logf("the redis-server on %s wrote:\n%s", server.Addr(), server.Log())
		}
		if s.Sentinel != nil {
			t.Logf("the Sentinel wrote:\n%s", s.Sentinel.Log())
		}
	})
	return s
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
