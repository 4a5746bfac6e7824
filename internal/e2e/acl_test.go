package e2e_test

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/internal/supervise"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

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
	failing, err := producer.MapAsync(ctx(t), p, divide, []float64{0, 1, 0}, producer.ChunkSize(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := failing.Get(ctx(t)); err == nil {
		t.Error("no call failed")
	}
	if r, err := producer.RetryFailed(ctx(t), p, divide, failing.ID()); err != nil || !slices.Equal(r.Calls, []int{0, 2}) {
		t.Errorf("failed calls again: %v", err)
	}
	for v, err := range producer.IMap(ctx(t), p, divide, slices.Values([]float64{0, 1, 2, 3, 4, 5}), producer.ChunkSize(1), producer.Window(2)) {
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
	// It is looked for, by a pool that waits for it, and by a worker.
	lane, ref := g.lane(t, never.ID()), g.ref(t, never.ID())
	n, err = supervise.Revive(ctx(t), g.as(t, roleProducer), fleet.Owners{Redis: g.as(t, roleProducer)}, lane, ref, 1)
	same(t, "deliveries of a job that waits that were issued again", n, err, 0)
	w := g.as(t, roleWorker)
	issued := job.Reissue{Delivery: job.Delivery{Ref: ref, Number: 1}, Task: square.Name()}
	states, err := job.ReissueAll(ctx(t), w, lane, issued)
	same(t, "the same by a worker", fmt.Sprint(states), err, fmt.Sprint([]job.State{job.Delivered}))
	must(t, job.Discard(ctx(t), w, lane, ref.Name, []byte("@ ABC 70000"))) // of outcomes that are not wanted
	_, err = asynq.NewInspectorFromRedisClient(w).GetQueueInfo(g.queue)    // for metrics
	must(t, err)
	must(t, (fleet.Owners{Redis: w}).Ask(ctx(t), "nobody", lane, []job.Delivery{issued.Delivery}))
	state, err := job.Check(ctx(t), g.as(t, roleProducer), lane, ref, 1, true)
	same(t, "its state", state, err, job.Sealed)
	if err := never.Cancel(ctx(t)); err != nil {
		t.Errorf("canceling a job that waits: %v", err)
	}
	must(t, g.inspector().PauseQueue(g.queue))
	decoy, err := producer.ApplyAsync(ctx(t), p, square, 6)
	must(t, err)
	eventually(t, "the workers have met the pause", func() bool {
		return g.rdb.LLen(ctx(t), asynqfmt.PendingKey(g.queue)).Val() == 1 && g.rdb.LLen(ctx(t), asynqfmt.ActiveKey(g.queue)).Val() == 0
	})
	pending, err := producer.ApplyAsync(ctx(t), p, square, 6)
	must(t, err)
	newer, err := producer.ApplyAsync(ctx(t), p, square, 7)
	must(t, err)
	must(t, pending.Cancel(ctx(t)))
	eventually(t, "its delivery is gone", func() bool { return g.rdb.LLen(ctx(t), asynqfmt.PendingKey(g.queue)).Val() == 2 })
	must(t, g.inspector().UnpauseQueue(g.queue))
	n, err = newer.Get(ctx(t))
	same(t, "the call that took its place", n, err, 49)
	n, err = decoy.Get(ctx(t))
	same(t, "a call of a queue that was paused", n, err, 36)
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
	// Values that travel beside the scripts; of which one fails, one is canceled by an
	// operator, and some are a stream's.
	heavy := [][]byte{random(1<<17, 1), random(1<<17, 2), random(1<<17, 3)}
	heavy[0][0], heavy[1][0], heavy[2][0] = 1, 0, 1
	m, err := producer.MapAsync(ctx(t), p, spoil, heavy, producer.ChunkSize(1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Get(ctx(t)); !errors.Is(err, errStock) {
		t.Errorf("large values, of which one fails: %v", err)
	}
	if r, err := producer.RetryFailed(ctx(t), p, spoil, m.ID()); err != nil || len(r.Calls) != 1 {
		t.Errorf("the large call that failed again: %v", err)
	}
	if data, err := producer.Apply(ctx(t), p, spoil, heavy[0]); err != nil || len(data) != 1<<17 {
		t.Errorf("a large call: %v", err)
	}
	for v, err := range producer.IMap(ctx(t), p, spoil, slices.Values(heavy), producer.ChunkSize(1), producer.Window(2)) {
		if err != nil && !errors.Is(err, errStock) {
			t.Errorf("a stream of large calls: %d bytes, %v", len(v), err)
		}
	}
	trimmed, err := job.TrimArchive(ctx(t), w, lane, 0, time.Hour, time.Now())
	if err != nil || trimmed == 0 {
		t.Errorf("a worker removed %d archived deliveries, %v", trimmed, err)
	}
	if err := m.Forget(ctx(t)); err != nil {
		t.Errorf("forgetting large values: %v", err)
	}
	// Two submit the same large call.
	for range 2 {
		if _, err := producer.ApplyAsync(ctx(t), p, spoil, heavy[0], producer.ID("C-"+g.queue)); err != nil {
			t.Errorf("a large call with an ID: %v", err)
		}
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
	owner := g.field(t, held.ID(), "own:0")
	eventually(t, "asynq lists the call that runs", func() bool {
		servers, err := g.inspector().Servers()
		must(t, err)
		return slices.ContainsFunc(servers, func(s *asynq.ServerInfo) bool { return len(s.ActiveWorkers) > 0 })
	})
	dying, other := first, second
	if strings.HasPrefix(owner, second.name+":") {
		dying, other = second, first
	}
	g.look(t, held.ID())
	// A pool that misses the outcome asks the worker that holds the chunk.
	n, err = supervise.Revive(ctx(t), g.as(t, roleProducer), fleet.Owners{Redis: g.as(t, roleProducer)}, g.lane(t, held.ID()), g.ref(t, held.ID()), 1)
	same(t, "deliveries that were issued again although the call runs", n, err, 0)
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
	if err := g.inspector().DeleteTask(g.queue, taskID(victim.ID(), 0, 1)); err != nil {
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
	g.lookUpOlder(t, p)

	// The monitor that may cancel.
	c := g.as(t, roleCanceler)
	doomed, err := producer.ApplyAsync(ctx(t), p, square, 8, producer.Delay(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	g.flush(t)
	if state, err := inspect.New(c).Cancel(ctx(t), doomed.ID()); err != nil || state != job.Canceled {
		t.Errorf("canceling as an operator: %v, %v", state, err)
	}
	if _, err := doomed.Get(ctx(t)); !errors.Is(err, results.ErrCanceled) {
		t.Errorf("a job that an operator canceled: %v", err)
	}
	spoiled, err := producer.ApplyAsync(ctx(t), p, square, 2, producer.Delay(2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	g.setField(t, spoiled.ID(), "args:0", "no frame")
	if _, err := spoiled.Get(ctx(t)); !errors.Is(err, results.ErrCorrupt) {
		t.Errorf("a job whose arguments were spoiled: %v", err)
	}
	gone := g.pool(t) // otherwise it may be the pool that removes the arguments
	doomedToo, err := producer.ApplyAsync(ctx(t), gone, spoil, heavy[2], producer.Delay(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	gone.Release()
	if state, err := inspect.New(c).Cancel(ctx(t), doomedToo.ID()); err != nil || state != job.Canceled {
		t.Errorf("canceling a large call as an operator: %v, %v", state, err)
	}
	if keys := g.env.blobsOf(t, doomedToo.ID()); len(keys) != 0 {
		t.Errorf("left of a large call that an operator canceled: %q", keys)
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

func TestNoRoleMayDoMoreThanItNeeds(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	p := g.pool(t)
	r, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ID("VICTIM"))
	if err != nil {
		t.Fatal(err)
	}
	key := g.key(t, r.ID())
	everybody := [][]any{
		{"FLUSHALL"}, {"KEYS", "*"}, {"CONFIG", "GET", "*"}, {"ACL", "LIST"}, {"MONITOR"}, {"CLIENT", "LIST"}, {"SHUTDOWN", "NOSAVE"},
		{"SCRIPT", "FLUSH"}, {"GET", "app:session"}, {"SET", "app:session", "x"}, {"RESTORE", key, "0", "x"},
		{"EVAL", "return redis.call('SET', 'app:session', 'x')", "0"}, {"DUMP", key}, {"SUBSCRIBE", "app:events"}, {"PSUBSCRIBE", "*"},
	}
	mayNot := map[string][][]any{
		roleProducer: {
			{"SET", "distpool:@{workers}:w:x", "{}"}, {"ZADD", "distpool:@{workers}", "1", "x"}, {"DEL", "distpool:@{workers}:leader"},
			{"EVAL", "return redis.call('ZADD', KEYS[1], 1, 'x')", "1", "distpool:@{workers}"},
			{"LRANGE", "asynq:{other}:pending", "0", "-1"}, {"LPUSH", "asynq:{other}:pending", "x"}, {"BLMOVE", "asynq:{other}:pending", "asynq:{other}:active", "RIGHT", "LEFT", "1"},
			{"SMEMBERS", "asynq:queues"}, {"ZADD", "asynq:servers", "1", "x"}, {"PUBLISH", "asynq:cancel", "x"}, {"SUBSCRIBE", "asynq:cancel"},
			{"HGET", "distpool:{other}:job:A", "args:0"}, {"SCAN", "0"}, {"BLMOVE", "asynq:{" + g.queue + "}:pending", "asynq:{" + g.queue + "}:active", "RIGHT", "LEFT", "1"},
		},
		roleWorker: {{"SCAN", "0"}, {"ZADD", "asynq:schedulers", "1", "x"}, {"HGETALL", key}, {"SET", "distpool", "x"}},
		roleMonitor: {
			{"HSET", key, "state", "done"}, {"DEL", key}, {"PEXPIRE", key, "1"}, {"PUBLISH", job.ControlChannel(g.queue), "x"},
			{"LPUSH", "asynq:{" + g.queue + "}:pending", "x"}, {"SADD", "asynq:queues", "x"}, {"DEL", "asynq:{" + g.queue + "}:pending"},
			{"EVAL", "return redis.call('DEL', KEYS[1])", "1", key},
			{"EVAL", "return redis.call('DEL', KEYS[1])", "1", "asynq:{" + g.queue + "}:pending"},
			{"EVAL", "return redis.call('HSET', KEYS[1], 'state', 'done')", "1", key},
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
	if _, err := job.Cancel(ctx(t), g.as(t, roleMonitor), g.lane(t, r.ID()), "x", g.ref(t, r.ID())); err == nil {
		t.Error("a monitor that may only read canceled a job")
	}
	_, err = producer.ApplyAsync(ctx(t), p, square, 3, producer.Queue("other"))
	mentions(t, err, "NOPERM")
	_, err = producer.Attach(ctx(t), p, square, "other/A")
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
	for what, name := range map[string]string{
		"no certificate":               change(func(q url.Values) { q.Del("cert_file"); q.Del("key_file") }),
		"another authority's":          change(func(q url.Values) { q.Set("cert_file", cert); q.Set("key_file", key) }),
		"another authority is trusted": change(func(q url.Values) { q.Set("ca_file", other.CAFile()) }),
		"the system's authorities":     change(func(q url.Values) { q.Del("ca_file") }),
		"no TLS":                       "redis://" + g.srv.Addr(),
		"another password":             g.url(t, roleProducer, "guessed"),
	} {
		p, err := producer.Open(ctx(t), producer.Config{Redis: name})
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
