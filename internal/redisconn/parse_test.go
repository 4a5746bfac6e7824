package redisconn_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redisconn"
)

func parse(t *testing.T, url string) (*redisconn.Target, redis.UniversalClient) {
	t.Helper()
	target, err := redisconn.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	client := target.Client()
	t.Cleanup(func() { client.Close() })
	return target, client
}

func TestParseNamesOneServer(t *testing.T) {
	for _, tt := range []struct {
		url, network, addr, user, password string
		db                                 int
		tls                                bool
	}{
		{url: "redis://h:7000", network: "tcp", addr: "h:7000"},
		{url: "redis://h", network: "tcp", addr: "h:6379"},
		{url: "REDIS://h:7000", network: "tcp", addr: "h:7000"},
		{url: "h:7000", network: "tcp", addr: "h:7000"},
		{url: "h", network: "tcp", addr: "h:6379"},
		{url: " h:7000\n", network: "tcp", addr: "h:7000"},
		{url: "127.0.0.1:7000/2", network: "tcp", addr: "127.0.0.1:7000", db: 2},
		{url: "redis://[::1]:7000", network: "tcp", addr: "[::1]:7000"},
		{url: "redis://[::1]", network: "tcp", addr: "[::1]:6379"},
		{url: "redis://h:7000/3", network: "tcp", addr: "h:7000", db: 3},
		{url: "redis://h:7000?db=4", network: "tcp", addr: "h:7000", db: 4},
		{url: "redis://u:p@h:7000", network: "tcp", addr: "h:7000", user: "u", password: "p"},
		{url: "redis://:p@h:7000", network: "tcp", addr: "h:7000", password: "p"},
		{url: "u:p@h:7000", network: "tcp", addr: "h:7000", user: "u", password: "p"},
		{url: "redis://u:a%40b%2Fc%3Ad,e@h", network: "tcp", addr: "h:6379", user: "u", password: "a@b/c:d,e"},
		{url: "rediss://u:p@h:7000/1", network: "tcp", addr: "h:7000", user: "u", password: "p", db: 1, tls: true},
		{url: "unix:///run/redis.sock", network: "unix", addr: "/run/redis.sock"},
		{url: "/run/redis.sock", network: "unix", addr: "/run/redis.sock"},
		{url: "unix://u:p@/run/redis.sock?db=5", network: "unix", addr: "/run/redis.sock", user: "u", password: "p", db: 5},
		{url: "redis://h:7000?cluster=false", network: "tcp", addr: "h:7000"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			_, client := parse(t, tt.url)
			c, ok := client.(*redis.Client)
			if !ok {
				t.Fatalf("the client is a %T, want one for a single server", client)
			}
			o := c.Options()
			if o.Network != tt.network || o.Addr != tt.addr {
				t.Errorf("connects to %s %s, want %s %s", o.Network, o.Addr, tt.network, tt.addr)
			}
			if o.Username != tt.user || o.Password != tt.password {
				t.Errorf("logs in as %q with %q, want %q with %q", o.Username, o.Password, tt.user, tt.password)
			}
			if o.DB != tt.db {
				t.Errorf("database %d, want %d", o.DB, tt.db)
			}
			if (o.TLSConfig != nil) != tt.tls {
				t.Errorf("TLS is %t, want %t", o.TLSConfig != nil, tt.tls)
			}
		})
	}
}

