package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/cli"
	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
)

func TestMonitorServesUntilItIsToldToEnd(t *testing.T) {
	const token = "sixteen characters or more"
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, errs := &clitest.Buffer{}, &clitest.Buffer{}
	code := make(chan int, 1)
	go func() {
		code <- cli.Run(ctx, []string{"monitor", "--redis", "redis://" + miniredis.RunT(t).Addr(), "--addr", "127.0.0.1:0", "--token-file", file}, console.Streams{In: strings.NewReader(""), Out: out, Err: errs})
	}()
	var url string
	for deadline := time.Now().Add(time.Minute); url == ""; time.Sleep(10 * time.Millisecond) {
		if m := regexp.MustCompile(`http://\S+`).FindString(out.String()); m != "" {
			url = m
		} else if time.Now().After(deadline) {
			t.Fatalf("no address after a minute: %s%s", out, errs)
		}
	}
	if !strings.Contains(out.String(), "read-only") {
		t.Errorf("it says %q", out)
	}
	get := func(path, auth string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", auth)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if !strings.HasPrefix(path, "/events") {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		return resp.StatusCode
	}
	for _, tt := range []struct {
		path, auth string
		want       int
	}{{"/healthz", "", 200}, {"/jobs", "", 401}, {"/jobs", "Bearer " + token, 200}} {
		if got := get(tt.path, tt.auth); got != tt.want {
			t.Errorf("GET %s with %q answers %d, want %d", tt.path, tt.auth, got, tt.want)
		}
	}
	// An open stream does not keep it from ending.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/events?page=/jobs", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	stream, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	stop()
	select {
	case got := <-code:
		if got != console.ExitOK {
			t.Errorf("it ends with %d: %s", got, errs)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

func TestMonitorThatWouldNotBeSafeDoesNotStart(t *testing.T) {
	addr := "redis://" + miniredis.RunT(t).Addr()
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--addr", "0.0.0.0:0"}, "there is no token"},
		{[]string{"--addr", "nowhere"}, "not host:port"},
		{[]string{"--token", "short"}, "the token has 5 characters"},
		{[]string{"--token-file", empty}, "is empty"},
		{[]string{"--token-file", empty + "2"}, "--token-file"},
		{[]string{"--token", "x", "--token-file", empty}, "both given"},
	} {
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), append([]string{"monitor", "--redis", addr}, tt.args...), console.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
		if code != console.ExitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%q ends with %d: %s", tt.args, code, errs.String())
		}
	}
}

func TestMonitorTakesItsTokenFromTheEnvironment(t *testing.T) {
	t.Setenv("DISTPOOL_MONITOR_TOKEN", "short")
	var out, errs bytes.Buffer
	code := cli.Run(t.Context(), []string{"monitor", "--redis", "redis://" + miniredis.RunT(t).Addr()}, console.Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if code != console.ExitUsage || !strings.Contains(errs.String(), "the token has 5 characters") {
		t.Errorf("it ends with %d: %s", code, errs.String())
	}
}
