package await

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/wire"
)

// soon is how long a test waits for what must happen; it is far more than it takes.
const soon = 20 * time.Second

var errStopped = errors.New("stopped")

// startHub starts a hub on a Redis of its own. When the test ends, it stops, and
// no goroutine may be left.
func startHub(t *testing.T) (*Hub, *redis.Client) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
	server := miniredis.NewMiniRedis()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { rdb.Close() })
	h, err := Start(t.Context(), config(rdb, "me"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Stop(errStopped) })
	return h, rdb
}

// config is that of a hub without a pool.
func config(rdb redis.UniversalClient, pool string) Config {
	return Config{
		Redis: rdb, Router: lanes.NewRouter(rdb), Log: slog.New(slog.DiscardHandler), Pool: pool, Lanes: []string{"q"},
		Sweep: func(*Job, bool) {}, Swept: func(context.Context) error { return nil },
		Revive: func(context.Context, *Job) {}, Unserved: func(string) bool { return false },
	}
}

// submitJob makes a sealed job of single calls, and tracks it.
func submitJob(t *testing.T, h *Hub, name, pool string, chunks int) *Job {
	t.Helper()
	j, err := h.Track(newJob(name, chunks))
	if err != nil {
		t.Fatal(err)
	}
	create(t, h, name, pool, chunks, false)
	j.Submitted(chunks, chunks, true)
	return j
}

func newJob(name string, chunks int) *Job {
	return NewJob("q", job.Ref{Name: name}, "task", chunks, chunks, true)
}

// create makes the record of a job of single calls.
func create(t *testing.T, h *Hub, name, pool string, chunks int, open bool) {
	t.Helper()
	var cs []job.Chunk
	for i := range chunks {
		cs = append(cs, job.Chunk{Number: i, Args: wire.EncodeArgs(i, 1, []byte("[0]"))})
	}
	entry := job.New(job.Job{
		Ref: job.Ref{Name: name}, About: "1 task", Pool: pool, Calls: chunks, Chunks: chunks, Open: open, Life: time.Hour, TTL: time.Hour,
	}, cs)
	if states, err := job.Submit(t.Context(), h.Redis, "q", []job.Submission{entry}); err != nil || states[0] == job.Exists {
		t.Fatal(states, err)
	}
}

func recordOut(t *testing.T, h *Hub, name string, chunk int, value string, inline int) {
	t.Helper()
	frame := wire.Outcome{First: chunk, Calls: 1, Values: []byte(value)}.Encode()
	entry := job.Record(job.Delivery{Ref: job.Ref{Name: name}, Chunk: chunk, Number: 1}, job.Outcomes{Frame: frame, Calls: 1})
	f := job.Finishing{Worker: "w", Inline: inline, Now: time.Now()}
	if answers, err := job.Finish(t.Context(), h.Redis, "q", f, []job.Finished{entry}); err != nil || answers[0] != job.OK {
		t.Fatal(answers, err)
	}
}

// hush makes the job look as if nothing was heard of it for long: it is polled
// at the next tick.
func hush(j *Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.heard = time.Time{}
}

func waitDone(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(soon):
		t.Fatalf("waited %v for %s", soon, what)
	}
}

func wantOutcomes(t *testing.T, j *Job, values ...string) {
	t.Helper()
	waitDone(t, j.Done(), "job "+j.ID)
	got := j.Outcomes()
	if j.Err() != nil || len(got) != len(values) {
		t.Fatalf("job %s settled with %d outcomes, %v; want %d", j.ID, len(got), j.Err(), len(values))
	}
	for i, want := range values {
		if string(got[i].Values) != want {
			t.Errorf("chunk %d is %q, want %q", i, got[i].Values, want)
		}
	}
}

func TestANoticeThatOvertakesTheSubmissionsReplyProvesTheJob(t *testing.T) {
	h, _ := startHub(t)
	told := make(chan bool, 1)
	h.Settled = func(j *Job) { told <- j.WasSubmitted() }
	j, err := h.Track(newJob("early", 1))
	if err != nil {
		t.Fatal(err)
	}
	create(t, h, "early", h.Pool, 1, false)
	recordOut(t, h, "early", 0, "[7]", 1000) // and its submitter still waits for the reply
	wantOutcomes(t, j, "[7]")
	if !<-told {
		t.Error("observers were told of a job that was never accepted: they leave it out")
	}
}

