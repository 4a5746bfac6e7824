package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestStartServesUntilTheTestEnds(t *testing.T) {
	var pid int
	t.Run("inner", func(t *testing.T) {
		srv := Start(t)
		pid = srv.Pid()
		client := srv.Client(t)
		if err := client.Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if got := infoField(t, client, "process_id"); got != strconv.Itoa(pid) {
			t.Errorf("process %s answers, want %d", got, pid)
		}
	})
	if pid == 0 {
		t.SkipNow() // as inner did
	}
	if alive(pid) {
		t.Errorf("process %d is still there after the test that started it", pid)
	}
}

func TestServersAtOnceHaveTheirOwnPorts(t *testing.T) {
	seen := map[string]bool{}
	for range 8 {
		srv := Start(t)
		if seen[srv.Addr()] {
			t.Errorf("%s was given to two servers", srv.Addr())
		}
		seen[srv.Addr()] = true
	}
}

func TestConfigOverridesTheDefaults(t *testing.T) {
	srv := Start(t, Config("maxmemory 8mb", "maxmemory-policy noeviction", "appendonly yes"))
	client := srv.Client(t)
	for name, want := range map[string]string{
		"maxmemory":        "8388608",
		"maxmemory-policy": "noeviction",
		"appendonly":       "yes",
		"save":             "",
	} {
		got, err := client.ConfigGet(t.Context(), name).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestPasswordIsWantedAndInTheURL(t *testing.T) {
	srv := Start(t, Password("s3cret/@:"))
	if err := srv.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Errorf("with the URL's password: %v", err)
	}
	bare := redis.NewClient(&redis.Options{Addr: srv.Addr()})
	defer bare.Close()
	if err := bare.Ping(t.Context()).Err(); err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: %v, want NOAUTH", err)
	}
}

func TestTLSServerIsTrustedThroughItsURL(t *testing.T) {
	srv := Start(t, TLS(), Password("secret"))
	if !strings.HasPrefix(srv.URL(), "rediss://") {
		t.Errorf("URL is %s, want rediss://", srv.URL())
	}
	if err := srv.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestRestartKeepsPortAndAppendOnlyData(t *testing.T) {
	for name, end := range map[string]func(*Server) error{
		"after Kill":  (*Server).Kill,
		"after Stop":  (*Server).Stop,
		"while alive": func(*Server) error { return nil },
		"while paused": func(s *Server) error {
			return s.Pause()
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := Start(t, Config("appendonly yes", "appendfsync always"))
			client := srv.Client(t)
			if err := client.Set(t.Context(), "kept", "yes", 0).Err(); err != nil {
				t.Fatal(err)
			}
			addr, pid := srv.Addr(), srv.Pid()
			if err := end(srv); err != nil {
				t.Fatal(err)
			}
			srv.Restart(t)
			if srv.Addr() != addr || srv.Pid() == pid {
				t.Errorf("address %s, process %d; want %s and another process than %d", srv.Addr(), srv.Pid(), addr, pid)
			}
			if got, err := srv.Client(t).Get(t.Context(), "kept").Result(); err != nil || got != "yes" {
				t.Errorf("the key is %q, %v; want it kept", got, err)
			}
		})
	}
}

func TestKillAndStopOfAnEndedServerAreNoErrors(t *testing.T) {
	srv := Start(t)
	for _, end := range []func() error{srv.Stop, srv.Stop, srv.Kill} {
		if err := end(); err != nil {
			t.Error(err)
		}
	}
	if alive(srv.Pid()) {
		t.Error("the process is still there")
	}
	if err := srv.Pause(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("Pause of an ended server: %v, want os.ErrProcessDone", err)
	}
}

func TestPausedServerAnswersOnlyAfterResume(t *testing.T) {
	srv := Start(t)
	client := srv.Client(t)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	if err := srv.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Ping(ctx).Err(); err == nil {
		t.Error("a paused server answered")
	}
	if err := srv.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after Resume: %v", err)
	}
}

