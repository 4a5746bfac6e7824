package await

import (
	"errors"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
)

const patience = 20 * time.Second

func start(t *testing.T) (*Hub, *redis.Client) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	t.Cleanup(func() { _ = c.Close() })
	h, err := Start(t.Context(), c, "pool", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Stop(ErrClosed) })
	return h, c
}

// submit makes a job of single-call chunks that announces itself on reply.
func submit(t *testing.T, h *Hub, c *redis.Client, id, reply string, chunks int) *Job {
	t.Helper()
	j, err := h.Track(NewJob(id, "square", "q", chunks, chunks, true))
	if err != nil {
		t.Fatal(err)
	}
	var cs []record.Chunk
	for i := range chunks {
		cs = append(cs, record.Chunk{Number: i, Args: wire.EncodeArgs(i, 1, []byte("[1]"))})
	}
	err = record.Create(record.Job{
		ID: id, Task: "square", Codec: "json", Queue: "q", Reply: reply, Calls: chunks, Chunks: chunks, Sealed: true,
		OpenTTL: time.Hour, ResultTTL: time.Hour,
	}, cs).Run(t.Context(), c).Err()
	if err != nil {
		t.Fatal(err)
	}
	j.MarkSubmitted()
	return j
}

func finish(t *testing.T, c *redis.Client, id string, chunk, inline int) {
	t.Helper()
	out := wire.Outcome{First: chunk, Calls: 1, Values: []byte("[1]")}.Encode()
	if r, err := record.Record(t.Context(), c, id, chunk, out, 1, 0, inline); r != record.OK || err != nil {
		t.Fatalf("recording: %s, %v", r, err)
	}
}

func done(t *testing.T, j *Job) {
	t.Helper()
	select {
	case <-j.Done():
	case <-time.After(patience):
		t.Fatalf("job %s is not done: %+v", j.ID, j.Counts())
	}
}

func TestAJobSettlesHoweverItsOutcomesArrive(t *testing.T) {
	for name, row := range map[string]struct {
		reply  string // "" loses every notice: only polling is left
		inline int    // 0 makes every outcome too large for its notice
	}{
		"inside notices":      {record.ReplyChannel("pool"), 1 << 10},
		"announced by notice": {record.ReplyChannel("pool"), 0},
		"notices lost":        {"", 1 << 10},
	} {
		for _, chunks := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				h, c := start(t)
				j := submit(t, h, c, "j", row.reply, chunks)
				for i := range chunks {
					finish(t, c, "j", i, row.inline)
				}
				done(t, j)
				if err := j.Err(); err != nil || len(j.Outcomes()) != chunks {
					t.Errorf("%d outcomes, error %v", len(j.Outcomes()), err)
				}
				if n := len(h.Outstanding()); n != 0 {
					t.Errorf("%d jobs are outstanding", n)
				}
			})
		}
	}
}

func TestWhatIsGoneIsAnErrorAndNotAWait(t *testing.T) {
	t.Run("the record", func(t *testing.T) {
		h, c := start(t)
		j := submit(t, h, c, "j", "", 1)
		c.FlushAll(t.Context())
		done(t, j)
		if !errors.Is(j.Err(), ErrExpired) {
			t.Errorf("error %v, want ErrExpired", j.Err())
		}
	})
	t.Run("the outcomes", func(t *testing.T) {
		h, c := start(t)
		j := submit(t, h, c, "j", "", 2)
		finish(t, c, "j", 0, 0)
		finish(t, c, "j", 1, 0)
		c.Del(t.Context(), record.Keys("j")[2])
		done(t, j)
		if !errors.Is(j.Err(), ErrExpired) {
			t.Errorf("error %v, want ErrExpired", j.Err())
		}
	})
	t.Run("the sense of it", func(t *testing.T) {
		h, c := start(t)
		j := submit(t, h, c, "j", "", 2)
		c.HSet(t.Context(), record.Keys("j")[0], "done", "x")
		done(t, j)
		if !errors.Is(j.Err(), ErrCorrupt) {
			t.Errorf("error %v, want ErrCorrupt", j.Err())
		}
	})
}

func TestCallbacksRunOnceInOrderAndBeforeDone(t *testing.T) {
	h, c := start(t)
	j := submit(t, h, c, "j", record.ReplyChannel("pool"), 1)
	var ran []int // one goroutine runs all callbacks, and Done orders them before us
	for i := range 5 {
		j.OnSettle(func() {
			ran = append(ran, i)
			switch i {
			case 1:
				panic("a callback's own trouble")
			case 3:
				runtime.Goexit()
			}
		})
	}
	finish(t, c, "j", 0, 1<<10)
	done(t, j)
	if !slices.Equal(ran, []int{0, 1, 2, 3, 4}) {
		t.Errorf("callbacks ran as %v", ran)
	}
	late := make(chan struct{})
	j.OnSettle(func() { close(late) })
	select {
	case <-late:
	case <-time.After(patience):
		t.Error("a callback that came late did not run")
	}
	if err := h.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAStoppedHubSettlesItsJobsAndLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
	mini := goleak.IgnoreCurrent()
	h, err := Start(t.Context(), c, "pool", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	j := submit(t, h, c, "j", "", 1)
	h.Stop(ErrClosed)
	done(t, j)
	if !errors.Is(j.Err(), ErrClosed) {
		t.Errorf("error %v, want ErrClosed", j.Err())
	}
	if _, err := h.Track(NewJob("k", "square", "q", 1, 1, true)); !errors.Is(err, ErrClosed) {
		t.Errorf("tracking after the end: %v", err)
	}
	_ = c.Close()
	goleak.VerifyNone(t, before, mini, goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"),
		goleak.IgnoreAnyFunction("github.com/alicebob/miniredis/v2/server.(*Server).servePeer"))
}