func TestARecordThatIsGoneWhileItIsForgottenHereIsNotLost(t *testing.T) {
	h, _ := startHub(t)
	j := submitJob(t, h, "a", h.Pool, 2)
	j.forgets.Add(1)
	h.apply(j, job.Snapshot{Counts: job.Counts{State: job.Gone}}, nil)
	if j.Settled() {
		t.Fatalf("a read that overtook the reply to Forget settled the job with %v", j.Err())
	}
	j.forgets.Add(-1)
	if err := h.Forget(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	waitDone(t, j.Done(), "the forgotten job")
	if !errors.Is(j.Err(), ErrCanceled) || errors.Is(j.Err(), ErrExpired) {
		t.Errorf("the job that was forgotten here ended with %v, want ErrCanceled", j.Err())
	}
}

func TestNoticeSettlesAJobWithoutARead(t *testing.T) {
	h, _ := startHub(t)
	j := submitJob(t, h, "a", h.Pool, 2)
	recordOut(t, h, "a", 1, "[1]", 1000)
	recordOut(t, h, "a", 0, "[0]", 1000)
	wantOutcomes(t, j, "[0]", "[1]")
	news, ended, _ := j.Arrived(0)
	if !ended || len(news) != 2 || news[0].First != 1 {
		t.Errorf("arrived: %+v, ended %t; want both, in the order of their recording", news, ended)
	}
	if c := j.Counts(); c.Done != 2 || c.State != job.Done {
		t.Errorf("counts are %+v", c)
	}
}

func TestNoticeOfALargeOutcomeMakesTheHubReadIt(t *testing.T) {
	for name, n := range map[string]int{"inline": 1, "chunked": 2} {
		t.Run(name, func(t *testing.T) {
			h, _ := startHub(t)
			j := submitJob(t, h, "a", h.Pool, n)
			want := []string{"[0]", "[1]"}[:n]
			for i, v := range want {
				recordOut(t, h, "a", i, v, 0)
			}
			wantOutcomes(t, j, want...)
		})
	}
}

func TestPollingSettlesAJobWhoseNoticesAreLost(t *testing.T) {
	for name, n := range map[string]int{"inline": 1, "chunked": 2} {
		t.Run(name, func(t *testing.T) {
			h, _ := startHub(t)
			j := submitJob(t, h, "a", "", n)
			want := []string{"[0]", "[1]"}[:n]
			for i, v := range want {
				recordOut(t, h, "a", i, v, 1000)
			}
			hush(j)
			wantOutcomes(t, j, want...)
		})
	}
}

func TestJobWhoseRecordIsDeletedExpires(t *testing.T) {
	h, rdb := startHub(t)
	j := submitJob(t, h, "a", "", 2)
	rdb.Del(t.Context(), job.Key("q", "a"))
	hush(j)
	waitDone(t, j.Done(), "the end")
	if !errors.Is(j.Err(), ErrExpired) {
		t.Errorf("error is %v, want ErrExpired", j.Err())
	}
}

func TestJobWhoseOutcomesAreDeletedExpiresInsteadOfSpinning(t *testing.T) {
	h, rdb := startHub(t)
	j := submitJob(t, h, "a", "", 2)
	recordOut(t, h, "a", 0, "[0]", 1000)
	recordOut(t, h, "a", 1, "[1]", 1000)
	rdb.HDel(t.Context(), job.Key("q", "a"), "out:0", "out:1")
	hush(j)
	waitDone(t, j.Done(), "the end")
	if !errors.Is(j.Err(), ErrExpired) || !strings.Contains(j.Err().Error(), "maxmemory-policy") {
		t.Errorf("error is %v, want ErrExpired and its likely cause", j.Err())
	}
}

func TestCorruptRecordSettlesOnlyItsOwnJob(t *testing.T) {
	h, rdb := startHub(t)
	bad, good := submitJob(t, h, "bad", "", 2), submitJob(t, h, "good", "", 1)
	rdb.HSet(t.Context(), job.Key("q", "bad"), "recorded", "x")
	recordOut(t, h, "good", 0, "[0]", 0)
	hush(bad)
	hush(good)
	waitDone(t, bad.Done(), "the corrupt job")
	if !errors.Is(bad.Err(), ErrCorrupt) {
		t.Errorf("error is %v, want ErrCorrupt", bad.Err())
	}
	wantOutcomes(t, good, "[0]")
}

func TestCancelAndForgetByOthersSettleTheJob(t *testing.T) {
	h, rdb := startHub(t)
	a, b := submitJob(t, h, "a", h.Pool, 1), submitJob(t, h, "b", h.Pool, 1)
	if _, err := job.Cancel(t.Context(), rdb, "q", "x", job.Ref{Name: "a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := job.Forget(t.Context(), rdb, "q", job.Ref{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*Job{a, b} {
		waitDone(t, j.Done(), "the end")
		if !errors.Is(j.Err(), ErrCanceled) {
			t.Errorf("job %s: %v, want ErrCanceled", j.ID, j.Err())
		}
	}
}

func TestForgettingAJobThatIsOverBeforeItsOutcomesHaveComeCancelsTheHandle(t *testing.T) {
	h, rdb := startHub(t)
	done, ended := submitJob(t, h, "a", "", 1), submitJob(t, h, "b", "", 1) // no notices
	recordOut(t, h, "a", 0, "[0]", 1000)
	if _, err := job.Cancel(t.Context(), rdb, "q", "x", job.Ref{Name: "b"}); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*Job{done, ended} {
		if err := h.Forget(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		waitDone(t, j.Done(), "the end")
		if err := j.Err(); err != nil && !errors.Is(err, ErrCanceled) {
			t.Errorf("job %s: %v, want its outcomes or ErrCanceled", j.ID, err)
		}
	}
}

func TestAttachFindsAJobOrSaysThatThereIsNone(t *testing.T) {
	h, rdb := startHub(t)
	ok := func(job.Snapshot, *Job) error { return nil }
	if _, err := h.Attach(t.Context(), "none", ok); !errors.Is(err, ErrUnknownJob) {
		t.Errorf("no such job: %v, want ErrUnknownJob", err)
	}
	other, err := Start(t.Context(), config(rdb, "other"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Stop(errStopped)
	mine := submitJob(t, h, "a", h.Pool, 2)
	recordOut(t, h, "a", 0, "[0]", 1000)
	no := errors.New("no")
	if _, err := other.Attach(t.Context(), "q/a", func(job.Snapshot, *Job) error { return no }); !errors.Is(err, no) {
		t.Errorf("a check that refuses: %v", err)
	}
	theirs, err := other.Attach(t.Context(), "q/a", ok)
	if err != nil {
		t.Fatal(err)
	}
	recordOut(t, h, "a", 1, "[1]", 1000)
	wantOutcomes(t, mine, "[0]", "[1]")
	wantOutcomes(t, theirs, "[0]", "[1]")
}

func TestTrackAfterRefuseIsErrClosed(t *testing.T) {
	h, _ := startHub(t)
	j := newJob("a", 1)
	if got, err := h.Track(j); err != nil || got != j {
		t.Fatal(got, err)
	}
	if got, err := h.Track(newJob("a", 1)); err != nil || got != j {
		t.Errorf("tracking an ID twice gives %p, %v; want the first job %p", got, err, j)
	}
	h.Refuse()
	if _, err := h.Track(newJob("b", 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("error is %v, want ErrClosed", err)
	}
}

func TestStopSettlesWhatIsOutstanding(t *testing.T) {
	h, _ := startHub(t)
	j := submitJob(t, h, "a", h.Pool, 1)
	h.Stop(errStopped)
	waitDone(t, j.Done(), "the end")
	if !errors.Is(j.Err(), errStopped) {
		t.Errorf("error is %v", j.Err())
	}
	if n := len(h.outstanding()); n != 0 {
		t.Errorf("%d jobs are outstanding", n)
	}
}

func TestDrainWaitsForJobsAndCallbacks(t *testing.T) {
	h, _ := startHub(t)
	if err := h.Drain(t.Context()); err != nil {
		t.Fatalf("with nothing to wait for: %v", err)
	}
	j := submitJob(t, h, "a", h.Pool, 1)
	inCallback, leave := make(chan struct{}), make(chan struct{})
	j.OnSettle(func() { close(inCallback); <-leave })
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := h.Drain(ctx); !errors.Is(err, why) {
		t.Errorf("while a job is outstanding: %v, want the context's cause", err)
	}
	recordOut(t, h, "a", 0, "[0]", 1000)
	waitDone(t, inCallback, "the callback")
	if err := h.Drain(ctx); !errors.Is(err, why) {
		t.Errorf("while a callback runs: %v, want the context's cause", err)
	}
	close(leave)
	if err := h.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	waitDone(t, j.Done(), "the end")
}
