package redisconn

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parameter says what a parameter of a URL may be. The zero value is a secret, or
// one that is not known.
type parameter struct {
	kind     kind
	min, max int64 // of numbers; of durations in ns
	orZero   bool  // 0, and for a duration what is negative, mean something, too
}

type kind int

const (
	secret kind = iota
	text
	flag
	number
	duration
)

func (p parameter) secret() bool { return p.kind == secret }

// Bounds of parameters. The upper ones are far beyond sense, and within what
// go-redis and the clock can bear.
const (
	// leastPool is the smallest pool of connections that works: on one of them an
	// idle worker waits in Redis.
	leastPool = 2
	mostConns = 100_000
	mostTries = 100
	mostBytes = 64 << 20
	shortest  = int64(10 * time.Millisecond)
	longest   = int64(time.Hour)
)

// parameters are all that there are, of all forms. A time limit cannot be turned
// off: a server that stands still would be waited for without end.
var parameters = map[string]parameter{
	"cluster": {kind: flag}, "skip_verify": {kind: flag}, "read_only": {kind: flag}, "replica_only": {kind: flag},
	"route_by_latency": {kind: flag}, "route_randomly": {kind: flag}, "pool_fifo": {kind: flag},
	"use_disconnected_replicas": {kind: flag}, "unstable_resp3": {kind: flag},
	"ca_file": {kind: text}, "cert_file": {kind: text}, "key_file": {kind: text},
	"addr": {kind: text}, "master_name": {kind: text}, "client_name": {kind: text},
	"username": {kind: secret}, "password": {kind: secret},

	"db":                         {kind: number, max: math.MaxInt32},
	"protocol":                   {kind: number, min: 2, max: 3},
	"max_retries":                {kind: number, min: -1, max: mostTries},
	"max_redirects":              {kind: number, min: 1, max: mostTries},
	"dialer_retries":             {kind: number, min: 1, max: mostTries},
	"pool_size":                  {kind: number, min: 1, max: mostConns},
	"max_active_conns":           {kind: number, min: leastPool, max: mostConns, orZero: true},
	"min_idle_conns":             {kind: number, max: mostConns},
	"max_idle_conns":             {kind: number, max: mostConns},
	"max_concurrent_dials":       {kind: number, min: 1, max: mostConns},
	"pipeline_pool_size":         {kind: number, min: 1, max: mostConns, orZero: true},
	"pipeline_read_buffer_size":  {kind: number, min: 512, max: mostBytes, orZero: true},
	"pipeline_write_buffer_size": {kind: number, min: 512, max: mostBytes, orZero: true},
	"failing_timeout_seconds":    {kind: number, min: 1, max: 3600},

	"dial_timeout":               {kind: duration, min: shortest, max: longest},
	"read_timeout":               {kind: duration, min: shortest, max: longest},
	"write_timeout":              {kind: duration, min: shortest, max: longest},
	"pool_timeout":               {kind: duration, min: shortest, max: longest},
	"min_retry_backoff":          {kind: duration, max: longest, orZero: true},
	"max_retry_backoff":          {kind: duration, max: longest, orZero: true},
	"dialer_retry_timeout":       {kind: duration, min: 1, max: longest},
	"conn_max_idle_time":         {kind: duration, min: int64(time.Second), max: 24 * longest, orZero: true},
	"idle_timeout":               {kind: duration, min: int64(time.Second), max: 24 * longest, orZero: true},
	"conn_max_lifetime":          {kind: duration, min: int64(time.Second), max: 365 * 24 * longest, orZero: true},
	"max_conn_age":               {kind: duration, min: int64(time.Second), max: 365 * 24 * longest, orZero: true},
	"conn_max_lifetime_jitter":   {kind: duration, max: 365 * 24 * longest, orZero: true},
	"route_by_latency_tolerance": {kind: duration, max: longest, orZero: true},
}

// checkParams refuses what no form of a URL takes, and values that cannot work.
func (a *address) checkParams() error {
	for _, name := range slices.Sorted(maps.Keys(a.query)) {
		p, known := parameters[name]
		values := a.query[name]
		switch {
		case !known:
			return fmt.Errorf("its parameter %s is not known; the parameters are those of go-redis, such as pool_size and read_timeout", a.shownParam(name))
		case len(values) > 1 && name != "addr":
			return fmt.Errorf("its parameter %s is given %d times; give it once", name, len(values))
		}
		for _, h := range a.query["addr"] {
			if err := checkHost(a.scheme, h); name == "addr" && (err != nil || h == "" || h[0] == ':') {
				return fmt.Errorf("its parameter addr is %q, which is not host:port", redactHost(h))
			}
		}
		if err := p.check(values[0]); err != nil {
			return fmt.Errorf("its parameter %s %w", name, err)
		}
	}
	if name := a.query.Get("client_name"); strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("its parameter client_name has a space or a character that is not ASCII in it; Redis takes neither")
	}
	return nil
}

// check looks at the value of a number or duration; an empty one is the default.
func (p parameter) check(value string) error {
	if value == "" {
		return nil
	}
	switch p.kind {
	case number:
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || (n < p.min || n > p.max) && !(n == 0 && p.orZero) {
			return fmt.Errorf("is %s; use a number from %d to %d%s", shown(value, numberForm), p.min, p.max, p.orNone())
		}
	case duration:
		d, err := parseDuration(value)
		if err != nil || (int64(d) < p.min || int64(d) > p.max) && !(d <= 0 && p.orZero) {
			return fmt.Errorf("is %s; use a duration from %v to %v, such as 5s%s", shown(value, numberForm), time.Duration(p.min), time.Duration(p.max), p.orNone())
		}
	}
	return nil
}

func (p parameter) orNone() string {
	if p.orZero {
		return ", or 0"
	}
	return ""
}

// parseDuration reads a duration as go-redis does, which takes a number for seconds,
// but not one that overflows.
func parseDuration(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.ParseDuration(s)
	}
	if n > math.MaxInt64/int64(time.Second) || n < math.MinInt64/int64(time.Second) {
		return 0, strconv.ErrRange
	}
	return time.Duration(n) * time.Second, nil
}