func TestParseNamesACluster(t *testing.T) {
	for _, tt := range []struct {
		url   string
		addrs []string
		tls   bool
	}{
		{url: "redis://h1:1,h2:2,h3:3", addrs: []string{"h1:1", "h2:2", "h3:3"}},
		{url: "redis://h1:1?addr=h2:2&addr=h3:3", addrs: []string{"h1:1", "h2:2", "h3:3"}},
		{url: "redis://h1:1,h2:2?addr=h3:3", addrs: []string{"h1:1", "h2:2", "h3:3"}},
		{url: "h1:1,h2:2", addrs: []string{"h1:1", "h2:2"}},
		{url: "redis://h1,h2:2,[::1]", addrs: []string{"h1:6379", "h2:2", "[::1]:6379"}},
		{url: "redis://h1:1, h2:2,", addrs: []string{"h1:1", "h2:2"}},
		{url: "redis://h1:1/0?cluster=true", addrs: []string{"h1:1"}},
		{url: "redis://h1:1?cluster=1&db=0", addrs: []string{"h1:1"}},
		{url: "rediss://h1:1,h2:2?skip_verify=true", addrs: []string{"h1:1", "h2:2"}, tls: true},
	} {
		t.Run(tt.url, func(t *testing.T) {
			_, client := parse(t, tt.url)
			c, ok := client.(*redis.ClusterClient)
			if !ok {
				t.Fatalf("the client is a %T, want one for a Cluster", client)
			}
			if o := c.Options(); !slices.Equal(o.Addrs, tt.addrs) || (o.TLSConfig != nil) != tt.tls {
				t.Errorf("seeds %q, TLS %t; want %q, %t", o.Addrs, o.TLSConfig != nil, tt.addrs, tt.tls)
			}
		})
	}
	_, client := parse(t, "redis://u:p@h1:1,h2:2?pool_size=7")
	if o := client.(*redis.ClusterClient).Options(); o.Username != "u" || o.Password != "p" || o.PoolSize != 7 {
		t.Errorf("user %q, password %q, pool size %d; want u, p, 7", o.Username, o.Password, o.PoolSize)
	}
}

func TestParseSetsWhatDistpoolNeeds(t *testing.T) {
	for _, url := range []string{"redis://h", "redis://h?master_name=m"} {
		_, client := parse(t, url)
		o := client.(*redis.Client).Options()
		if !o.ContextTimeoutEnabled || !o.DisableIdentity || o.MaintNotificationsConfig.Mode != "disabled" {
			t.Errorf("%s: context timeouts %t, identity off %t, maintenance notifications %q; want true, true, disabled",
				url, o.ContextTimeoutEnabled, o.DisableIdentity, o.MaintNotificationsConfig.Mode)
		}
	}
	_, client := parse(t, "redis://h1,h2")
	o := client.(*redis.ClusterClient).Options()
	if !o.ContextTimeoutEnabled || !o.DisableIdentity || o.MaintNotificationsConfig.Mode != "disabled" {
		t.Errorf("Cluster: context timeouts %t, identity off %t, maintenance notifications %q; want true, true, disabled",
			o.ContextTimeoutEnabled, o.DisableIdentity, o.MaintNotificationsConfig.Mode)
	}
}

func TestParsePassesGoRedisParameters(t *testing.T) {
	_, client := parse(t, "redis://h?pool_size=77&read_timeout=9s&client_name=me")
	o := client.(*redis.Client).Options()
	if o.PoolSize != 77 || o.ReadTimeout != 9*time.Second || o.ClientName != "me" {
		t.Errorf("pool size %d, read timeout %v, client name %q; want 77, 9s, me", o.PoolSize, o.ReadTimeout, o.ClientName)
	}
	_, plain := parse(t, "redis://h")
	standard := redis.NewClient(&redis.Options{})
	defer standard.Close()
	if got, want := plain.(*redis.Client).Options().PoolSize, standard.Options().PoolSize; got != want {
		t.Errorf("without pool_size the pool has %d connections, want go-redis's own %d", got, want)
	}
}

func TestParseEmptyURL(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://from-env:7001/2")
	if target, _ := parse(t, ""); target.String() != "redis://from-env:7001/2" {
		t.Errorf("with REDIS_URL set: %s", target)
	}
	if target, _ := parse(t, "redis://given"); target.String() != "redis://given" {
		t.Errorf("a given URL lost against REDIS_URL: %s", target)
	}
	t.Setenv("REDIS_URL", "")
	if target, _ := parse(t, ""); target.String() != "redis://127.0.0.1:6379" {
		t.Errorf("without REDIS_URL: %s", target)
	}
	t.Setenv("REDIS_URL", "http://x")
	if _, err := redisconn.Parse(""); err == nil || !strings.Contains(err.Error(), "REDIS_URL") {
		t.Errorf("the error of a bad REDIS_URL does not name it: %v", err)
	}
}

