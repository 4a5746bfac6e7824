package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// wakesLine is what W11 prints.
type wakesLine struct {
	W       string  `json:"w"`
	N       int     `json:"n"`
	Workers int     `json:"workers"`
	Woken   float64 `json:"woken"` // workers for each call, beyond those that were busy with themselves
	Idle    float64 `json:"idle"`  // workers that are busy with themselves at the same time
}

// wakeWindow is how long after the submission of a call, and how long before it,
// workers are watched.
const wakeWindow = 10 * time.Millisecond

// runWakes submits single calls to idle workers and counts, for each, the workers
// that talk to Redis within wakeWindow, less those that do so in the same time
// without a call.
func runWakes(ctx context.Context, sys system, s settings) (line any, err error) {
	rdb := dial(s)
	defer rdb.Close()
	m, err := startMonitor(s.addr)
	if err != nil {
		return nil, err
	}
	defer m.stop()
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		names, err := clientNames(ctx, rdb)
		if err != nil {
			return err
		}
		var idle, busy, counted int
		for i := range s.n {
			// An odd time, so that the samples do not fall into step with heartbeats.
			if err := pause(ctx, time.Duration(31+i%17)*time.Millisecond); err != nil {
				return err
			}
			before := time.Now()
			if err := pause(ctx, wakeWindow); err != nil {
				return err
			}
			during := time.Now()
			v, err := c.apply(ctx, square, i)
			if err != nil {
				return err
			}
			if err := checkSquare(v, i); err != nil {
				return err
			}
			if err := pause(ctx, wakeWindow-time.Since(during)); err != nil {
				return err
			}
			over := time.Now() // later than the window, where the machine is busy
			// What the monitor says may still be on its way.
			if err := pause(ctx, 5*time.Millisecond); err != nil {
				return err
			}
			idle += m.workersBetween(before, during, names)
			busy += m.workersBetween(during, over, names)
			counted++
		}
		running := map[string]bool{}
		for _, name := range names {
			running[name] = true
		}
		n := float64(counted)
		line = wakesLine{s.w, s.n, len(running), rounded(float64(busy-idle)/n, 3), rounded(float64(idle)/n, 3)}
		return m.err()
	})
	return line, err
}

// clientNames maps the addresses of the connections of workers to the workers'
// names.
func clientNames(ctx context.Context, rdb redis.UniversalClient) (map[string]string, error) {
	list, err := rdb.ClientList(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("listing the clients of Redis: %w", err)
	}
	names := map[string]string{}
	for l := range strings.Lines(list) {
		fields := map[string]string{}
		for _, f := range strings.Fields(l) {
			k, v, _ := strings.Cut(f, "=")
			fields[k] = v
		}
		if strings.HasPrefix(fields["name"], workerName(0)[:len(workerName(0))-1]) {
			names[fields["addr"]] = fields["name"]
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no worker is connected to Redis; start some with bench worker")
	}
	return names, nil
}

// monitor notes which connections send commands to Redis, and when.
type monitor struct {
	conn net.Conn
	done chan struct{}

	mu     sync.Mutex // guards what follows
	events []commandSent
	failed error
}

type commandSent struct {
	at   float64 // s since 1970, by the clock of Redis, which is this machine's
	addr string
}

func startMonitor(addr string) (*monitor, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("monitoring Redis: %w", err)
	}
	if _, err := conn.Write([]byte("MONITOR\r\n")); err != nil {
		conn.Close()
		return nil, fmt.Errorf("monitoring Redis: %w", err)
	}
	m := &monitor{conn: conn, done: make(chan struct{})}
	go m.read()
	return m, nil
}

// read takes lines such as
//
//	+1339518083.107412 [0 127.0.0.1:60866] "blpop" "key"
//	+1339518083.107412 [0 lua] "get" "key"
func (m *monitor) read() {
	defer close(m.done)
	r := bufio.NewReaderSize(m.conn, 1<<16)
	for {
		l, err := r.ReadString('\n')
		if err != nil {
			m.mu.Lock()
			m.failed = err
			m.mu.Unlock()
			return
		}
		f := strings.Fields(l)
		if len(f) < 4 || f[2] == "lua]" {
			continue
		}
		at, err := strconv.ParseFloat(strings.TrimPrefix(f[0], "+"), 64)
		if err != nil {
			continue // a line of another command's argument
		}
		m.mu.Lock()
		m.events = append(m.events, commandSent{at, strings.TrimSuffix(f[2], "]")})
		m.mu.Unlock()
	}
}

// workersBetween counts the workers that sent a command between two times, and
// drops older events.
func (m *monitor) workersBetween(from, to time.Time, names map[string]string) int {
	lo, hi := float64(from.UnixMicro())/1e6, float64(to.UnixMicro())/1e6
	seen := map[string]bool{}
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.events[:0]
	for _, e := range m.events {
		if e.at < lo {
			continue
		}
		kept = append(kept, e)
		if name := names[e.addr]; name != "" && e.at < hi {
			seen[name] = true
		}
	}
	m.events = kept
	return len(seen)
}

// err says whether the monitoring has failed before stop.
func (m *monitor) err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return fmt.Errorf("monitoring Redis: %w", m.failed)
	}
	return nil
}

func (m *monitor) stop() {
	m.conn.Close()
	<-m.done
}
