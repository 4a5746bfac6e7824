package redisconn

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// clusterReload is how old a Cluster client's map of the slots may become. go-redis
// reads it anew when a server answers MOVED; one that is dead answers nothing, and
// by go-redis's own interval, a minute, the client would ask it for that long
// although its replica has taken over. It costs one CLUSTER SLOTS each time.
const clusterReload = 2 * time.Second

const (
	// EnvURL is the environment variable that names the Redis when no URL is
	// given.
	EnvURL = "REDIS_URL"
	// DefaultURL is the Redis that is used when neither a URL nor EnvURL is
	// given.
	DefaultURL = "redis://127.0.0.1:6379"
)

// Target is a Redis as a URL names it: one server, a Cluster, or a master that
// Sentinels watch. It is immutable and holds no connection.
type Target struct {
	redacted string
	origin   string // where the URL came from when the caller gave none
	network  string
	addrs    []string // the servers that the URL itself names
	dial     dialFunc

	// Exactly one of the three is set.
	single   *redis.Options
	cluster  *redis.ClusterOptions
	failover *redis.FailoverOptions
}

// Parse reads a Redis URL. The forms are
//
//	redis://[user:password@]host[:port][/db]      one server
//	host:port                                     the same, without a scheme
//	unix://[user:password@]/path/to.sock[?db=N]   one server on a Unix socket
//	redis://h1:p,h2:p,h3:p                        a Cluster, from these seeds
//	redis://h1:p?addr=h2:p&addr=h3:p              the same, as go-redis writes it
//	redis://host:port?cluster=true                a Cluster, from one seed
//	redis://s1:p,s2:p/db?master_name=NAME         the master NAME of these Sentinels
//
// A host without a port means port 6379, or 26379 for a Sentinel. With
// master_name, the part before the @ is for the Sentinels; the credentials for
// the master are the parameters username and password. rediss:// in place of
// redis:// means TLS, with these parameters:
//
//	ca_file=PATH                  trust only the certificates in this PEM file
//	cert_file=PATH&key_file=PATH  show this certificate to the server
//	skip_verify=true              do not verify the server's certificate
//
// In a Cluster and with Sentinels, every server's certificate must be valid
// for the first host that the URL names. All other parameters are those of
// go-redis: pool_size, dial_timeout, read_timeout, client_name and so on, within
// what can work; a pool_size of 1 becomes 2, since an idle worker waits in Redis on
// one of its connections.
// Those that send reads to replicas are refused, because a replica may not
// know yet what distpool has just written.
//
// An empty url means the environment variable REDIS_URL, and if that is empty
// too, redis://127.0.0.1:6379.
//
// An error is [ErrBadURL], and shows no password and no value of a parameter that
// could be a secret. Parse reads the
// files that the URL names; it opens no connection.
func Parse(url string) (*Target, error) {
	raw, origin := strings.TrimSpace(url), ""
	if raw == "" {
		if raw = strings.TrimSpace(os.Getenv(EnvURL)); raw != "" {
			origin = " (from " + EnvURL + ")"
		} else {
			raw, origin = DefaultURL, " (the default, since no URL was given and "+EnvURL+" is not set)"
		}
	}
	t, err := parse(raw)
	if err != nil {
		return nil, &problem{
			kind: ErrBadURL,
			text: fmt.Sprintf("cannot use the Redis URL %s%s: %v", redactText(raw), origin, err),
		}
	}
	t.origin = origin
	return t, nil
}

// String returns the URL with its passwords masked, fit for logs.
func (t *Target) String() string { return t.redacted }

// Client returns a new client for the target. The caller closes it. Nothing is
// connected yet: see [Open] and [Check].
func (t *Target) Client() redis.UniversalClient {
	// go-redis fills in the options that it is given: hand out copies.
	switch {
	case t.cluster != nil:
		o := *t.cluster
		return redis.NewClusterClient(&o)
	case t.failover != nil:
		o := *t.failover
		return redis.NewFailoverClient(&o)
	default:
		o := *t.single
		return redis.NewClient(&o)
	}
}

