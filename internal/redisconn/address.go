package redisconn

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const (
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
)

// address is a Redis URL in its parts. The host is a list, where net/url
// knows only one.
type address struct {
	scheme string
	user   *url.Userinfo
	hosts  []string // as written, perhaps without a port; one at least unless scheme is unix
	path   string
	query  url.Values
}

// errSpecial stands for every error that net/url reports, and for some that it
// does not: the part that is wrong may be part of a password, so none is shown.
var errSpecial = errors.New("it is not a valid URL; a user, password, path or value that contains one of : / ? # [ ] @ % or a space must have it percent-encoded (@ is %40, / is %2F)")

// splitAddress takes a Redis URL apart and checks what the parsers of go-redis
// would let pass or would report with a part of the password.
func splitAddress(raw string) (*address, error) {
	switch {
	case strings.HasPrefix(raw, "/"):
		raw = "unix://" + raw
	case !strings.Contains(raw, "://"):
		raw = "redis://" + raw
	}
	scheme, rest, _ := strings.Cut(raw, "://")
	scheme = strings.ToLower(scheme)
	if scheme != "redis" && scheme != "rediss" && scheme != "unix" {
		return nil, fmt.Errorf("its scheme %q is none of redis, rediss (TLS) and unix", scheme)
	}

	authority, tail := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, tail = rest[:i], rest[i:]
	}
	// An @ or # behind the host is more often the rest of a password with a /
	// or ? in it than what it would mean there.
	if strings.ContainsAny(tail, "@#") {
		return nil, errSpecial
	}
	credentials, list := "", authority
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		credentials, list = authority[:i+1], authority[i+1:]
	}
	// net/url rejects a list of hosts, so it gets the rest without them.
	u, err := url.Parse(scheme + "://" + credentials + "host" + tail)
	if err != nil {
		return nil, errSpecial
	}
	a := &address{scheme: scheme, user: u.User, path: u.Path}
	if a.query, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, errors.New("its parameters cannot be read; in a value, write % as %25, & as %26 and ; as %3B")
	}
	if scheme == "unix" {
		if list != "" {
			return nil, fmt.Errorf("a Unix socket has no host, but %q stands before its path; write unix:///path/to.sock", list)
		}
		return a, nil
	}
	for _, h := range strings.Split(list, ",") {
		h = strings.TrimSpace(h)
		if h == "" && strings.Contains(list, ",") {
			continue // a comma too many
		}
		if err := checkHost(scheme, h); err != nil {
			return nil, err
		}
		a.hosts = append(a.hosts, h)
	}
	if len(a.hosts) == 0 {
		return nil, errors.New("it names no host")
	}
	return a, nil
}

func checkHost(scheme, h string) error {
	u, err := url.Parse(scheme + "://" + h)
	if err != nil {
		return fmt.Errorf("%q in it is not host:port", h)
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q in it has a port that is not a number from 1 to 65535", h)
		}
	}
	return nil
}

// url puts the address together as the parsers of go-redis want it: the first
// host in front, the others as addr parameters, which must have a port.
func (a *address) url(port string) string {
	u := url.URL{Scheme: a.scheme, User: a.user, Path: a.path}
	q := url.Values{}
	for k, v := range a.query {
		q[k] = v
	}
	if len(a.hosts) > 0 {
		u.Host = withPort(a.hosts[0], port)
		var more []string
		for _, h := range append(a.hosts[1:len(a.hosts):len(a.hosts)], a.query["addr"]...) {
			more = append(more, withPort(h, port))
		}
		if len(more) > 0 {
			q["addr"] = more
		}
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func withPort(host, port string) string {
	u := url.URL{Host: host}
	if u.Port() != "" || port == "" {
		return host
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// mask stands for a password.
const mask = "***"

// redacted is the address for people to read, with mask in place of what is,
// or could be, a password: a user without a password is often one.
func (a *address) redacted() string {
	var b strings.Builder
	b.WriteString(a.scheme + "://")
	if a.user != nil {
		if _, ok := a.user.Password(); ok {
			b.WriteString(url.User(a.user.Username()).String() + ":")
		}
		b.WriteString(mask + "@")
	}
	b.WriteString(strings.Join(a.hosts, ","))
	b.WriteString(a.path)
	sep := "?"
	for _, kv := range strings.Split(a.query.Encode(), "&") {
		k, _, _ := strings.Cut(kv, "=")
		if k == "password" {
			kv = k + "=" + mask
		}
		if kv != "" {
			b.WriteString(sep + kv)
			sep = "&"
		}
	}
	return b.String()
}

// redactText masks the password in a text that may not be a URL at all. It
// masks too much rather than too little.
func redactText(raw string) string {
	if a, err := splitAddress(raw); err == nil {
		return a.redacted()
	}
	scheme, rest := "", raw
	if i := strings.Index(raw, "://"); i >= 0 {
		scheme, rest = raw[:i+3], raw[i+3:]
	}
	at, value := strings.LastIndex(rest, "@"), strings.Index(rest, "password=")
	if value >= 0 && at > value {
		return scheme + mask // the @ may be part of the value or not
	}
	if value >= 0 {
		rest = rest[:value] + "password=" + mask
	}
	if at >= 0 {
		rest = mask + rest[at:]
	}
	return scheme + rest
}