func TestTakenPortIsToldApart(t *testing.T) {
	srv := Start(t)
	if err := srv.Kill(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.start(); !errors.Is(err, errPortTaken) {
		t.Errorf("start on a taken port: %v, want errPortTaken", err)
	}
	// Restart waits for the port: it is free again only after its first try.
	first := make(chan struct{})
	go func() {
		defer l.Close()
		for strings.Count(srv.Log(), "Address already in use") < 2 {
			select {
			case <-first:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	srv.Restart(t)
	close(first)
	if err := srv.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestBadConfigIsReportedInTheServersWords(t *testing.T) {
	if _, err := Find(); err != nil {
		t.Skip(err)
	}
	_, err := StartProcess(t.TempDir(), Config("no-such-directive yes"))
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("error is %v, want one that names the directive", err)
	}
}

// TestServerDiesWithItsStarter starts this test program again as the starter of
// a server, and kills it.
func TestServerDiesWithItsStarter(t *testing.T) {
	if _, err := Find(); err != nil {
		t.Skip(err)
	}
	for name, paused := range map[string]string{"serving": "", "paused": "1"} {
		t.Run(name, func(t *testing.T) {
			starter := exec.Command(os.Args[0], "-test.run=^TestHelperStarter$")
			starter.Env = append(os.Environ(), "REDISTEST_STARTER_DIR="+t.TempDir(), "REDISTEST_STARTER_PAUSES="+paused)
			starter.Stderr = os.Stderr
			out, err := starter.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := starter.Start(); err != nil {
				t.Fatal(err)
			}
			pid := 0
			lines := bufio.NewScanner(out)
			for pid == 0 && lines.Scan() {
				fmt.Sscanf(lines.Text(), "server %d", &pid)
			}
			if err := starter.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			starter.Wait()
			if pid == 0 {
				t.Fatal("the starter did not report a server")
			}
			for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					syscall.Kill(pid, syscall.SIGKILL)
					t.Fatal("the server outlived the process that started it")
				}
			}
		})
	}
}

// TestHelperStarter is no test: see TestServerDiesWithItsStarter.
func TestHelperStarter(t *testing.T) {
	dir := os.Getenv("REDISTEST_STARTER_DIR")
	if dir == "" {
		t.Skip("only for TestServerDiesWithItsStarter")
	}
	srv, err := StartProcess(dir)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("REDISTEST_STARTER_PAUSES") != "" {
		if err := srv.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("server %d\n", srv.Pid())
	select {} // until it is killed
}

// TestWithoutRedisServer runs a test that needs a server where there is none.
func TestWithoutRedisServer(t *testing.T) {
	for _, tt := range []struct {
		name, env  string
		wantFailed bool
		want       string
	}{
		{"skips", EnvRequire + "=", false, "--- SKIP: TestServersAtOnceHaveTheirOwnPorts"},
		{"fails when required", EnvRequire + "=1", true, "--- FAIL: TestServersAtOnceHaveTheirOwnPorts"},
		{"names the variable that is wrong", EnvServer + "=/no/such/redis-server", false, EnvServer},
		{"says what to do", EnvRequire + "=", false, "install one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^TestServersAtOnceHaveTheirOwnPorts$")
			cmd.Env = append(os.Environ(), "PATH="+t.TempDir(), EnvServer+"=", EnvRequire+"=", tt.env)
			out, err := cmd.CombinedOutput()
			if failed := err != nil; failed != tt.wantFailed {
				t.Errorf("it failed: %t, want %t", failed, tt.wantFailed)
			}
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("it printed\n%s\nwant in it: %s", out, tt.want)
			}
		})
	}
}

// alive reports whether the process exists and is not merely unreaped.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

func infoField(t *testing.T, client redis.UniversalClient, name string) string {
	t.Helper()
	info, err := client.Info(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	return value
}
