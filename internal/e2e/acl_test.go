package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

const (
	securityPage  = "../../docs/security.md"
	rolePassword  = "secret-of-the-role"
	adminPassword = "secret-of-the-admin"
)

// The users that the page describes.
const (
	roleProducer = "distpool-producer"
	roleWorker   = "distpool-worker"
	roleMonitor  = "distpool-monitor"
	roleCanceler = "distpool-canceler" // a monitor that may cancel
)

var roles = []string{roleProducer, roleWorker, roleMonitor, roleCanceler}

// aclRules reads the rules of the page, by user.
func aclRules(t *testing.T, queue string) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for line := range strings.Lines(string(page)) {
		f := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(line, "QUEUE", queue), "PASSWORD", rolePassword))
		if len(f) > 2 && f[0] == "user" {
			rules[f[1]] = f[2:]
		}
	}
	for _, role := range roles {
		if len(rules[role]) == 0 {
			t.Fatalf("%s has no line \"user %s\"", securityPage, role)
		}
	}
	return rules
}

// granted are the commands that the rules allow by name.
func granted(rules []string) []string {
	var cmds []string
	for _, r := range rules {
		r = strings.Trim(r, "()")
		if name, ok := strings.CutPrefix(r, "+"); ok && !strings.HasPrefix(name, "@") {
			cmds = append(cmds, name)
		}
	}
	return cmds
}

// selectors puts the rules in parentheses together, as ACL SETUSER wants them.
func selectors(rules []string) []string {
	var out []string
	inside := false
	for _, r := range rules {
		if inside {
			out[len(out)-1] += " " + r
		} else {
			out = append(out, r)
		}
		inside = (inside || strings.HasPrefix(r, "(")) && !strings.HasSuffix(r, ")")
	}
	return out
}

// guarded is an env whose redis-server wants TLS with a client certificate, and
// users.
type guarded struct {
	*env
	srv   *redistest.Server
	admin string // its URL
	rules map[string][]string
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	srv := redistest.Start(t, redistest.TLS(), redistest.Password(adminPassword), redistest.Config("tls-auth-clients yes"))
	g := &guarded{srv: srv}
	g.admin = g.url(t, "default", adminPassword)
	g.env = newEnv(t, g.url(t, roleProducer, rolePassword), true)
	g.rdb = client(g.admin)
	g.rules = aclRules(t, g.queue)
	for _, role := range roles {
		args := []any{"ACL", "SETUSER", role}
		for _, r := range selectors(g.rules[role]) {
			args = append(args, r)
		}
		if err := g.rdb.Do(ctx(t), args...).Err(); err != nil {
			t.Fatalf("%s: %v", role, err)
		}
	}
	return g
}