func parse(raw string) (*Target, error) {
	a, err := splitAddress(raw)
	if err != nil {
		return nil, err
	}
	if err := a.checkParams(); err != nil {
		return nil, err
	}
	t := &Target{redacted: a.redacted()}
	p, err := takeParams(a)
	if err != nil {
		return nil, err
	}
	switch {
	case p.sentinel:
		err = t.parseFailover(a, p)
	case p.cluster:
		err = t.parseCluster(a, p)
	default:
		err = t.parseSingle(a, p)
	}
	if err != nil {
		return nil, explainParse(err)
	}
	return t, nil
}

// enough is the size of a pool of connections that was asked for, or the least that
// works. 0 is go-redis's default.
func enough(size int) int {
	if size == 0 {
		return 0
	}
	return max(size, leastPool)
}

// What the three forms set beside their URL:
//
//   - ContextTimeoutEnabled, so that a caller's deadline ends a read too;
//     go-redis leaves it to ReadTimeout otherwise;
//   - DisableIdentity, which saves two CLIENT SETINFO commands a connection,
//     unknown to servers before 7.2 and refused to restricted users;
//   - maintenance notifications off (go-redis turns them off for Sentinel by
//     itself): they are a feature of Redis Cloud, cost a CLIENT
//     MAINT_NOTIFICATIONS that other servers refuse, and log the refusal;
//   - our own dialer: that of go-redis ignores the context during a TLS
//     handshake;
//   - in a Cluster, clusterReload.

func (t *Target) parseSingle(a *address, p params) error {
	o, err := redis.ParseURL(a.url(""))
	if err != nil {
		return err
	}
	if o.TLSConfig, err = p.tlsConfig(o.TLSConfig); err != nil {
		return err
	}
	o.PoolSize = enough(o.PoolSize)
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.Dialer = newDialer(o.DialTimeout, o.TLSConfig)
	t.single, t.network, t.addrs, t.dial = o, o.Network, []string{o.Addr}, o.Dialer
	return nil
}

func (t *Target) parseCluster(a *address, p params) error {
	// ParseClusterURL ignores a database number; the commands would then go to
	// another database than the one that was asked for.
	if db := strings.Trim(a.path, "/"); db != "" && db != "0" {
		return fmt.Errorf("database %q in a Cluster, which has only database 0: leave it out", db)
	}
	if db := a.query.Get("db"); db != "" && db != "0" {
		return fmt.Errorf("database %q in a Cluster, which has only database 0: leave it out", db)
	}
	a.query.Del("db")
	o, err := redis.ParseClusterURL(a.url(defaultPort))
	if err != nil {
		return err
	}
	if o.TLSConfig, err = p.tlsConfig(o.TLSConfig); err != nil {
		return err
	}
	o.PoolSize = enough(o.PoolSize)
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.Dialer = newDialer(o.DialTimeout, o.TLSConfig)
	o.ClusterStateReloadInterval = clusterReload
	t.cluster, t.network, t.addrs, t.dial = o, "tcp", o.Addrs, o.Dialer
	return nil
}

func (t *Target) parseFailover(a *address, p params) error {
	o, err := redis.ParseFailoverURL(a.url(defaultSentinelPort))
	if err != nil {
		return err
	}
	if o.MasterName == "" {
		return errors.New("master_name is empty: give the name under which the Sentinels watch the master")
	}
	if o.TLSConfig, err = p.tlsConfig(o.TLSConfig); err != nil {
		return err
	}
	o.PoolSize = enough(o.PoolSize)
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.Dialer = newDialer(o.DialTimeout, o.TLSConfig)
	t.failover, t.network, t.addrs, t.dial = o, "tcp", o.SentinelAddrs, o.Dialer
	return nil
}

// explainParse adds the remedy to the errors of go-redis's parsers, which name
// the part that is wrong.
func explainParse(err error) error {
	text := strings.TrimPrefix(err.Error(), "redis: ")
	if strings.Contains(text, "addr param") {
		text += "; write each as host:port"
	}
	return errors.New(text)
}