func TestStringMasksPasswords(t *testing.T) {
	for url, want := range map[string]string{
		"redis://h:7000/1":                            "redis://h:7000/1",
		"redis://u:SECRET@h:7000/1?pool_size=3":       "redis://u:***@h:7000/1?pool_size=3",
		"redis://:SECRET@h":                           "redis://:***@h",
		"redis://SECRET@h":                            "redis://***@h",
		"SECRET:SECRET@h1:1,h2:2":                     "redis://SECRET:***@h1:1,h2:2",
		"unix://:SECRET@/run/redis.sock":              "unix://:***@/run/redis.sock",
		"redis://h1,h2?master_name=m&password=SECRET": "redis://h1,h2?master_name=m&password=***",
		"redis://h?cluster=true":                      "redis://h?cluster=true",
		"redis://:SEC%40RET@h1?master_name=m&db=2":    "redis://:***@h1?db=2&master_name=m",
		"redis://u:p%2Fq@h?client_name=a%40b&db=1":    "redis://u:***@h?client_name=a%40b&db=1",
		"rediss://u:SECRET@h:1?skip_verify=true":      "rediss://u:***@h:1?skip_verify=true",
	} {
		if target, _ := parse(t, url); target.String() != want {
			t.Errorf("%s is shown as %s, want %s", url, target, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ url, want string }{
		{"http://h", "redis, rediss (TLS) and unix"},
		{"redis://h/x", "database"},
		{"redis://h/-1", "database"},
		{"redis://h?db=x", "database"},
		{"redis://h/1/2", "path names the database"},
		{"redis://h?master_name=m&db=-1", "database"},
		{"redis://h1,h2/3", "only database 0"},
		{"redis://h?cluster=true&db=3", "only database 0"},
		{"redis://h:port", "host:port"},
		{"redis://h:70000", "65535"},
		{"redis://h1:1,h2:0", "65535"},
		{"redis://,", "no host"},
		{"redis://h?pool_size=many", "pool_size"},
		{"redis://h?no_such=1", "no_such"},
		{"redis://h?a=%zz", "%25"},
		{"redis://h1?addr=:7", "addr"},
		{"redis://h?cluster=maybe", "cluster"},
		{"redis://h?cluster=true&master_name=m", "exclude each other"},
		{"redis://h?master_name=", "master_name"},
		{"redis://h?read_only=true", "replicas"},
		{"redis://h?cluster=true&route_by_latency=true", "replicas"},
		{"redis://h?master_name=m&replica_only=1", "replicas"},
		{"redis://h?skip_verify=true", "rediss://"},
		{"redis://h?ca_file=x", "rediss://"},
		{"rediss://h?ca_file=/no/such/file", "/no/such/file"},
		{"rediss://h?ca_file=" + noPEM, "no certificate"},
		{"rediss://h?cert_file=x", "key_file"},
		{"rediss://h?cert_file=/no/cert&key_file=/no/key", "/no/cert"},
		{"unix://", "path"},
		{"unix://host/run/redis.sock", "unix:///"},
		{"unix:///run/redis.sock?cluster=true", "Unix socket"},
		{"redis://h#1", "percent-encoded"},
	} {
		_, err := redisconn.Parse(tt.url)
		if !errors.Is(err, redisconn.ErrBadURL) {
			t.Errorf("%s: %v, want ErrBadURL", tt.url, err)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v\nwant in it: %s", tt.url, err, tt.want)
		}
	}
}

// People put passwords into URLs without encoding them; net/url and go-redis
// then report a port, a database or an option that is a part of the password.
func TestParseErrorsDoNotShowPasswords(t *testing.T) {
	for _, url := range []string{
		"http://user:SECRET@h",
		"SECRET://user:SECRET@h/x y",
		"redis://user:SECRET@h:port",
		"redis://user:SECRET@h/x",
		"redis://user:1SECRET/SECRET@h",
		"redis://user:1/SECRET@h",
		"redis://user:SECRET/2@h",
		"redis://user:SECRET#2@h",
		"redis://user:12#SECRET@h",
		"redis://user:12?SECRET@h",
		"redis://user:12?SECRET=1@h",
		"redis://user:12?a=SECRET@h",
		"redis://user:SECRET%zz@h",
		"redis://user:[SECRET@h",
		"redis://user:SECRET @h:port",
		"redis://user:SECRET@SECRET@h:port",
		"user:SECRET@h/x",
		"redis://SECRET@h/x",
		"redis://h?master_name=m&password=SECRET&no_such=1",
		"redis://h/%zz?master_name=m&password=SECRET",
		"redis://h?master_name=m&password=SEC@SECRET",
		"unix://user:SECRET@h/run/redis.sock",
		"unix://user:SECRET@",
	} {
		_, err := redisconn.Parse(url)
		if err == nil {
			t.Errorf("%s is accepted", url)
			continue
		}
		if strings.HasPrefix(url, "SECRET://") {
			continue // only the scheme may be shown
		}
		if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}
