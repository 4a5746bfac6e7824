package cli_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/cli/clitest"
	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/redistest"
)

const (
	securityPage = "../../docs/security.md"
	userPassword = "secret-of-the-user"
)

// guardedSite is a site where programs have the users of the security page.
type guardedSite struct {
	site
	servers []*redis.Client // with all rights
}

func newGuardedSite(t *testing.T, clustered bool) guardedSite {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	programsDir.Store(&dir)
	g := guardedSite{site: site{dir: dir}}
	servers := []*redistest.Server{}
	if clustered {
		servers = redistest.StartCluster(t, 3)
		g.url = redistest.ClusterURL(servers)
	} else {
		servers = append(servers, redistest.Start(t))
		g.url = servers[0].URL()
	}
	rules := redistest.Rules(t, securityPage, "QUEUE", "distpool", "PASSWORD", userPassword)
	more := clusterRules(t)
	for _, s := range servers {
		admin := redis.NewClient(&redis.Options{Addr: s.Addr()})
		t.Cleanup(func() { _ = admin.Close() })
		g.servers = append(g.servers, admin)
		for user, line := range rules {
			if clustered {
				line = slices.Concat(line, more[""], more[user]) // after -@all
			}
			redistest.SetUser(t, admin, user, line)
		}
		// Nothing works without a user: a program that lost its own would be seen.
		if err := admin.Do(t.Context(), "ACL", "SETUSER", "default", "resetpass", ">of-the-admin").Err(); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// clusterRules are what the page says that users need in a Cluster, too; "" is all of them.
func clusterRules(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "each user needs\n`")
	paragraph, _, _ := strings.Cut(rest, "\n\n")
	lists := strings.Split(paragraph, "`")
	if !found || len(lists) < 8 {
		t.Fatalf("%s says nothing of Clusters", securityPage)
	}
	monitors, runs, cancels := strings.Fields(lists[2]), strings.Fields(lists[4]), strings.Fields(lists[6])
	return map[string][]string{
		"": strings.Fields(lists[0]), "distpool-monitor": monitors, "distpool-canceler": slices.Concat(monitors, cancels),
		"distpool-producer": runs, "distpool-worker": runs,
	}
}

// as is the site of a user.
func (g guardedSite) as(t *testing.T, role string) site {
	t.Helper()
	scheme, rest, _ := strings.Cut(g.url, "://")
	return site{g.dir, fmt.Sprintf("%s://distpool-%s:%s@%s", scheme, role, userPassword, rest)}
}

// denied are the commands that a server refused to a user.
func (g guardedSite) denied(t *testing.T) (all []string) {
	t.Helper()
	for _, c := range g.servers {
		entries, err := c.Do(t.Context(), "ACL", "LOG").Slice()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, fmt.Sprint(e))
		}
		if err := c.Do(t.Context(), "ACL", "LOG", "RESET").Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// Each program does its work as its user, and asks for nothing that its rules lack.
func TestEachProgramWorksUnderItsRules(t *testing.T) {
	for _, topology := range []string{"one Redis", "a Cluster"} {
		t.Run(topology, func(t *testing.T) {
			t.Parallel()
			underRules(t, newGuardedSite(t, topology != "one Redis"))
		})
	}
}

func underRules(t *testing.T, g guardedSite) {
	worker, producer, monitor, canceler := g.as(t, "worker"), g.as(t, "producer"), g.as(t, "monitor"), g.as(t, "canceler")
	startAs(t, worker, monitor)
	run := func(s site, stdin string, code int, want string, args ...string) string {
		t.Helper()
		got := s.run(t, stdin, args...)
		if got.Code != code || !strings.Contains(got.Out, want) {
			t.Errorf("%q: %+v, want exit code %d and %q", args, got, code, want)
		}
		for _, d := range g.denied(t) {
			t.Errorf("%q: refused: %s", args, d)
		}
		return strings.TrimSpace(got.Out)
	}
	run(producer, "", console.ExitOK, "144", "apply", "square", "12")
	run(producer, "1\n2\n3\n", console.ExitOK, "1\n4\n9\n", "map", "square")
	run(producer, "", console.ExitOK, "6.", "starmap", "add3_random", "[1,2,3]")
	run(producer, "1\n2\n3\n", console.ExitOK, "1\n4\n9\n", "imap", "square")
	run(producer, "1\n2\n", console.ExitOK, "", "imap", "square", "--unordered")
	id := run(producer, "", console.ExitOK, "", "map", "fail", `"a"`, `"b"`, "--async")
	run(producer, "", console.ExitCallFailed, `"message":"a"`, "get", id)
	run(producer, "", console.ExitCallFailed, `"message":"b"`, "retry-failed", id)
	run(producer, "", console.ExitOK, "distpool", "workers")
	run(producer, "", console.ExitNoResult, "", "apply", "sleep", "60", "--timeout", "1s")
	for _, s := range []site{monitor, canceler} {
		clitest.Eventually(t, "the jobs are listed", func() bool { return strings.Contains(s.run(t, "", "jobs").Out, id) })
		run(s, "", console.ExitOK, id, "jobs", "--task", "fail", "--status", "failed")
		run(s, "", console.ExitOK, `"message":"a"`, "job", id, "--json")
		run(s, "", console.ExitCallFailed, "fail", "job", id, "--watch")
		run(s, "", console.ExitOK, "square", "workers")
		run(s, "", console.ExitOK, "distpool", "queues")
		run(s, "", console.ExitOK, id, "__complete", "get", "")
		run(s, "", console.ExitOK, "square", "__complete", "apply", "")
	}
	held := run(producer, "", console.ExitOK, "", "apply", "sleep", "3600", "--async")
	if got := monitor.run(t, "", "cancel", held); got.Code != console.ExitNoResult || !strings.Contains(got.Out, "NOPERM") {
		t.Errorf("a monitor cancels: %+v", got)
	}
	_ = g.denied(t)
	// It may not take deliveries out of the queue, and tries: docs/security.md says so.
	if got := canceler.run(t, "", "cancel", held); got.Code != console.ExitOK || !strings.Contains(got.Out, "canceled") {
		t.Errorf("the canceler: %+v", got)
	}
	_ = g.denied(t)
	// doctor tries what others may: it says so, and goes on.
	for s, verdict := range map[site]string{worker: `"ok","found":"all that a worker needs"`, producer: `"ok","found":"all that a producer needs"`, monitor: `"warning"`, canceler: `"warning"`} {
		if got := s.run(t, "", "doctor", "--json"); got.Code != console.ExitOK && s != worker && s != producer || !strings.Contains(got.Out, `{"check":"commands","verdict":`+verdict) {
			t.Errorf("doctor of %s: %+v", s.url, got)
		}
	}
	_ = g.denied(t)
	for _, s := range []site{monitor, canceler} {
		g.browse(t, s, id, s == canceler)
	}
	if denied := g.denied(t); len(denied) > 0 {
		t.Errorf("refused: %s", strings.Join(slices.Compact(denied), "\n"))
	}
}

// startAs starts a worker as one user, with its metrics, and waits for it as another.
func startAs(t *testing.T, worker, viewer site) {
	t.Helper()
	cmd := exec.Command(filepath.Join(worker.dir, "worker"), "-concurrency", "2", "-grace", "1s", "-http", "127.0.0.1:0")
	log := &clitest.Buffer{}
	cmd.Env = append(os.Environ(), "REDIS_URL="+worker.url, "DISTPOOL_KEYRING=")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait() // with exit code 1: it abandons the call that sleeps
		if strings.Contains(log.String(), "NOPERM") {
			t.Errorf("the worker's log:\n%s", log)
		}
	})
	clitest.Eventually(t, "the worker is registered", func() bool { return viewer.run(t, "", "workers", "--json").Out != "" })
	_, rest, _ := strings.Cut(log.String(), "address=")
	address, _, _ := strings.Cut(rest, "\n")
	for _, path := range []string{"/metrics", "/readyz", "/healthz"} {
		if got := viewer.run(t, "", "probe", "http://"+address+path); got.Code != console.ExitOK {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

// browse looks at every page of a monitor with this user.
func (g guardedSite) browse(t *testing.T, s site, id string, write bool) {
	t.Helper()
	var args []string
	if write {
		args = append(args, "--write")
	}
	m := s.monitor(t, args...)
	defer func() {
		_ = m.stop()
		if log := m.log.String(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
			t.Errorf("the monitor's log: %s", log)
		}
	}()
	for _, path := range []string{
		"/healthz", "/readyz", "/jobs", "/jobs?status=failed", "/jobs/" + id, "/workers", "/throughput", "/metrics", "/asynqmon/",
		"/asynqmon/api/queues", "/asynqmon/api/queues/distpool", "/asynqmon/api/queue_stats", "/asynqmon/api/queues/distpool/pending_tasks",
		"/asynqmon/api/queues/distpool/active_tasks", "/asynqmon/api/queues/distpool/archived_tasks", "/asynqmon/api/queues/distpool/retry_tasks",
		"/asynqmon/api/queues/distpool/scheduled_tasks", "/asynqmon/api/queues/distpool/completed_tasks", "/asynqmon/api/servers",
		"/asynqmon/api/scheduler_entries", "/asynqmon/api/redis_info",
	} {
		resp, err := http.Get(m.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s answers %s", path, resp.Status)
		}
		for _, d := range g.denied(t) {
			t.Errorf("%s: refused: %s", path, d)
		}
	}
	if write {
		held := strings.TrimSpace(g.as(t, "producer").run(t, "", "apply", "sleep", "3600", "--async").Out)
		resp, err := http.PostForm(m.URL+"/jobs/"+held+"/cancel", url.Values{})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := s.run(t, "", "job", held); !strings.Contains(got.Out, "canceled") {
			t.Errorf("the monitor cancels: %s, %+v", resp.Status, got)
		}
		_ = g.denied(t) // see above
	}
}
