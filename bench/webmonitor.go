package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	web "github.com/distpool/distpool/internal/monitor"
	"github.com/distpool/distpool/internal/redisconn"
)

// webMonitor is a monitor that this process has started.
type webMonitor struct {
	*workerProcess
	url string
}

func startWebMonitor(ctx context.Context, s settings) (*webMonitor, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program, to start a monitor: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "monitor")
	cmd.Env = append(os.Environ(), "REDIS_ADDR="+s.addr)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting a monitor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a monitor: %w", err)
	}
	m := &webMonitor{workerProcess: &workerProcess{cmd: cmd}}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("a monitor does not say where it listens: %w", err), m.stop())
	}
	m.url = strings.TrimSpace(line)
	return m, nil
}

// webMonitorCommand is what startWebMonitor starts.
func webMonitorCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s settings
	if err := s.parse(flag.NewFlagSet("bench monitor", flag.ContinueOnError), args, stderr); err != nil {
		return err
	}
	rdb, err := redisconn.Open(ctx, s.addr)
	if err != nil {
		return err
	}
	defer func() { _ = rdb.Close() }()
	return web.Run(ctx, web.Config{Redis: rdb, Addr: "127.0.0.1:0"}, func(a net.Addr) { fmt.Fprintln(stdout, (&url.URL{Scheme: "http", Host: a.String()}).String()) })
}

// get reads a page, and returns its length.
func (m *webMonitor) get(ctx context.Context, page string) (int, error) {
	resp, err := m.ask(ctx, page)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	return int(n), err
}

func (m *webMonitor) ask(ctx context.Context, page string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url+page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := streaming.Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.Join(fmt.Errorf("%s answers %s", page, resp.Status), resp.Body.Close())
	}
	return resp, err
}

// streaming keeps as many connections as there are streams.
var streaming = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}

// stream keeps a page open as a browser does, and counts what comes. It says when the
// first event has come, or why none did.
func (m *webMonitor) stream(ctx context.Context, page string, events *atomic.Int64, first chan<- error) {
	said := false
	say := func(err error) {
		if !said {
			said = true
			first <- err
		}
	}
	resp, err := m.ask(ctx, "/events?page="+url.QueryEscape(page))
	if err != nil {
		say(err)
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if bytes.HasPrefix(lines.Bytes(), []byte("data: ")) {
			events.Add(1)
			say(nil)
		}
	}
	say(fmt.Errorf("the events of %s ended: %w", page, errors.Join(lines.Err(), io.ErrUnexpectedEOF)))
}
