// Package redistest runs real redis-server processes for tests, and for the
// programs that measure distpool or hurt it on purpose. Nothing else imports
// it.
//
//	srv := redistest.Start(t, redistest.Config("appendonly yes", "appendfsync always"))
//	client := srv.Client(t)
//	srv.Kill()     // SIGKILL
//	srv.Restart(t) // same port, same folder
//
// A server never outlives the process that started it, however that ends.
package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
)

const (
	// EnvServer is the environment variable that names the redis-server program
	// when it is not to be looked up in PATH.
	EnvServer = "DISTPOOL_REDIS_SERVER"
	// EnvRequire is the environment variable that turns a missing redis-server
	// from a skipped test into a failed one, when set to 1.
	EnvRequire = "DISTPOOL_REQUIRE_REDIS"
)

// ErrNoServer means that there is no redis-server program on this machine.
var ErrNoServer = errors.New("no redis-server program")

// Find returns the path of the redis-server program: the one that EnvServer
// names, or else the one in PATH. Its error is ErrNoServer and says what to do.
func Find() (string, error) {
	if name := os.Getenv(EnvServer); name != "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%w: %s names %q, which cannot be run (%v); correct or unset it", ErrNoServer, EnvServer, name, err)
		}
		return path, nil
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("%w in PATH; install one (as root on Debian or Ubuntu, make redis-server does it), or name one in %s", ErrNoServer, EnvServer)
	}
	return path, nil
}

// Start starts a redis-server on a free port of 127.0.0.1, with an empty data
// folder of its own and nothing written to disk unless an option says so. It
// returns when the server answers, and kills it when t ends.
//
// Without a redis-server program, t is skipped, or fails if EnvRequire is 1.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	dir := t.TempDir() // before Cleanup, so that it is removed after the kill
	s, err := StartProcess(dir, opts...)
	switch {
	case errors.Is(err, ErrNoServer) && os.Getenv(EnvRequire) != "1":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Errorf("stopping the redis-server of this test: %v", err)
		}
		if t.Failed() {
			t.Logf("the redis-server of this test wrote:\n%s", s.Log())
		}
	})
	return s
}

// Client returns a client for the server, which is closed when t ends.
func (s *Server) Client(t testing.TB) redis.UniversalClient {
	t.Helper()
	target, err := redisconn.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := target.Client()
	t.Cleanup(func() { client.Close() })
	return client
}

// Restart starts the server again on the same port, with the same options and
// data folder, after a Stop if it still runs. t fails if that does not work.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.RestartProcess(); err != nil {
		t.Fatal(err)
	}
}
