package redisconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// The kinds of error, for errors.Is. The texts of the errors that wrap them
// say what was tried, on which Redis, and what to do next.
var (
	// ErrBadURL means that the URL, or what the caller's client was made from,
	// must be changed: it is malformed, or does not fit the server, as when
	// the server has no such database or is a node of a Cluster.
	ErrBadURL = errors.New("unusable Redis URL")
	// ErrUnreachable means that no Redis answered that is ready to work:
	// nothing listens, the host is unknown, no answer came in time, it is
	// still loading, or what answered is no Redis. Trying later may help.
	ErrUnreachable = errors.New("redis is unreachable")
	// ErrAuth means that Redis refused the user, the password, or their lack,
	// or that the user may not run a command that is needed.
	ErrAuth = errors.New("redis refused the credentials")
	// ErrTooOld means that the server is older than [MinVersion].
	ErrTooOld = errors.New("redis is too old")
	// ErrTLS means that the TLS handshake failed.
	ErrTLS = errors.New("TLS with redis failed")
)

// problem is an error of this package: a kind, a text for people that stands
// for itself, and the error below, if any.
type problem struct {
	kind  error
	text  string
	cause error
}

func (p *problem) Error() string { return p.text }

func (p *problem) Unwrap() []error {
	if p.cause == nil {
		return []error{p.kind}
	}
	return []error{p.kind, p.cause}
}

// explain turns an error of go-redis, or of dialing, into a problem. where is
// the redacted name of the Redis.
func explain(err error, where string) error {
	if err == nil {
		return nil
	}
	var known *problem
	if errors.As(err, &known) {
		return err
	}
	reason, advice, kind := diagnose(err)
	text := fmt.Sprintf("cannot use Redis at %s: %s; %s", where, reason, advice)
	return &problem{kind: kind, text: strings.ReplaceAll(text, "\n", ", "), cause: err}
}

// diagnose finds what an error means: its kind, what happened, what to do.
func diagnose(err error) (reason, advice string, kind error) {
	if reason, advice, kind := diagnoseReply(err); kind != nil {
		return reason, advice, kind
	}
	if reason, advice, kind := diagnoseTLS(err); kind != nil {
		return reason, advice, kind
	}

	const start = "check the host and port, and that a redis-server runs there (start one with: redis-server)"
	var dns *net.DNSError
	var netErr net.Error
	text := err.Error()
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %q cannot be resolved (%v)", dns.Name, dns.Err),
			"check the spelling of the host and the name service of this machine", ErrUnreachable
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nothing listens there (%v)", err), start, ErrUnreachable
	case errors.Is(err, syscall.ENOENT):
		return fmt.Sprintf("there is no such socket (%v)", err),
			"check the path, and that the redis-server has a unixsocket line in its configuration", ErrUnreachable
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Sprintf("this user may not connect (%v)", err),
			"check the permissions of the socket (unixsocketperm) or the firewall", ErrUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return fmt.Sprintf("no answer came in time (%v)", err),
			"check the host, the port and any firewall between, and that the server runs and speaks TLS just when the URL says so (rediss://)", ErrUnreachable
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Sprintf("the server closed the connection without an answer (%v)", err),
			"check that the port is that of a Redis; if it expects TLS, write rediss://", ErrUnreachable
	case strings.Contains(text, "sentinels"):
		return fmt.Sprintf("no Sentinel knows a master of that name (%v)", err),
			"check the addresses of the Sentinels and master_name (ask one with: redis-cli -p 26379 SENTINEL masters)", ErrUnreachable
	case strings.HasPrefix(text, "redis: can't parse"), strings.HasPrefix(text, "redis: invalid reply"):
		return "what answers there does not speak the Redis protocol", "check the host and port", ErrUnreachable
	}
	return err.Error(), start, ErrUnreachable
}