// url names the server for a user, with a client certificate.
func (g *guarded) url(t *testing.T, user, password string) string {
	t.Helper()
	u, err := url.Parse(g.srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	cert, key := g.srv.ClientCert()
	q.Set("cert_file", cert)
	q.Set("key_file", key)
	u.User, u.RawQuery = url.UserPassword(user, password), q.Encode()
	return u.String()
}

func (g *guarded) probe() probe { return probe{URL: g.admin, Key: "probe:" + g.queue} }

func (g *guarded) as(t *testing.T, role string) redis.UniversalClient {
	return client(g.url(t, role, rolePassword))
}

func (g *guarded) worker(t *testing.T) *testWorker {
	return g.env.worker(t, 2, func(s *workerSpec) { s.Redis, s.Dies = g.url(t, roleWorker, rolePassword), true })
}

// watch notes which commands each user runs, until the returned function is called.
func (g *guarded) watch(t *testing.T) func() map[string]map[string]bool {
	t.Helper()
	var mu sync.Mutex
	users := map[string]string{} // client's address -> user
	look := func() {
		list, err := g.rdb.ClientList(context.Background()).Result()
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for line := range strings.Lines(list) {
			addr, user := "", ""
			for _, f := range strings.Fields(line) {
				if v, ok := strings.CutPrefix(f, "addr="); ok {
					addr = v
				} else if v, ok := strings.CutPrefix(f, "user="); ok {
					user = v
				}
			}
			users[addr] = user
		}
	}
	stop, watching := make(chan struct{}), sync.WaitGroup{}
	watching.Go(func() {
		for {
			look()
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	seen := monitorCommands(t, g.admin)
	return func() map[string]map[string]bool {
		close(stop)
		watching.Wait()
		used := map[string]map[string]bool{}
		for _, c := range seen() {
			user := users[c.addr]
			if used[user] == nil {
				used[user] = map[string]bool{}
			}
			used[user][c.name] = true
		}
		return used
	}
}

type usedCommand struct{ addr, name string }

// monitorCommands collects the commands that the server runs, and those of scripts
// under the client that ran the script.
func monitorCommands(t *testing.T, url string) func() []usedCommand {
	t.Helper()
	one := client(url).(*redis.Client)
	conn, err := one.Options().Dialer(ctx(t), "tcp", one.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "AUTH default %s\r\nMONITOR\r\n", adminPassword); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []usedCommand
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		last := ""
		lines := bufio.NewReaderSize(conn, 1<<20)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			_, rest, ok := strings.Cut(line, "[0 ")
			addr, rest, ok2 := strings.Cut(rest, "] \"")
			f := strings.SplitN(rest, `"`, 4)
			if !ok || !ok2 || len(f) < 2 {
				continue
			}
			if addr == "lua" {
				addr = last
			}
			last = addr
			name := strings.ToLower(f[0])
			if len(f) > 2 && slices.Contains([]string{"script", "memory", "client", "object"}, name) {
				name += "|" + strings.ToLower(f[2])
			}
			mu.Lock()
			seen = append(seen, usedCommand{addr, name})
			mu.Unlock()
		}
	}()
	return func() []usedCommand {
		_ = conn.Close()
		<-ended
		return seen
	}
}

// The behaviour that the roles are for, with exactly the rules of the page: none is
// missing (ACL LOG stays empty), and none is idle.
func TestTheRulesOfTheSecurityPageAreEnoughAndNoneIsIdle(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	if err := g.rdb.Do(ctx(t), "ACL", "LOG", "RESET").Err(); err != nil {
		t.Fatal(err)
	}
	stop := g.watch(t)

	first, second := g.worker(t), g.worker(t)
	p := g.pool(t)
	survivors(t, p, first)
	g.flush(t)
	survivors(t, p, first)
	i := 0
	for v, err := range producer.IMap(ctx(t), p, square, slices.Values(numbers(500))) {
		same(t, "a value of a stream", v, err, i*i)
		i++
	}
	mark := g.probe()
	got, err := producer.Map(ctx(t), p, try, []attempt{{mark, 2, ""}, {mark, 1, ""}}, producer.ChunkSize(2), producer.Retry(3, tasks.Every(300*time.Millisecond)))
	same(t, "retries", fmt.Sprint(got), err, "[2 1]")
	_, err = producer.Map(ctx(t), p, divide, []float64{0, 0, 1})
	if _, ok := errors.AsType[*results.MapError](err); !ok {
		t.Errorf("failing calls: %v", err)
	}
	for v, err := range producer.IMap(ctx(t), p, divide, slices.Values([]float64{0, 1})) {
		if _, failed := errors.AsType[*results.TaskError](err); err != nil && !failed {
			t.Errorf("a stream with a failing call: %v, %v", v, err)
		}
	}
	// A delayed job, one that is canceled before it starts, and one with an ID.
	n, err := producer.Apply(ctx(t), p, square, 6, producer.Delay(1500*time.Millisecond), producer.ID("A-"+g.queue), producer.ExpiresIn(time.Minute))
	same(t, "a delayed job", n, err, 36)
	never, err := producer.ApplyAsync(ctx(t), p, square, 6, producer.Delay(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := never.Cancel(ctx(t)); err != nil {
		t.Errorf("canceling a job that waits: %v", err)
	}
	late, err := producer.ApplyAsync(ctx(t), p, square, 6, producer.Delay(time.Second), producer.ExpiresIn(time.Millisecond))
	if err == nil {
		_, _ = late.Get(ctx(t)) // in time or not
	}
	// A slow call, canceled while it runs; and large outcomes, which notices do not carry.
	mark.Key += ":slow"
	slow, err := producer.ApplyAsync(ctx(t), p, hold, mark)
	if err != nil {
		t.Fatal(err)
	}
	g.awaitStarted(t, mark, 1)
	if err := slow.Cancel(ctx(t)); err != nil {
		t.Errorf("canceling a job that runs: %v", err)
	}
	large, err := producer.Map(ctx(t), p, produce, []int{20_000, 20_000}, producer.ChunkSize(1))
	if err != nil || len(large[1]) != 20_000 {
		t.Errorf("large outcomes: %v", err)
	}
	// A long chunk, so that there are checkpoints.
	if _, err := producer.Map(ctx(t), p, sleep, []int{700, 700, 10}, producer.ChunkSize(3)); err != nil {
		t.Errorf("a long chunk: %v", err)
	}
	// A worker dies, and the other one goes on.
	mark.Key += ":dies"
	held, err := producer.ApplyAsync(ctx(t), p, hold, mark)
	if err != nil {
		t.Fatal(err)
	}
	g.awaitStarted(t, mark, 1)
	owner := g.rdb.HGet(ctx(t), record.Keys(held.ID())[0], "run").Val()
	dying, other := first, second
	if strings.HasPrefix(owner, second.name+":") {
		dying, other = second, first
	}
	g.look(t, held.ID())
	dying.kill()
	g.awaitStarted(t, mark, 2)
	g.open(t, mark)
	name, err := held.Get(ctx(t))
	if err != nil || !strings.HasPrefix(name, other.name+":") {
		t.Errorf("a call whose worker died ran on %q, %v; want %s", name, err, other.name)
	}
	// A delivery that an operator deleted is issued again, by Revive.
	if err := held.Forget(ctx(t)); err != nil {
		t.Errorf("forgetting: %v", err)
	}
	victim, err := producer.ApplyAsync(ctx(t), p, square, 8, producer.Delay(4*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.inspector().DeleteTask(g.queue, victim.ID()+":0:1"); err != nil {
		t.Fatal(err)
	}
	n, err = victim.Get(ctx(t))
	same(t, "a job whose delivery was deleted", n, err, 64)

	// What only happens when something went wrong, or somebody else was first: a map
	// in several round trips, its outcomes read by another pool, a second submitter of
	// a job that waits, and deliveries of a map that were deleted.
	big, err := producer.MapAsync(ctx(t), p, size, severalTrips(), producer.ChunkSize(1))
	if err == nil {
		_, err = big.Get(ctx(t))
	}
	if err != nil {
		t.Errorf("a map in several round trips: %v", err)
	}
	pool2 := g.pool(t)
	again, err := producer.AttachMap(ctx(t), pool2, size, big.ID())
	if err == nil {
		_, err = again.Get(ctx(t))
	}
	if err != nil {
		t.Errorf("attaching to it: %v", err)
	}
	options := []producer.Option{producer.ID("B-" + g.queue), producer.Delay(5 * time.Second), producer.ChunkSize(1)}
	waits, err := producer.MapAsync(ctx(t), p, square, numbers(3), options...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := producer.MapAsync(ctx(t), pool2, square, numbers(3), options...); err != nil {
		t.Errorf("a second submitter: %v", err)
	}
	if ids, err := g.inspector().DeleteAllScheduledTasks(g.queue); err != nil || ids < 3 {
		t.Fatalf("deleted %d deliveries: %v", ids, err)
	}
	got, err = waits.Get(ctx(t))
	same(t, "a map whose deliveries were deleted", fmt.Sprint(got), err, "[0 1 4]")

	// The monitor that may cancel.
	c := g.as(t, roleCanceler)
	doomed, err := producer.ApplyAsync(ctx(t), p, square, 8, producer.Delay(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	g.flush(t)
	if state, err := record.Cancel(ctx(t), c, doomed.ID(), "by an operator"); err != nil || state != record.Canceled {
		t.Errorf("canceling as an operator: %v, %v", state, err)
	}
	if _, err := doomed.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
		t.Errorf("a job that an operator canceled: %v", err)
	}
	if err := other.stop(t); err != nil {
		t.Error(err)
	}

	used := stop()
	denied, err := g.rdb.Do(ctx(t), "ACL", "LOG").Slice()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range denied {
		t.Errorf("ACL LOG: %v", d)
	}
	for _, role := range roles {
		t.Logf("%s uses %s", role, strings.Join(slices.Sorted(maps.Keys(used[role])), " "))
		for _, name := range granted(g.rules[role]) {
			if !used[role][name] && !slices.Contains(unmonitored, name) {
				t.Errorf("%s may %s, which it never did", role, name)
			}
		}
	}
}

// unmonitored are commands that MONITOR need not show: xdel makes room in a list of
// recent jobs that has tens of thousands.
var unmonitored = []string{"xdel"}

// flush makes the server forget its scripts, as a restart does.
func (g *guarded) flush(t *testing.T) {
	t.Helper()
	if err := g.rdb.ScriptFlush(ctx(t)).Err(); err != nil {
		t.Fatal(err)
	}
}

// look reads what a monitor shows: jobs, workers, queues, and everything that asynq
// has to tell.
func (g *guarded) look(t *testing.T, id string) {
	t.Helper()
	for _, role := range []string{roleMonitor, roleCanceler} {
		c := g.as(t, role)
		check := func(what string, err error) {
			if err != nil && !errors.Is(err, redis.Nil) && !errors.Is(err, asynq.ErrQueueNotFound) && !errors.Is(err, asynq.ErrTaskNotFound) {
				t.Errorf("%s: %s: %v", role, what, err)
			}
		}
		snap, err := record.Read(ctx(t), c, id)
		check("a job", err)
		if snap.Task != hold.Name() {
			t.Errorf("%s reads the job as %+v", role, snap)
		}
		for _, key := range record.Keys(id) {
			check("a key", c.HGetAll(ctx(t), record.Keys(id)[0]).Err())
			check("keys", c.Exists(ctx(t), key).Err())
			check("times to live", c.PTTL(ctx(t), key).Err())
		}
		k := record.Keys(id)
		check("an argument", c.HGet(ctx(t), k[1], "0").Err())
		check("lengths", c.HLen(ctx(t), k[2]).Err())
		check("chunks", c.HKeys(ctx(t), k[1]).Err())
		check("part of them", c.HScan(ctx(t), k[1], 0, "", 10).Err())
		check("the order", c.LRange(ctx(t), k[3], 0, -1).Err())
		check("its length", c.LLen(ctx(t), k[3]).Err())
		check("the jobs", c.Scan(ctx(t), 0, "distpool:{*}", 100).Err())
		_, err = record.Workers(ctx(t), c)
		check("workers", err)
		_, err = record.LiveWorkers(ctx(t), c, time.Minute)
		check("how they are doing", err)
		_, _, err = record.NewLister(c, record.Position{}).Next(ctx(t))
		check("the recent jobs", err)
		_, err = record.CountList(ctx(t), c)
		check("their number", err)
		check("information", c.Info(ctx(t)).Err())
		sub := c.PSubscribe(ctx(t), "distpool:reply:*")
		_, err = sub.Receive(ctx(t))
		check("notices", err)
		t.Cleanup(func() { _ = sub.Close() }) // it is to be seen in the list of clients

		g.flush(t)
		in := asynq.NewInspectorFromRedisClient(c)
		queues, err := in.Queues()
		check("queues", err)
		if !slices.Contains(queues, g.queue) {
			t.Errorf("%s sees the queues %v", role, queues)
		}
		_, err = in.GetQueueInfo(g.queue)
		check("a queue", err)
		_, err = in.History(g.queue, 7)
		check("its history", err)
		for what, list := range map[string]func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
			"pending": in.ListPendingTasks, "active": in.ListActiveTasks, "scheduled": in.ListScheduledTasks,
			"retry": in.ListRetryTasks, "archived": in.ListArchivedTasks, "completed": in.ListCompletedTasks,
		} {
			_, err := list(g.queue)
			check(what, err)
		}
		_, err = in.GetTaskInfo(g.queue, id+":0:1")
		check("a task", err)
		_, err = in.Servers()
		check("servers", err)
		_, err = in.SchedulerEntries()
		check("entries", err)
		_, err = in.Groups(g.queue)
		check("groups", err)
	}
}

func TestNoRoleMayDoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	p := g.pool(t)
	r, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ID("VICTIM"))
	if err != nil {
		t.Fatal(err)
	}
	job := record.Keys(r.ID())[0]
	everybody := [][]any{
		{"FLUSHALL"}, {"KEYS", "*"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"MONITOR"}, {"CLIENT", "LIST"}, {"SHUTDOWN", "NOSAVE"},
		{"SCRIPT", "FLUSH"}, {"GET", "app:session"}, {"SET", "app:session", "x"}, {"RESTORE", job, "0", "x"},
		{"EVAL", "return redis.call('SET', 'app:session', 'x')", "0"}, {"DUMP", job}, {"SUBSCRIBE", "app:events"}, {"PSUBSCRIBE", "*"},
	}
	mayNot := map[string][][]any{
		roleProducer: {
			{"SET", "distpool:{workers}:x", "{}"}, {"ZADD", "distpool:{workers}", "1", "x"}, {"DEL", "distpool:{workers}:leader"},
			{"EVAL", "return redis.call('ZADD', KEYS[1], 1, 'x')", "1", "distpool:{workers}"},
			{"LRANGE", "asynq:{other}:pending", "0", "-1"}, {"LPUSH", "asynq:{other}:pending", "x"}, {"RPUSH", "distpool:{bell}:q:other", "1"},
			{"SMEMBERS", "asynq:queues"}, {"ZADD", "asynq:servers", "1", "x"}, {"PUBLISH", "asynq:cancel", "x"}, {"SUBSCRIBE", "asynq:cancel"},
			{"HGET", "distpool:{someone-elses}", "args"}, {"SCAN", "0"}, {"BLPOP", "asynq:{" + g.queue + "}:pending", "1"},
		},
		roleWorker: {{"SCAN", "0"}, {"ZADD", "asynq:schedulers", "1", "x"}, {"HGETALL", job}, {"SET", "distpool", "x"}},
		roleMonitor: {
			{"HSET", job, "state", "done"}, {"DEL", job}, {"PEXPIRE", job, "1"}, {"PUBLISH", "distpool:control", "x"},
			{"LPUSH", "asynq:{" + g.queue + "}:pending", "x"}, {"SADD", "asynq:queues", "x"}, {"DEL", "asynq:{" + g.queue + "}:pending"},
			{"EVAL", "return redis.call('DEL', KEYS[1])", "1", job},
			{"EVAL", "return redis.call('DEL', KEYS[1])", "1", "asynq:{" + g.queue + "}:pending"},
			{"EVAL", "return redis.call('HSET', KEYS[1], 'state', 'done')", "1", job},
		},
		roleCanceler: {
			{"LPUSH", "asynq:{" + g.queue + "}:pending", "x"}, {"DEL", "asynq:{" + g.queue + "}:pending"}, {"SADD", "asynq:queues", "x"},
			{"EVAL", "return redis.call('DEL', KEYS[1])", "1", "asynq:{" + g.queue + "}:pending"}, {"PUBLISH", "asynq:cancel", "x"},
		},
	}
	for _, role := range roles {
		for _, args := range append(everybody, mayNot[role]...) {
			err := g.as(t, role).Do(ctx(t), args...).Err()
			// Commands of scripts are refused in other words.
			if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "The user executing the script can't") {
				t.Errorf("%s %v: %v, want it refused", role, args, err)
			}
		}
	}
	if _, err := record.Cancel(ctx(t), g.as(t, roleMonitor), r.ID(), "x"); err == nil {
		t.Error("a monitor that may only read canceled a job")
	}
	_, err = producer.ApplyAsync(ctx(t), p, square, 3, producer.Queue("other"))
	mentions(t, err, "NOPERM")
	_, err = producer.ApplyAsync(ctx(t), p, square, 3, producer.ID("someone-elses"))
	mentions(t, err, "NOPERM")
}

func TestTLSWantsTheAuthorityAndTheClientsCertificate(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	other := redistest.Start(t, redistest.TLS())
	change := func(f func(q url.Values)) string {
		u, err := url.Parse(g.env.url)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		f(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	cert, key := other.ClientCert()
	for what, url := range map[string]string{
		"no certificate":               change(func(q url.Values) { q.Del("cert_file"); q.Del("key_file") }),
		"another authority's":          change(func(q url.Values) { q.Set("cert_file", cert); q.Set("key_file", key) }),
		"another authority is trusted": change(func(q url.Values) { q.Set("ca_file", other.CAFile()) }),
		"the system's authorities":     change(func(q url.Values) { q.Del("ca_file") }),
		"no TLS":                       "redis://" + g.srv.Addr(),
		"another password":             g.url(t, roleProducer, "guessed"),
	} {
		p, err := producer.Open(ctx(t), producer.Config{Redis: url})
		if err == nil {
			p.Release()
			t.Errorf("%s: the pool opened", what)
		} else if strings.Contains(err.Error(), "guessed") || strings.Contains(err.Error(), rolePassword) {
			t.Errorf("%s: the error shows a password: %v", what, err)
		}
	}
	p := g.pool(t)
	survivors(t, p, g.worker(t))
}
