package asynqfmt

import (
	"bytes"
	"context"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// start is an empty Redis with a client and asynq's Inspector.
func start(t *testing.T) (*redis.Client, asynq.RedisClientOpt, *asynq.Inspector) {
	t.Helper()
	addr := miniredis.RunT(t).Addr()
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	opt := asynq.RedisClientOpt{Addr: addr}
	inspector := asynq.NewInspector(opt)
	t.Cleanup(func() {
		_ = inspector.Close()
		_ = rdb.Close()
	})
	return rdb, opt, inspector
}

// run runs a script that consists of the named moves and the given text.
func run(t *testing.T, rdb *redis.Client, text string, args ...any) {
	t.Helper()
	head := Lua("enqueue", "push", "schedule", "pop", "unpop", "retire", "unlease", "return", "archive", "count", "delete")
	err := redis.NewScript(head+"local q = KEYS[1]\n"+text).Run(t.Context(), rdb, []string{Prefix("q")}, args...).Err()
	if err != nil && err != redis.Nil {
		t.Fatal(err)
	}
}

func TestTheVersionOfAsynqIsTheOneThatWasChecked(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "github.com/hibiken/asynq").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != Version {
		t.Fatalf("go.mod requires asynq %s, and this package writes the format of %s: compare asynq's internal/base, internal/rdb and internal/proto between the two, then change Version", got, Version)
	}
}

