package redisconn_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/distpool/distpool/internal/redisconn"
	"github.com/distpool/distpool/internal/redistest"
)

// go-redis logs each of the failures that these tests are about.
func TestMain(m *testing.M) {
	logging.Disable()
	m.Run()
}

// mustOpen opens url and writes a key, so that a client which only looks right
// does not pass.
func mustOpen(t *testing.T, url string) redis.UniversalClient {
	t.Helper()
	client, err := redisconn.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	for i := range 20 { // different slots of a Cluster
		if err := client.Set(t.Context(), fmt.Sprintf("key%d", i), "value", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	return client
}

// wantError opens url and checks kind and text of the error, and that the
// text has no password in it.
func wantError(t *testing.T, url string, kind error, want string) {
	t.Helper()
	start := time.Now()
	client, err := redisconn.Open(t.Context(), url)
	if err == nil {
		client.Close()
		t.Errorf("%s: no error, want %v", url, kind)
		return
	}
	if !errors.Is(err, kind) {
		t.Errorf("%s: %v\nwant kind: %v", url, err, kind)
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%s: %v\nwant in it: %s", url, err, want)
	}
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the error shows the password: %v", err)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("the error has more than one line: %v", err)
	}
	if d := time.Since(start); d > 6*time.Second {
		t.Errorf("%s: the error took %v, want 5 s at most", url, d)
	}
}

func TestOpenMiniredis(t *testing.T) {
	mr := miniredis.RunT(t)
	mustOpen(t, "redis://"+mr.Addr())
	mustOpen(t, mr.Addr())
	mustOpen(t, "redis://"+mr.Addr()+"/3")
	if got := mr.DB(3).Keys(); len(got) != 20 {
		t.Errorf("database 3 has %d keys, want 20", len(got))
	}
	t.Setenv("REDIS_URL", "redis://"+mr.Addr()+"/4")
	mustOpen(t, "")
	if got := mr.DB(4).Keys(); len(got) != 20 {
		t.Errorf("database 4 has %d keys, want 20", len(got))
	}
}

func TestOpenMiniredisWithPassword(t *testing.T) {
	mr := miniredis.RunT(t)
	mr.RequireUserAuth("user", "SECRET")
	mustOpen(t, "redis://user:SECRET@"+mr.Addr())
	wantError(t, "redis://"+mr.Addr(), redisconn.ErrAuth, "wants a password")
	wantError(t, "redis://user:SECRETS@"+mr.Addr(), redisconn.ErrAuth, "password is wrong")
}

func TestOpenServerWithPassword(t *testing.T) {
	srv := redistest.Start(t, redistest.Password("SECRET"))
	mustOpen(t, srv.URL())
	wantError(t, "redis://"+srv.Addr(), redisconn.ErrAuth, "redis://:PASSWORD@")
	wantError(t, "redis://SECRET@"+srv.Addr(), redisconn.ErrAuth, "redis://:PASSWORD@")
	wantError(t, "redis://:SECRETS@"+srv.Addr(), redisconn.ErrAuth, "password is wrong")
	wantError(t, "redis://nobody:SECRET@"+srv.Addr(), redisconn.ErrAuth, "redis://nobody:***@"+srv.Addr())
	wantError(t, srv.URL()+"/99", redisconn.ErrBadURL, "no database of that number")
}

func TestOpenServerWithUsers(t *testing.T) {
	srv := redistest.Start(t, redistest.Config(
		"user full on >SECRET ~* &* +@all",
		"user plain on >SECRET ~* &* +@all -@dangerous", // has no INFO
		"user bare on >SECRET ~* +set",
		"user off off >SECRET ~* +@all",
	))
	mustOpen(t, "redis://full:SECRET@"+srv.Addr())
	mustOpen(t, "redis://plain:SECRET@"+srv.Addr())
	wantError(t, "redis://bare:SECRET@"+srv.Addr(), redisconn.ErrAuth, "ACL SETUSER")
	wantError(t, "redis://off:SECRET@"+srv.Addr(), redisconn.ErrAuth, "password is wrong")
}

func TestOpenTLS(t *testing.T) {
	srv := redistest.Start(t, redistest.TLS(), redistest.Password("SECRET"))
	_, port, _ := net.SplitHostPort(srv.Addr())
	bare := "rediss://:SECRET@" + srv.Addr()

	mustOpen(t, srv.URL())
	mustOpen(t, "rediss://:SECRET@localhost:"+port+"?ca_file="+srv.CAFile())
	mustOpen(t, bare+"?skip_verify=true")

	wantError(t, bare, redisconn.ErrTLS, "ca_file")
	wantError(t, "redis://:SECRET@"+srv.Addr(), redisconn.ErrUnreachable, "rediss://")
	wantError(t, "rediss://:SECRET@127.0.0.2:"+port+"?ca_file="+srv.CAFile(), redisconn.ErrUnreachable, "nothing listens")
}

func TestOpenTLSChecksTheName(t *testing.T) {
	srv := redistest.Start(t, redistest.TLS(), redistest.Config("bind 127.0.0.1 127.0.0.2"))
	_, port, _ := net.SplitHostPort(srv.Addr())
	wantError(t, "rediss://127.0.0.2:"+port+"?ca_file="+srv.CAFile(), redisconn.ErrTLS, "another name")
}

func TestOpenTLSWithClientCertificate(t *testing.T) {
	srv := redistest.Start(t, redistest.TLS(), redistest.Config("tls-auth-clients yes"))
	dir := filepath.Dir(srv.CAFile())
	mustOpen(t, srv.URL()+"&cert_file="+filepath.Join(dir, "server.pem")+"&key_file="+filepath.Join(dir, "server.key"))
	wantError(t, srv.URL(), redisconn.ErrTLS, "cert_file")
}

func TestOpenUnixSocket(t *testing.T) {
	// A test's own folder can be too deep for the 108 bytes of a socket's path.
	srv := redistest.Start(t, redistest.Password("SECRET"), redistest.Config("unixsocket s"))
	path := filepath.Join(srv.Dir(), "s")
	if len(path) > 100 {
		t.Skipf("the temporary folder's path is too long for a socket: %s", path)
	}
	mustOpen(t, "unix://:SECRET@"+path)
	mustOpen(t, "unix://:SECRET@"+path+"?db=2")
	wantError(t, "unix://:SECRETS@"+path, redisconn.ErrAuth, "password is wrong")
	wantError(t, path+".no", redisconn.ErrUnreachable, "no such socket")
}

func TestOpenCluster(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	a, b, c := servers[0].Addr(), servers[1].Addr(), servers[2].Addr()
	for _, url := range []string{
		redistest.ClusterURL(servers),
		"redis://" + a + "," + b + "," + c,
		"redis://" + a + "?addr=" + b + "&addr=" + c,
		b + "?cluster=true",
		"redis://127.0.0.1:1," + c, // one seed is down
	} {
		if _, ok := mustOpen(t, url).(*redis.ClusterClient); !ok {
			t.Errorf("%s: not a Cluster's client", url)
		}
	}
	wantError(t, a, redisconn.ErrBadURL, "cluster=true")
	wantError(t, a+"?master_name=main", redisconn.ErrBadURL, "leave master_name out")

	if err := servers[2].Kill(); err != nil {
		t.Fatal(err)
	}
	wantError(t, redistest.ClusterURL(servers), redisconn.ErrUnreachable, c)
}

func TestOpenClusterWithoutSlots(t *testing.T) {
	srv := redistest.Start(t, redistest.Config("cluster-enabled yes"))
	wantError(t, srv.URL()+"?cluster=true", redisconn.ErrUnreachable, "--cluster create")
}

func TestOpenSingleServerAsCluster(t *testing.T) {
	srv := redistest.Start(t)
	wantError(t, srv.URL()+"?cluster=true", redisconn.ErrBadURL, "single server")
}

func TestOpenSentinel(t *testing.T) {
	master := redistest.Start(t, redistest.Password("SECRET"))
	sentinel := redistest.StartSentinel(t, master, "main")
	for _, hosts := range []string{sentinel.Addr(), "127.0.0.1:1," + sentinel.Addr()} {
		client := mustOpen(t, "redis://"+hosts+"/2?master_name=main&password=SECRET")
		if got := client.(*redis.Client).Options().DB; got != 2 {
			t.Errorf("database %d, want 2", got)
		}
	}
	if n, err := master.Client(t).Do(t.Context(), "DBSIZE").Int(); err != nil || n != 0 {
		t.Errorf("database 0 has %d keys, %v; want all in database 2", n, err)
	}
	wantError(t, sentinel.URL()+"?master_name=other&password=SECRET", redisconn.ErrUnreachable, "master_name")
	wantError(t, sentinel.URL()+"?master_name=main", redisconn.ErrAuth, "wants a password")
	wantError(t, sentinel.URL(), redisconn.ErrBadURL, "it is a Sentinel")
	wantError(t, master.URL()+"?master_name=main", redisconn.ErrBadURL, "no Sentinel")
}

func TestOpenSentinelWithPasswordOfItsOwn(t *testing.T) {
	master := redistest.Start(t)
	sentinel := redistest.StartSentinel(t, master, "main", redistest.Password("SECRET"))
	mustOpen(t, sentinel.URL()+"?master_name=main")
	wantError(t, "redis://"+sentinel.Addr()+"?master_name=main", redisconn.ErrAuth, "password")
}

func TestOpenWhereNothingListens(t *testing.T) {
	addr := silentListener(t, false)
	wantError(t, "redis://user:SECRET@"+addr, redisconn.ErrUnreachable, "nothing listens")
	wantError(t, "rediss://user:SECRET@"+addr, redisconn.ErrUnreachable, "nothing listens")
	wantError(t, addr+","+addr, redisconn.ErrUnreachable, "nothing listens")
	wantError(t, addr+"?master_name=main", redisconn.ErrUnreachable, "nothing listens")
	wantError(t, "redis://no-such-host.invalid", redisconn.ErrUnreachable, "no-such-host.invalid")

	t.Setenv("REDIS_URL", addr)
	wantError(t, "", redisconn.ErrUnreachable, "from REDIS_URL")
}

func TestOpenEndsWithItsContext(t *testing.T) {
	addr := silentListener(t, true)
	for _, url := range []string{addr, "rediss://" + addr, addr + "?cluster=true", addr + "?master_name=main"} {
		t.Run(url, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			_, err := redisconn.Open(ctx, url)
			if !errors.Is(err, redisconn.ErrUnreachable) {
				t.Errorf("at the deadline: %v, want ErrUnreachable", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("it took %v, want 100 ms", d)
			}

			stop := errors.New("no longer needed")
			canceled, cancelCause := context.WithCancelCause(t.Context())
			time.AfterFunc(50*time.Millisecond, func() { cancelCause(stop) })
			start = time.Now()
			_, err = redisconn.Open(canceled, url)
			if !errors.Is(err, stop) || errors.Is(err, redisconn.ErrUnreachable) {
				t.Errorf("canceled: %v, want the cause of it", err)
			}
			if d := time.Since(start); d > time.Second {
				t.Errorf("canceled, it took %v, want 50 ms", d)
			}
		})
	}
}

func TestOpenHasABoundOfItsOwn(t *testing.T) {
	t.Parallel()
	start := time.Now()
	wantError(t, silentListener(t, true), redisconn.ErrUnreachable, "no answer")
	if d := time.Since(start); d < 4*time.Second {
		t.Errorf("it gave up after %v, want 5 s", d)
	}
}

// A client that the caller made may ignore contexts.
func TestCheckIsBoundedForAnyClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: silentListener(t, true)})
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := redisconn.Check(ctx, client); !errors.Is(err, redisconn.ErrUnreachable) || !strings.Contains(err.Error(), client.Options().Addr) {
		t.Errorf("%v, want ErrUnreachable with the address", err)
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("it took %v, want 100 ms", d)
	}
}

