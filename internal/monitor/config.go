// Package monitor is the web page of a distpool: jobs, one job, workers,
// throughput, and asynqmon under the same port (asynqmon.go). It reads through
// package inspect. routes.go lists every page with what it needs, package gate decides
// what a request may see and do, package page renders, package live keeps pages up to
// date.
//
// It is safe by default: it binds to loopback, changes nothing, and asks for a
// token on any other address. See docs/monitor.md.
package monitor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/monitor/gate"
	"github.com/distpool/distpool/secure"
)

// DefaultAddr is where the monitor listens unless told otherwise.
const DefaultAddr = "127.0.0.1:8500"

// Config says how to run the monitor.
type Config struct {
	// Redis is the client to read with, and heeds the deadlines of contexts, as those
	// of package redisconn do. It stays the caller's, and gets hooks that count round
	// trips and end each after 2 s: it is of no use to a worker or a pool any more.
	Redis redis.UniversalClient
	// Addr is where to listen, host:port. Defaults to DefaultAddr.
	Addr string
	// Token is what browsers and scripts must present. Without one, Addr must be a
	// loopback address. 16 to 4096 printable ASCII characters.
	Token string
	// Write allows to cancel jobs and to change queues in asynqmon.
	Write bool
	// HidePayloads leaves out arguments, values and error texts.
	HidePayloads bool
	// Keyring decrypts the arguments and errors of encrypted jobs, to be shown.
	// Defaults to none: they are shown as "(encrypted)".
	Keyring secure.Keyring
	// Hosts are names by which browsers may call the monitor, besides localhost
	// and IP addresses. Others are refused, since a name that an attacker controls
	// could be made to mean this machine.
	Hosts []string
	// Proxies are the addresses of proxies before the monitor, of which the header
	// X-Forwarded-For is believed: it names the client of a wrong token. Without
	// them, all clients behind a proxy count as one. Defaults to none.
	Proxies []netip.Prefix
	// Logger gets what goes wrong. Defaults to slog.Default().
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// access is the part for the gate.
func (c Config) access() gate.Config {
	return gate.Config{Token: c.Token, Hosts: c.Hosts, Proxies: c.Proxies, Write: c.Write}
}

// Check says what is wrong with the configuration.
func (c Config) Check() error {
	addr := c.withDefaults().Addr
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("the address %q is not host:port (%w); use one such as %s", addr, err, DefaultAddr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("the port of the address %q is not a number from 0 to 65535", addr)
	}
	if err := c.access().Check(); err != nil {
		return err
	}
	if c.Token == "" && !isLoopback(host) {
		return fmt.Errorf("the address %q can be reached from other machines, and there is no token: anybody could see the arguments of all jobs; set a token of 16 or more characters, or listen on %s", addr, DefaultAddr)
	}
	if err := c.Keyring.Validate(); err != nil {
		return fmt.Errorf("monitor.Config: field Keyring: %w", err)
	}
	if c.Redis == nil {
		return errors.New("monitor.Config: field Redis is nil")
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
