package monitor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynqmon"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleettest"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// mon is asynqmon's own HTTP API.
type mon struct{ url string }

func startMon(t *testing.T, rdb redis.UniversalClient) mon {
	t.Helper()
	srv := httptest.NewServer(asynqmon.New(asynqmon.Options{RedisConnOpt: connOpt{rdb}})) // its Close would close the client
	t.Cleanup(srv.Close)
	return mon{srv.URL + "/api"}
}

// ask sends a request and decodes the answer.
func (m mon) ask(t *testing.T, method, path string, answer any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, m.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(body, answer)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// listing is a delivery in asynqmon's answers.
type listing struct {
	ID      string `json:"id"`
	TaskID  string `json:"task_id"` // of what a server runs
	Type    string `json:"type"`
	Payload string `json:"payload"`
	Error   string `json:"error_message"`
	Start   string `json:"start_time"`
	Next    string `json:"next_process_at"`
	Failed  string `json:"last_failed_at"`
}

// task is asynq's ID of the first delivery of a job.
func task(id string) string { return names.SplitAddress(id).Name + ":0:1" }

// listed waits until asynqmon lists a delivery of the job in the state.
func (m mon) listed(t *testing.T, state, id, kind string) (d listing) {
	t.Helper()
	eventually(t, id+" is "+state, func() bool {
		var answer struct{ Tasks []listing }
		m.ask(t, http.MethodGet, "/queues/distpool/"+state+"_tasks", &answer)
		for _, one := range answer.Tasks {
			if one.ID == task(id) {
				d = one
				return true
			}
		}
		return false
	})
	if payload := fmt.Sprintf(`{"job":%q,"chunk":0}`, id); d.Type != kind || d.Payload != payload {
		t.Errorf("asynqmon shows %+v as %s, want task %q with %s", d, state, kind, payload)
	}
	return d
}

// do has asynqmon do something with the delivery of a job that is in the state.
func (m mon) do(t *testing.T, state, id, what string) {
	t.Helper()
	method, path := http.MethodPost, "/queues/distpool/"+state+"_tasks/"+task(id)+":"+what
	if what == "delete" {
		method, path = http.MethodDelete, strings.TrimSuffix(path, ":delete")
	}
	m.ask(t, method, path, nil)
}

// queue is what asynqmon tells of the queue.
type queue struct {
	Size, Pending, Active, Scheduled, Retry, Archived, Processed, Failed int
	Paused                                                               bool
}

func (m mon) queue(t *testing.T) queue {
	t.Helper()
	var answer struct{ Current queue }
	m.ask(t, http.MethodGet, "/queues/distpool", &answer)
	return answer.Current
}

// server is a worker in asynqmon's answers.
type server struct {
	Concurrency int
	Queues      map[string]int `json:"queue_priorities"`
	Status      string
	Active      []listing `json:"active_workers"`
}

// near reports whether asynqmon's time is that one, give or take a minute.
func near(text string, want time.Time) bool {
	at, err := time.Parse(time.RFC3339, text)
	return err == nil && at.Sub(want).Abs() < time.Minute
}

// flaky fails until its third attempt.
var flaky = tasks.Define("flaky", func(ctx context.Context, _ int) (int, error) {
	if n := tasks.Info(ctx).Attempt; n < 3 {
		return 0, fmt.Errorf("attempt %d", n)
	}
	return 3, nil
})

// get wants a call to end with the value.
func get(t *testing.T, what string, r *results.AsyncResult[int], want int) {
	t.Helper()
	if n, err := r.GetTimeout(patience); err != nil || n != want {
		t.Errorf("%s: %d, %v, want %d", what, n, err, want)
	}
}

// apply submits one call.
func apply[A, R any](t *testing.T, p *producer.Pool, task *tasks.Task[A, R], arg A, opts ...producer.Option) *results.AsyncResult[R] {
	t.Helper()
	r, err := producer.ApplyAsync(t.Context(), p, task, arg, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAsynqmonShowsAndSteersDeliveries(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	p, m := fleettest.Start(t, rdb, failing, holding, quick, flaky), startMon(t, rdb)
	get(t, "a call", apply(t, p, quick, 1), 1)

	m.ask(t, http.MethodPost, "/queues/distpool:pause", nil)
	waits := apply(t, p, quick, 2)
	m.listed(t, "pending", waits.ID(), "quick")
	if q := m.queue(t); !q.Paused || q.Pending != 1 {
		t.Errorf("the paused queue is %+v", q)
	}
	m.do(t, "pending", waits.ID(), "archive")
	m.listed(t, "archived", waits.ID(), "quick")
	m.do(t, "archived", waits.ID(), "run")
	m.listed(t, "pending", waits.ID(), "quick")
	m.ask(t, http.MethodPost, "/queues/distpool:resume", nil)
	get(t, "a call of a queue that was paused", waits, 2)

	later := apply(t, p, quick, 3, producer.Delay(time.Hour))
	if d := m.listed(t, "scheduled", later.ID(), "quick"); !near(d.Next, time.Now().Add(time.Hour)) {
		t.Errorf("it starts at %s", d.Next)
	}
	m.do(t, "scheduled", later.ID(), "run")
	get(t, "a call that was run before its time", later, 3)

	again := apply(t, p, flaky, 0, producer.Retry(2, tasks.Every(time.Hour)))
	for attempt := 1; attempt <= 2; attempt++ {
		var d listing
		eventually(t, "the next attempt waits", func() bool {
			d = m.listed(t, "retry", again.ID(), "flaky")
			return strings.Contains(d.Error, fmt.Sprint("attempt ", attempt, ": attempt ", attempt))
		})
		if !near(d.Next, time.Now().Add(time.Hour)) {
			t.Errorf("the next attempt is at %s", d.Next)
		}
		m.do(t, "retry", again.ID(), "run")
	}
	get(t, "a call whose attempts were run before their time", again, 3)

	fails := apply(t, p, failing, "milk")
	d := m.listed(t, "archived", fails.ID(), "failing")
	if !strings.Contains(d.Error, "1 of 1 calls failed") || !strings.Contains(d.Error, "no good: milk") || !near(d.Failed, time.Now()) {
		t.Errorf("the archived delivery says %+v", d)
	}
	m.do(t, "archived", fails.ID(), "delete")
	eventually(t, "the counts are right", func() bool { // four with a value, one that failed
		q := m.queue(t)
		return q.Size == 0 && q.Processed == 5 && q.Failed == 1
	})
	m.cancelsWhatRuns(t, p)
}

// cancelsWhatRuns has asynqmon show a call that runs, and the server that runs it, and cancels it.
func (m mon) cancelsWhatRuns(t *testing.T, p *producer.Pool) {
	t.Helper()
	runs := apply(t, p, holding, 0)
	eventually(t, "its start is known", func() bool {
		return near(m.listed(t, "active", runs.ID(), "holding").Start, time.Now())
	})
	var answer struct{ Servers []server }
	m.ask(t, http.MethodGet, "/servers", &answer)
	if len(answer.Servers) != 1 {
		t.Fatalf("asynqmon shows %+v, want one server", answer)
	}
	if s := answer.Servers[0]; s.Concurrency != 2 || s.Queues["distpool"] != 1 || s.Status != "active" || len(s.Active) != 1 || s.Active[0].TaskID != task(runs.ID()) {
		t.Errorf("asynqmon shows the server %+v", s)
	}
	m.do(t, "active", runs.ID(), "cancel")
	if _, err := runs.GetTimeout(patience); !errors.Is(err, results.ErrCanceled) {
		t.Errorf("the call ended with %v, want ErrCanceled", err)
	}
}
