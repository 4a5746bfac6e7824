package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/recent"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/supervise"
	"github.com/distpool/distpool/producer"
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
	rules := redistest.Rules(t, securityPage, "QUEUE", queue, "PASSWORD", rolePassword)
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
		redistest.SetUser(t, g.rdb, role, g.rules[role])
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
func monitorCommands(t *testing.T, server string) func() []usedCommand {
	t.Helper()
	one := client(server).(*redis.Client)
	conn, err := one.Options().Dialer(ctx(t), "tcp", one.Options().Addr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "AUTH default %s\r\nMONITOR\r\n", adminPassword); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []usedCommand
	// The last command that is of interest is followed by this one.
	const mark = "everything before this has been seen"
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
			if len(f) > 2 && f[2] == mark {
				return
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
		defer func() { _ = conn.Close() }()
		must(t, one.Echo(ctx(t), mark).Err())
		receive(t, "what MONITOR has to say", ended)
		return seen
	}
}

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
		lane, ref := g.lane(t, id), g.ref(t, id)
		snap, err := job.Read(ctx(t), c, lane, ref.Name)
		check("a job", err)
		if snap.About.Task != hold.Name() {
			t.Errorf("%s reads the job as %+v", role, snap)
		}
		key := job.Key(lane, ref.Name)
		check("a key", c.HGetAll(ctx(t), key).Err())
		check("keys", c.Exists(ctx(t), key).Err())
		check("times to live", c.PTTL(ctx(t), key).Err())
		check("an argument", c.HGet(ctx(t), key, "args:0").Err())
		check("a sign of life", c.Ping(ctx(t)).Err())
		check("the time", c.Time(ctx(t)).Err())
		check("the length of outcomes", c.HStrLen(ctx(t), key, "out:0").Err())
		check("lengths", c.HLen(ctx(t), key).Err())
		check("chunks", c.HKeys(ctx(t), key).Err())
		check("part of them", c.HScan(ctx(t), key, 0, "", 10).Err())
		_, err = job.Stands(ctx(t), c, lane, []job.Delivery{{Ref: ref}})
		check("how a chunk stands", err)
		check("the jobs", c.Scan(ctx(t), 0, "distpool:{*", 100).Err())
		_, err = fleet.Workers(ctx(t), c)
		check("workers", err)
		_, err = fleet.LiveWorkers(ctx(t), c)
		check("how they are doing", err)
		_, _, err = recent.NewLister(c, recent.Position{}).Next(ctx(t))
		check("the recent jobs", err)
		_, err = recent.CountList(ctx(t), c)
		check("their number", err)
		check("information", c.Info(ctx(t)).Err())
		sub := c.PSubscribe(ctx(t), "distpool:{*}:*")
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
		_, err = in.GetTaskInfo(g.queue, taskID(id, 0, 1))
		check("a task", err)
		_, err = in.Servers()
		check("servers", err)
		_, err = in.SchedulerEntries()
		check("entries", err)
		_, err = in.Groups(g.queue)
		check("groups", err)
	}
}

// unmonitored are commands that MONITOR need not show: xdel makes room in a list of
// recent jobs that has tens of thousands, and MONITOR leaves out commands for administrators.
var unmonitored = []string{"xdel", "client|unblock"}

// lookUpOlder has the pool look a delivery up in its list, since its time is before that of
// the head of the list: the clock of its producer is behind. The queue is paused, so that
// the pool sees no progress for 10 s. Then the pool issues a call again whose worker has died and
// whose delivery is lost.
func (g *guarded) lookUpOlder(t *testing.T, p *producer.Pool) {
	t.Helper()
	must(t, g.inspector().PauseQueue(g.queue))
	head, err := producer.ApplyAsync(ctx(t), p, square, 2)
	must(t, err)
	older, err := producer.ApplyAsync(ctx(t), p, square, 3)
	must(t, err)
	must(t, g.rdb.HSet(ctx(t), "asynq:{"+g.queue+"}:t:"+taskID(older.ID(), 0, 1), "pending_since", time.Now().Add(-time.Hour).UnixNano()).Err())
	eventually(t, "the pool looks the delivery up", func() bool {
		return strings.Contains(g.rdb.Info(ctx(t), "commandstats").Val(), "cmdstat_lpos")
	})
	eventually(t, "a pool issues the call of a dead worker again, before a supervisor does", func() bool {
		orphan, err := producer.ApplyAsync(ctx(t), p, square, 4)
		must(t, err)
		lane, ref, id := g.lane(t, orphan.ID()), g.ref(t, orphan.ID()), taskID(orphan.ID(), 0, 1)
		_, err = g.rdb.TxPipelined(ctx(t), func(tx redis.Pipeliner) error {
			tx.LRem(ctx(t), asynqfmt.PendingKey(lane), 1, id)
			tx.LRem(ctx(t), asynqfmt.ActiveKey(lane), 1, id)
			tx.HSet(ctx(t), asynqfmt.TaskKey(lane, id), "state", "active")
			tx.HSet(ctx(t), job.Key(lane, ref.Name), "own:0", "dead:1:aaaaaaaa "+strconv.FormatInt(time.Now().UnixMilli(), 10)+" 1")
			return nil
		})
		must(t, err)
		n, err := supervise.Revive(ctx(t), g.as(t, roleProducer), fleet.Owners{Redis: g.as(t, roleProducer)}, lane, ref, 1)
		must(t, err)
		return n == 1
	})
	must(t, g.inspector().UnpauseQueue(g.queue))
	n, err := head.Get(ctx(t))
	same(t, "the head of a paused queue", n, err, 4)
	n, err = older.Get(ctx(t))
	same(t, "a delivery that seems older", n, err, 9)
}
