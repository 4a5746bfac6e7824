package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// params are the parameters that distpool reads itself: those that say what
// the URL names, and those of TLS, so that they mean the same in every form
// (go-redis knows skip_verify in two of the three, and no CA file in any).
type params struct {
	cluster, sentinel         bool
	skipVerify                bool
	caFile, certFile, keyFile string
}

// takeParams takes the params out of a's query.
func takeParams(a *address) (params, error) {
	var p params
	var err error
	text := func(name string) string {
		v := a.query.Get(name)
		a.query.Del(name)
		return v
	}
	boolean := func(name string) bool {
		v := text(name)
		b, perr := strconv.ParseBool(v)
		if perr != nil && v != "" && err == nil {
			err = fmt.Errorf("its parameter %s is %s, which is neither true nor false", name, shown(v, wordForm))
		}
		return b
	}

	cluster := boolean("cluster")
	p.skipVerify = boolean("skip_verify")
	p.caFile, p.certFile, p.keyFile = text("ca_file"), text("cert_file"), text("key_file")
	for _, name := range []string{"read_only", "replica_only", "route_by_latency", "route_randomly"} {
		if boolean(name) {
			return p, fmt.Errorf("%s=true reads from replicas, which may not know yet what was just written; leave it out", name)
		}
	}
	if err != nil {
		return p, err
	}

	p.sentinel = a.query.Has("master_name")
	p.cluster = !p.sentinel && (cluster || len(a.hosts) > 1 || a.query.Has("addr"))
	switch {
	case p.sentinel && cluster:
		return p, errors.New("cluster=true and master_name exclude each other; keep the one that your servers are")
	case a.scheme == "unix" && (p.sentinel || p.cluster):
		return p, errors.New("a Cluster or Sentinels cannot be reached by a Unix socket; use redis:// or rediss://")
	case a.scheme != "rediss" && (p.skipVerify || p.caFile != "" || p.certFile != "" || p.keyFile != ""):
		return p, errors.New("skip_verify, ca_file, cert_file and key_file are for TLS; write rediss://")
	case (p.certFile == "") != (p.keyFile == ""):
		return p, errors.New("cert_file and key_file need each other; give both")
	}
	return p, nil
}

// tlsConfig adds the params to the configuration that go-redis made from the
// URL; nil, for a URL without TLS, stays nil.
func (p params) tlsConfig(c *tls.Config) (*tls.Config, error) {
	if c == nil {
		return nil, nil
	}
	c = c.Clone()
	c.MinVersion = tls.VersionTLS12
	c.InsecureSkipVerify = p.skipVerify
	if p.caFile != "" {
		pem, err := os.ReadFile(p.caFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file cannot be read: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file %s holds no certificate in PEM form", p.caFile)
		}
	}
	if p.certFile != "" {
		cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
		if err != nil {
			return nil, fmt.Errorf("cert_file and key_file cannot be used: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// newDialer returns a dialer like that of go-redis, which however honours the
// context during a TLS handshake. timeout bounds one attempt; 0 means 5 s, the
// default of go-redis, and a negative one means none.
func newDialer(timeout time.Duration, c *tls.Config) dialFunc {
	switch {
	case timeout == 0:
		timeout = 5 * time.Second
	case timeout < 0:
		timeout = 0
	}
	plain := &net.Dialer{
		Timeout: timeout,
		// As in go-redis: shorter than the idle timeout of common load
		// balancers, and a dead peer is noticed within 45 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	if c == nil {
		return plain.DialContext
	}
	return (&tls.Dialer{NetDialer: plain, Config: c}).DialContext
}
