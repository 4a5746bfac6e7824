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
		return nil, fmt.Errorf("its scheme %s is none of redis, rediss (TLS) and unix", shown(scheme, schemeForm))
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
			return nil, errors.New("a Unix socket has no host, but something stands before its path; write unix:///path/to.sock")
		}
		return a, nil
	}
	if db := strings.Trim(a.path, "/"); !digits.MatchString(db) {
		return nil, fmt.Errorf("its path names the database by a number from 0, as in redis://host:6379/1; %s is none", shown(db, wordForm))
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
		return fmt.Errorf("%q in it is not host:port", redactHost(h))
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q in it has a port that is not a number from 1 to 65535", redactHost(h))
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