// diagnoseReply knows the error replies of Redis; kind is nil for other errors.
func diagnoseReply(err error) (reason, advice string, kind error) {
	var reply redis.Error
	if !errors.As(err, &reply) {
		return "", "", nil
	}
	text := reply.Error()
	contains := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	switch {
	case contains("WRONGPASS", "invalid password"):
		return fmt.Sprintf("the user or the password is wrong (%s)", text),
			"correct them in the URL: redis://USER:PASSWORD@host:port, or redis://:PASSWORD@host:port for a server with only a password", ErrAuth
	case contains("without any password configured", "no password is set"):
		return fmt.Sprintf("the server has no password, but the URL has one (%s)", text),
			"take it out of the URL, or check the host and port", ErrAuth
	case contains("NOAUTH", "operation not permitted"):
		return fmt.Sprintf("it wants a password (%s)", text),
			"put one into the URL: redis://:PASSWORD@host:port, or redis://USER:PASSWORD@host:port", ErrAuth
	case contains("NOPERM"):
		return fmt.Sprintf("the user lacks a permission (%s)", text),
			"let the user run all commands on its database (ACL SETUSER name +@all ~* &*), or name another user in the URL", ErrAuth
	case contains("DENIED"):
		return "it runs in protected mode, which refuses connections from other machines without a password",
			"set a password on the server (requirepass) and put it into the URL", ErrAuth
	case contains("DB index is out of range", "SELECT is not allowed in cluster"):
		return fmt.Sprintf("it has no database of that number (%s)", text),
			"use a lower number in the path of the URL (Redis has 0 to 15 by default, a Cluster only 0)", ErrBadURL
	case contains("unknown command 'sentinel'", "unknown command `sentinel`"):
		return "the URL has a master_name, but what answers is no Sentinel",
			"give the addresses of the Sentinels, or leave master_name out", ErrBadURL
	case contains("cluster support disabled"):
		return "it is a single server, but the URL asks for a Cluster",
			"give one address, without cluster=true", ErrBadURL
	case contains("LOADING", "MASTERDOWN", "CLUSTERDOWN", "max number of clients"):
		return fmt.Sprintf("it is not ready (%s)", text), "wait, or look at the server's log", ErrUnreachable
	}
	return fmt.Sprintf("it answered with an error (%s)", text), "look at the server's log and configuration", ErrUnreachable
}

// diagnoseTLS knows the errors of a TLS handshake; kind is nil for others.
func diagnoseTLS(err error) (reason, advice string, kind error) {
	var (
		record   tls.RecordHeaderError
		verify   *tls.CertificateVerificationError
		alert    tls.AlertError
		hostname x509.HostnameError
		unknown  x509.UnknownAuthorityError
	)
	switch {
	case errors.As(err, &record):
		return fmt.Sprintf("the server does not speak TLS on that port (%v)", err),
			"use the server's TLS port, or write redis:// for no TLS", ErrTLS
	case errors.As(err, &hostname):
		return fmt.Sprintf("the server's certificate is for another name (%v)", err),
			"write the host as the certificate names it", ErrTLS
	case errors.As(err, &unknown):
		return fmt.Sprintf("the server's certificate comes from an unknown authority (%v)", err),
			"name the authority's certificate: ?ca_file=PATH", ErrTLS
	case errors.As(err, &verify):
		return fmt.Sprintf("the server's certificate is not valid (%v)", err),
			"renew the certificate, or name its authority: ?ca_file=PATH", ErrTLS
	case errors.As(err, &alert):
		return fmt.Sprintf("the server refused the TLS handshake (%v)", err),
			"if it wants a client certificate, name one: ?cert_file=PATH&key_file=PATH", ErrTLS
	}
	// The server's alert arrives as a *net.OpError with the text only.
	if strings.Contains(err.Error(), "remote error: tls:") {
		return fmt.Sprintf("the server refused the TLS handshake (%v)", err),
			"if it wants a client certificate, name one: ?cert_file=PATH&key_file=PATH", ErrTLS
	}
	return "", "", nil
}
