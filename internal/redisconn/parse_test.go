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
		"redis://SECRET:@h":                           "redis://***@h",
		"redis://h?master_name=m&username=SECRET":     "redis://h?master_name=m&username=***",
		"redis://h1?addr=h2:7&addr=h3":                "redis://h1?addr=h2:7&addr=h3",
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
		{"redis://h?db=x", "db is \"x\""},
		{"redis://h/1/2", "path names the database"},
		{"redis://h?master_name=m&db=-1", "db is \"-1\""},
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
		// Parameters that hold a secret, known or not, and what & and # cut off.
		"redis://h?sentinel_password=SECRET",
		"redis://h?master_name=m&sentinel_password=SECRET&no_such=1",
		"redis://h?sentinel_username=SECRET",
		"redis://h?token=SECRET",
		"redis://h?SECRET",
		"redis://h?db=1&SECRET=2",
		"redis://h?master_name=m&password=aSECRET&SECRETb",
		"redis://h?master_name=m&password=12&secret_SECRET=1",
		"redis://h?Password=SECRET",
		"redis://h?password=x&PASSWORD=SECRET",
		"redis://h?PASS%57ORD=SECRET",
		"redis://h?pool_size=SECRET",
		"redis://h?read_timeout=SECRET",
		"redis://h?cluster=SECRET",
		"redis://h?protocol=SECRET&password=SECRET",
		"redis://h?username=SECRET&pool_size=0",
		"redis://h?auth=SECRET&auth=SECRET",
		"redis://h1?addr=u:SECRET@h2",
		"redis://h1?addr=SECRET@h2:1&addr=h3&cluster=maybe",
		"redis://h#SECRET",
		"redis://h/#SECRET",
		"redis://h?a=b#SECRET",
		"redis://h/SECRET",
		"redis://h/0/SECRET",
		"redis://h/password=SECRET",
		"redis://user:SECRET",
		"redis://user:SECRET/0",
		"redis://h1,user:SECRET",
		"redis://:SECRET",
		"redis://[SECRET",
		"user:SECRET",
		"user:SECRET://h",
		"user:SEC://SECRET@h",
		"redis//user:SECRET@h",
		"redis:/user:SECRET@h",
		"redis:///user:SECRET@h",
		"redis://user:SECRET@h\x00",
		"redis://user:SEC\nSECRET@h",
		"unix://SECRET/run/redis.sock",
		"unix:///run/redis.sock?token=SECRET",
		"SECRET SECRET",
	} {
		_, err := redisconn.Parse(url)
		if err == nil {
			t.Errorf("%s is accepted", url)
			continue
		}
		if strings.HasPrefix(url, "SECRET://") {
			continue // only the scheme may be shown
		}
		if strings.Contains(strings.ToUpper(err.Error()), "SECRET") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

// What is accepted works: each number at its bounds, and nothing beyond.
func TestParametersBeyondTheirBoundsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		query string
		ok    bool
	}{
		{"pool_size=1", true}, {"pool_size=100000", true}, {"pool_size=0", false}, {"pool_size=-1", false}, {"pool_size=100001", false},
		{"pool_size=9223372036854775808", false}, {"pool_size=1.5", false}, {"pool_size=", true}, {"pool_size=2&pool_size=3", false},
		{"max_active_conns=1", false}, {"max_active_conns=2", true}, {"max_active_conns=0", true}, {"max_active_conns=-1", false},
		{"min_idle_conns=-1", false}, {"max_idle_conns=-1", false}, {"max_idle_conns=0", true},
		{"max_retries=-1", true}, {"max_retries=-2", false}, {"max_retries=100", true}, {"max_retries=101", false},
		{"protocol=2", true}, {"protocol=3", true}, {"protocol=1", false}, {"protocol=4", false},
		{"read_timeout=0", false}, {"read_timeout=-1", false}, {"read_timeout=1ns", false}, {"read_timeout=10ms", true}, {"read_timeout=1h", true},
		{"read_timeout=3601", false}, {"read_timeout=9999999999999", false}, {"read_timeout=9223372036", false}, {"read_timeout=9999999h", false},
		{"write_timeout=0", false}, {"dial_timeout=0", false}, {"dial_timeout=-5s", false}, {"pool_timeout=1ns", false},
		{"min_retry_backoff=-1", true}, {"max_retry_backoff=9223372036854775807ns", false},
		{"conn_max_lifetime=0", true}, {"conn_max_lifetime=1ns", false}, {"conn_max_idle_time=1ms", false}, {"conn_max_idle_time=30m", true},
		{"max_concurrent_dials=0", false}, {"pipeline_read_buffer_size=1", false}, {"pipeline_read_buffer_size=9223372036854775807", false},
		{"db=2147483648", false}, {"client_name=a%20b", false}, {"client_name=a%0Ab", false}, {"client_name=%C3%A9", false},
	} {
		_, err := redisconn.Parse("redis://h?" + tt.query)
		name, _, _ := strings.Cut(tt.query, "=")
		if (err == nil) != tt.ok || err != nil && (!errors.Is(err, redisconn.ErrBadURL) || !strings.Contains(err.Error(), "its parameter "+name+" ")) {
			t.Errorf("%s: %v", tt.query, err)
		}
	}
	for _, query := range []string{"cluster=true&max_redirects=0", "cluster=true&max_redirects=-1", "cluster=true&failing_timeout_seconds=-1", "master_name=m&dialer_retries=-1"} {
		if _, err := redisconn.Parse("redis://h?" + query); !errors.Is(err, redisconn.ErrBadURL) {
			t.Errorf("%s: %v", query, err)
		}
	}
}

// Each parameter that go-redis documents for a form is known here.
func TestEveryParameterOfGoRedisIsTaken(t *testing.T) {
	common := "client_name=c&max_retries=1&min_retry_backoff=1s&max_retry_backoff=1s&dial_timeout=1s&read_timeout=1s&write_timeout=1s" +
		"&pool_fifo=true&pool_size=5&pool_timeout=1s&min_idle_conns=1&max_idle_conns=1&max_active_conns=5&max_concurrent_dials=1" +
		"&pipeline_pool_size=1&pipeline_read_buffer_size=4096&pipeline_write_buffer_size=4096&conn_max_lifetime=1m" +
		"&conn_max_lifetime_jitter=1s&conn_max_idle_time=1m&protocol=3"
	for _, query := range []string{
		common + "&db=1", "idle_timeout=1m&max_conn_age=1m",
		common + "&cluster=true&max_redirects=1&route_by_latency_tolerance=1s&dialer_retries=1&dialer_retry_timeout=1s&failing_timeout_seconds=1",
		common + "&master_name=m&username=u&password=p&db=1&dialer_retries=1&dialer_retry_timeout=1s&use_disconnected_replicas=false&unstable_resp3=false",
	} {
		if _, err := redisconn.Parse("redis://h?" + query); err != nil {
			t.Error(err)
		}
	}
}

func TestAPoolOfOneConnectionIsEnlarged(t *testing.T) {
	for _, form := range []string{"redis://h?", "redis://h1,h2?", "redis://h?master_name=m&"} {
		_, client := parse(t, form+"pool_size=1")
		size := 0
		switch c := client.(type) {
		case *redis.Client:
			size = c.Options().PoolSize
		case *redis.ClusterClient:
			size = c.Options().PoolSize
		}
		if size != 2 {
			t.Errorf("%s: %d connections", form, size)
		}
	}
}