func TestCheckRefusesAPoolOfOneConnection(t *testing.T) {
	addr := redistest.Start(t).Addr()
	for field, client := range map[string]redis.UniversalClient{
		"PoolSize":       redis.NewClient(&redis.Options{Addr: addr, PoolSize: 1}),
		"MaxActiveConns": redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, MaxActiveConns: 1}),
	} {
		t.Cleanup(func() { _ = client.Close() })
		if err := redisconn.Check(t.Context(), client); !errors.Is(err, redisconn.ErrBadURL) || !strings.Contains(err.Error(), field+" is 1; use 2 or more") {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func TestCheckOfAGoodClient(t *testing.T) {
	client := redistest.Start(t).Client(t)
	if err := redisconn.Check(t.Context(), client); err != nil {
		t.Error(err)
	}
}

func TestOpenChecksTheVersion(t *testing.T) {
	for version, old := range map[string]bool{
		"5.0.14": true, "6.0.16": true, "6.1.240": true, "3": true,
		"6.2": false, "6.2.0": false, "6.10.1": false, "7.0.15": false, "10.0.0": false, "255.255.255": false,
	} {
		url := fakeRedis(t, func(command string) string {
			switch command {
			case "PING":
				return "+PONG\r\n"
			case "INFO":
				text := "# Server\r\nredis_version:" + version + "\r\nredis_mode:standalone\r\n"
				return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
			}
			return "-ERR unknown command '" + command + "'\r\n"
		})
		if old {
			wantError(t, url, redisconn.ErrTooOld, version)
			wantError(t, url, redisconn.ErrTooOld, redisconn.MinVersion)
			continue
		}
		client, err := redisconn.Open(t.Context(), url)
		if err != nil {
			t.Errorf("version %s: %v", version, err)
			continue
		}
		client.Close()
	}
}

func TestOpenServerThatTellsNoVersion(t *testing.T) {
	for _, reply := range []string{"$0\r\n\r\n", "-ERR unknown command 'INFO'\r\n", "-NOPERM no INFO for you\r\n"} {
		client, err := redisconn.Open(t.Context(), fakeRedis(t, func(command string) string {
			switch command {
			case "PING":
				return "+PONG\r\n"
			case "INFO":
				return reply
			}
			return "-ERR unknown command '" + command + "'\r\n"
		}))
		if err != nil {
			t.Errorf("%q: %v", reply, err)
			continue
		}
		client.Close()
	}
}

func TestOpenServerThatIsNotReady(t *testing.T) {
	wantError(t, fakeRedis(t, func(string) string {
		return "-LOADING Redis is loading the dataset in memory\r\n"
	}), redisconn.ErrUnreachable, "not ready")
	wantError(t, fakeRedis(t, func(string) string {
		return "-DENIED Redis is running in protected mode\r\n"
	}), redisconn.ErrAuth, "protected mode")
}

func TestOpenWhatIsNoRedis(t *testing.T) {
	wantError(t, fakeRedis(t, func(string) string {
		return "HTTP/1.1 400 Bad Request\r\n\r\n"
	}), redisconn.ErrUnreachable, "does not speak the Redis protocol")
}
