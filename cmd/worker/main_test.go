package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/producer"
)

func TestQueuesAreReadWithTheirWeights(t *testing.T) {
	for in, want := range map[string]string{
		"distpool":            "distpool=1",
		"high=3,distpool=1":   "distpool=1,high=3",
		" b , a=2 ":           "a=2,b=1",
		"team:x/mail.out-1=7": "team:x/mail.out-1=7",
	} {
		got, err := parseQueues(in)
		if err != nil || describe(got) != want {
			t.Errorf("%q: got %s, %v, want %s", in, describe(got), err, want)
		}
	}
	for in, want := range map[string]string{
		"":         "empty",
		"a,,b":     "empty",
		"a=0":      `weight of queue "a" is 0`,
		"a=1001":   `weight of queue "a" is 1001`,
		"a=-1":     `is -1`,
		"a=":       `""`,
		"a=1=2":    `"1=2"`,
		"a=x":      "whole number",
		"a=1,a=2":  "twice",
		"sp ace=1": `"sp ace"`,
	} {
		if _, err := parseQueues(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %s", in, err, want)
		}
	}
}

func TestWrongUseIsExitCode2WithTheReason(t *testing.T) {
	for args, want := range map[string]string{
		"-concurrency 0":     "-concurrency is 0",
		"-concurrency x":     "-h",
		"-grace 0s":          "-grace is 0s",
		"-concurrency 65537": "-concurrency is 65537",
		"-grace 900000h":     "-grace is 900000h",
		"-name a\x1b[0m":     "-name: ",
		"-queues a=0":        `weight of queue "a"`,
		"-log-level loud":    "loud",
		"-no-such-flag":      "no-such-flag",
		"-http 9090":         ":9090 for this machine only",
		"stray":              `"stray"`,
		"-redis gopher://x/": "gopher",
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(args), &out)
		if code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, output %q, want 2 and %q", args, code, &out, want)
		}
	}
}

func TestHelpNamesTheTasksAndTheFlags(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-h"}, &out); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"word_count", "-queues", "-grace", "30s", "REDIS_URL"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
}

func TestWorkerServesUntilItIsToldToStop(t *testing.T) {
	addr := miniredis.RunT(t).Addr()
	ctx, stop := context.WithCancel(t.Context())
	var out lockedBuffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"-redis", addr, "-queues", "q=2", "-concurrency", "3"}, &out) }()

	wait, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p, err := producer.Open(wait, producer.Config{Redis: addr, Queue: "q"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := producer.Apply(wait, p, sample.Square, 7); err != nil || got != 49 {
		t.Errorf("square(7) = %d, %v", got, err)
	}
	p.Close()
	if err := p.Join(wait); err != nil {
		t.Error(err)
	}
	stop()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("exit code %d; log:\n%s", code, &out)
		}
	case <-wait.Done():
		t.Fatal("the worker did not drain")
	}
	for _, want := range []string{"q=2", "slots=3", "square", addr} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the log:\n%s", want, &out)
		}
	}
}

func TestMetricsAndProbesAreServedWhereAsked(t *testing.T) {
	if got, err := listenAddress(":9090"); err != nil || got != "127.0.0.1:9090" {
		t.Errorf(":9090 is %s, %v; want this machine only", got, err)
	}
	if got, err := listenAddress("0.0.0.0:9090"); err != nil || got != "0.0.0.0:9090" {
		t.Errorf("0.0.0.0:9090 is %s, %v", got, err)
	}
	addr := miniredis.RunT(t).Addr()
	ctx, stop := context.WithCancel(t.Context())
	var out lockedBuffer
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"-redis", addr, "-http", ":0"}, &out) }()
	address := regexp.MustCompile(`address=(127\.0\.0\.1:\d+)`)
	deadline := time.Now().Add(20 * time.Second)
	get := func(path string) (code int, body string) {
		m := address.FindStringSubmatch(out.String())
		if m == nil {
			return 0, "not listening"
		}
		resp, err := http.Get("http://" + m[1] + path)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for path, want := range map[string]string{
		"/healthz": "alive", "/readyz": "ready", "/metrics": `distpool_calls_total{outcome="ok",task="square"} 0`,
	} {
		for {
			code, body := get(path)
			if code == http.StatusOK && strings.Contains(body, want) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is %d %s, want %q; log:\n%s", path, code, body, want, &out)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if _, body := get("/metrics"); !strings.Contains(body, `distpool_queue_workers{queue="distpool"}`) || !strings.Contains(body, "go_goroutines") {
		t.Errorf("/metrics lacks queues or the process:\n%s", body)
	}
	stop()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d; log:\n%s", code, &out)
	}
	if code, _ := get("/healthz"); code != 0 {
		t.Error("it is served on after the end")
	}
}

func TestNoRedisIsExitCode1(t *testing.T) {
	mr := miniredis.RunT(t)
	addr := mr.Addr()
	mr.Close()
	var out lockedBuffer
	if code := run(t.Context(), []string{"-redis", addr}, &out); code != exitFailed || !strings.Contains(out.String(), addr) {
		t.Errorf("exit code %d; log:\n%s", code, &out)
	}
}

// lockedBuffer is a buffer that a running worker may log to.
type lockedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