func TestMessagesAreThoseOfAsynqsClient(t *testing.T) {
	rdb, opt, inspector := start(t)
	client := asynq.NewClient(opt)
	defer client.Close()
	info, err := client.Enqueue(asynq.NewTask("type", []byte("payload")), asynq.Queue("q"), asynq.TaskID("id"), asynq.MaxRetry(7),
		asynq.Timeout(time.Minute), asynq.Retention(time.Hour), asynq.Unique(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	stored := rdb.HGet(t.Context(), TaskKey("q", info.ID), "msg").Val()
	if !IsMessage([]byte(stored)) {
		t.Errorf("asynq's message %q is none", stored)
	}
	rdb.HSet(t.Context(), TaskKey("q", info.ID), "msg", AppendFailure([]byte(stored), "no such \xfffile", time.Now()))
	failed, err := inspector.GetTaskInfo("q", info.ID)
	if err != nil || failed.LastErr != "no such \uFFFDfile" || failed.LastFailedAt.Before(time.Now().Add(-time.Minute)) || failed.MaxRetry != 7 || failed.Retention != time.Hour {
		t.Errorf("with a failure it is %+v, %v", failed, err)
	}
	plain := Message{Type: "type", ID: "plain", Queue: "q", Retry: 25, Timeout: 1800, Payload: []byte("p")}
	if _, err := client.Enqueue(asynq.NewTask("type", []byte("p")), asynq.Queue("q"), asynq.TaskID("plain")); err != nil {
		t.Fatal(err)
	}
	if stored := rdb.HGet(t.Context(), TaskKey("q", "plain"), "msg").Val(); !bytes.Equal(plain.Append(nil), []byte(stored)) {
		t.Errorf("our bytes are %q, asynq's %q", plain.Append(nil), stored)
	}
}

func TestDamagedMessagesAreRefused(t *testing.T) {
	for _, damaged := range []string{"\x0a", "\x0a\x05ab", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x0c"} {
		if IsMessage([]byte(damaged)) {
			t.Errorf("%q is a message", damaged)
		}
	}
}

// TestInspectorFollowsATask moves one task through all lists, and asks asynq's Inspector
// for it in each.
func TestInspectorFollowsATask(t *testing.T) {
	rdb, _, inspector := start(t)
	rdb.SAdd(t.Context(), QueuesKey, "q")
	m := Message{Type: "square", Payload: []byte(`{"job":"j"}`), ID: "id", Queue: "q", Retry: 10}
	expect := func(state asynq.TaskState, errText string) *asynq.TaskInfo {
		t.Helper()
		info, err := inspector.GetTaskInfo("q", "id")
		if err != nil {
			t.Fatal(err)
		}
		if info.State != state || info.Type != "square" || string(info.Payload) != `{"job":"j"}` || info.LastErr != errText {
			t.Fatalf("the Inspector sees %+v, want it %v with error %q", info, state, errText)
		}
		q, err := inspector.GetQueueInfo("q")
		if err != nil || q.Size != 1 {
			t.Fatalf("the queue is %+v, %v", q, err)
		}
		return info
	}
	due := time.Now().Add(time.Hour)
	run(t, rdb, `asynq_enqueue(q, 'id', ARGV[1], ARGV[2]) asynq_push(q, {'id'})`, m.Append(nil), time.Now().UnixNano())
	expect(asynq.TaskStatePending, "")
	pop := `local ids = asynq_pop(q, 5, ARGV[1]) for i = 1, #ids do redis.call('HSET', q .. 't:' .. ids[i], 'state', 'active') end`
	run(t, rdb, pop, time.Now().Add(LeaseDuration).Unix())
	expect(asynq.TaskStateActive, "")
	run(t, rdb, `asynq_unpop(q, {'id'}) redis.call('HSET', q .. 't:id', 'state', 'pending')`)
	expect(asynq.TaskStatePending, "")
	run(t, rdb, pop, time.Now().Add(LeaseDuration).Unix())
	at := time.Now()
	failed := AppendFailure(m.Append(nil), "call 3: no such file", at)
	run(t, rdb, `asynq_retire(q, 'id') asynq_unlease(q, {'id'}) asynq_return(q, 'id', ARGV[1], ARGV[2])`, due.Unix(), failed)
	if info := expect(asynq.TaskStateRetry, "call 3: no such file"); info.NextProcessAt.Unix() != due.Unix() {
		t.Errorf("it is due at %v, want %v", info.NextProcessAt, due)
	}
	if err := inspector.RunTask("q", "id"); err != nil {
		t.Fatal(err)
	}
	run(t, rdb, pop, time.Now().Add(LeaseDuration).Unix())
	run(t, rdb, `asynq_retire(q, 'id') asynq_unlease(q, {'id'}) asynq_archive(q, 'id', ARGV[1], ARGV[2])
		asynq_count(q, 'processed', 1, ARGV[3], ARGV[4]) asynq_count(q, 'failed', 1, ARGV[3], ARGV[4])`,
		failed, time.Now().Unix(), time.Now().UTC().Format(time.DateOnly), time.Now().Add(CountersLast).Unix())
	if info := expect(asynq.TaskStateArchived, "call 3: no such file"); info.LastFailedAt.Unix() != at.Unix() {
		t.Errorf("it failed at %v", info.LastFailedAt)
	}
	if q, err := inspector.GetQueueInfo("q"); err != nil || q.Processed != 1 || q.Failed != 1 || q.ProcessedTotal != 1 || q.FailedTotal != 1 {
		t.Errorf("the counters are %+v, %v", q, err)
	}
	if err := inspector.DeleteTask("q", "id"); err != nil {
		t.Fatal(err)
	}
	run(t, rdb, `asynq_schedule(q, 'id', ARGV[1], ARGV[2])`, m.Append(nil), due.Unix())
	if info := expect(asynq.TaskStateScheduled, ""); info.NextProcessAt.Unix() != due.Unix() {
		t.Errorf("it is due at %v, want %v", info.NextProcessAt, due)
	}
}

func TestAnAsynqServerRunsOurTasks(t *testing.T) {
	rdb, opt, inspector := start(t)
	rdb.SAdd(t.Context(), QueuesKey, "q")
	ran := make(chan string, 1)
	server := asynq.NewServer(opt, asynq.Config{Queues: map[string]int{"q": 1}, Concurrency: 1, LogLevel: asynq.FatalLevel, TaskCheckInterval: 10 * time.Millisecond})
	handler := func(_ context.Context, task *asynq.Task) error {
		ran <- task.Type() + " " + string(task.Payload())
		return nil
	}
	if err := server.Start(asynq.HandlerFunc(handler)); err != nil {
		t.Fatal(err)
	}
	defer server.Shutdown()
	m := Message{Type: "square", Payload: []byte("payload"), ID: "id", Queue: "q", Retry: 10, Timeout: 60}
	run(t, rdb, `asynq_enqueue(q, 'id', ARGV[1], ARGV[2]) asynq_push(q, {'id'})`, m.Append(nil), time.Now().UnixNano())
	select {
	case got := <-ran:
		if got != "square payload" {
			t.Errorf("it ran %q", got)
		}
	case <-time.After(10 * time.Second):
		info, err := inspector.GetTaskInfo("q", "id")
		t.Fatalf("the server did not run it: %+v, %v", info, err)
	}
}

func TestInspectorListsOurServers(t *testing.T) {
	rdb, _, inspector := start(t)
	started := time.Now().Add(-time.Hour).Truncate(time.Second)
	s := Server{
		Host: "host", PID: 17, ID: "worker-1", Concurrency: 8, Queues: map[string]int{"q": 3, "other": 1}, Strict: true, Status: "active", Started: started,
		Running: []Running{{TaskID: "j:0:1", Type: "square", Payload: []byte("p"), Queue: "q", Started: started, Deadline: started.AddDate(10, 0, 0)}},
	}
	list := func(f func(p redis.Pipeliner)) []*asynq.ServerInfo {
		t.Helper()
		p := rdb.TxPipeline()
		f(p)
		if _, err := p.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
		servers, err := inspector.Servers()
		if err != nil {
			t.Fatal(err)
		}
		return servers
	}
	servers := list(func(p redis.Pipeliner) { s.Write(t.Context(), p, time.Now(), time.Minute) })
	if len(servers) != 1 {
		t.Fatalf("the Inspector sees %d servers, want 1", len(servers))
	}
	got := servers[0]
	if got.Host != "host" || got.PID != 17 || got.ID != "worker-1" || got.Concurrency != 8 || !reflect.DeepEqual(got.Queues, s.Queues) ||
		!got.StrictPriority || got.Status != "active" || !got.Started.Equal(started) {
		t.Errorf("the Inspector sees %+v", got)
	}
	if len(got.ActiveWorkers) != 1 || got.ActiveWorkers[0].TaskID != "j:0:1" || got.ActiveWorkers[0].TaskType != "square" ||
		!got.ActiveWorkers[0].Started.Equal(started) || got.ActiveWorkers[0].Queue != "q" {
		t.Errorf("it runs %+v", got.ActiveWorkers)
	}
	s.Running = nil
	if servers := list(func(p redis.Pipeliner) { s.Write(t.Context(), p, time.Now(), time.Minute) }); len(servers[0].ActiveWorkers) != 0 {
		t.Errorf("it still runs %+v", servers[0].ActiveWorkers)
	}
	if servers := list(func(p redis.Pipeliner) { s.Clear(t.Context(), p) }); len(servers) != 0 {
		t.Errorf("it is still listed: %+v", servers[0])
	}
}
