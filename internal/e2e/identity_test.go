package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// envSubmitter makes the test binary a producer: its value is a submission in JSON.
const envSubmitter = "DISTPOOL_E2E_SUBMITTER"

// submission is a map of count under an ID. The submitter says that it is ready
// with :ready, and submits when the key :open exists.
type submission struct {
	Queue string
	ID    string
	Probe probe
	Calls int
}

func (s submission) run(ctx context.Context) ([]int64, error) {
	p, err := producer.Open(ctx, producer.Config{Keyring: suiteKeyring, Redis: s.Probe.URL, Queue: s.Queue})
	if err != nil {
		return nil, err
	}
	defer func() { _ = p.Terminate(ctx) }()
	rdb := client(s.Probe.URL)
	if err := rdb.Incr(ctx, s.Probe.Key+":ready").Err(); err != nil {
		return nil, err
	}
	for rdb.Exists(ctx, s.Probe.Key+":open").Val() == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return producer.Map(ctx, p, count, slices.Repeat([]probe{s.Probe}, s.Calls), producer.ID(s.ID), producer.ChunkSize(1))
}

// submitterMain is the producer process. It prints the values.
func submitterMain(encoded string) int {
	var s submission
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := json.Unmarshal([]byte(encoded), &s)
	if err == nil {
		var values []int64
		if values, err = s.run(ctx); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(values)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// submit runs the submission: in a process of its own where workers have one.
func (e *env) submit(ctx context.Context, s submission) ([]int64, error) {
	if !e.real {
		return s.run(ctx)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), envSubmitter+"="+string(encoded))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	var values []int64
	return values, json.Unmarshal(out.Bytes(), &values)
}

func TestTheSameIDFromTwoProcessesAtOnceIsOneJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 4)
		const submitters, calls, rounds = 2, 40, 3
		for round := range rounds {
			s := submission{Queue: e.queue, ID: fmt.Sprintf("%s-%d", e.queue, round), Probe: e.probe(), Calls: calls}
			type answer struct {
				values []int64
				err    error
			}
			answers := make(chan answer, submitters)
			for range submitters {
				go func() {
					v, err := e.submit(ctx(t), s)
					answers <- answer{v, err}
				}()
			}
			eventually(t, "both submitters are ready", func() bool {
				n, _ := e.rdb.Get(ctx(t), s.Probe.Key+":ready").Int()
				return n == submitters
			})
			e.open(t, s.Probe)
			var first []int64
			for range submitters {
				a := receive(t, "a submitter's answer", answers)
				if a.err != nil {
					t.Fatalf("a submitter: %v", a.err)
				}
				if first == nil {
					first = a.values
				} else if !slices.Equal(first, a.values) {
					t.Errorf("the submitters got %v and %v", first, a.values)
				}
			}
			if n, err := e.rdb.Get(ctx(t), s.Probe.Key).Int(); err != nil || n != calls {
				t.Errorf("%d calls ran (%v), want %d", n, err, calls)
			}
		}
	})
}

func TestTheSameIDAgainIsTheSameJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		first, second, gate := e.pool(t), e.pool(t), e.probe()
		id := producer.ID(e.queue + ".hold_1-a")
		a, err := producer.ApplyAsync(ctx(t), first, hold, gate, id)
		if err != nil {
			t.Fatal(err)
		}
		if a.ID() != e.queue+"/"+e.queue+".hold_1-a" {
			t.Errorf("the job's ID is %q", a.ID())
		}
		b, err := producer.ApplyAsync(ctx(t), second, hold, gate, id)
		if err != nil {
			t.Fatal(err)
		}
		again, err := producer.ApplyAsync(ctx(t), first, hold, gate, id)
		if err != nil {
			t.Fatal(err)
		}
		if n := e.queueInfo(t).Size; n != 1 {
			t.Errorf("the queue has %d deliveries for one call", n)
		}
		e.worker(t, 2)
		e.awaitStarted(t, gate, 1)
		e.open(t, gate)
		want, err := a.Get(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []*results.AsyncResult[string]{b, again} {
			begin := time.Now()
			got, err := r.Get(ctx(t))
			same(t, "another handle", got, err, want)
			if took := time.Since(begin); took > time.Second {
				t.Errorf("another handle heard of the end after %v: it was not told, but polled", took)
			}
		}
		late, err := producer.ApplyAsync(ctx(t), second, hold, gate, id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := late.Get(ctx(t))
		same(t, "a handle on the job that is over", got, err, want)
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("%d calls were started, want 1", n)
		}
		if ttl := e.rdb.PTTL(ctx(t), record.Keys(a.ID())[0]).Val(); ttl < 50*time.Minute {
			t.Errorf("the result lives for %v, want DefaultResultTTL", ttl)
		}
		if err := late.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if v, err := producer.Apply(ctx(t), first, hold, gate, id); err != nil || v == "" {
			t.Errorf("after Forget: %q, %v", v, err)
		}
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 2 {
			t.Errorf("%d calls were started after Forget, want 2", n)
		}
		if ttl := e.rdb.PTTL(ctx(t), record.Keys(a.ID())[0]).Val(); ttl < 50*time.Minute {
			t.Errorf("the result of Apply lives for %v, want DefaultResultTTL", ttl)
		}
	})
}

func TestAnIDThatIsTakenSaysWhatDiffers(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		id := producer.ID(e.queue)
		m, err := producer.MapAsync(ctx(t), p, square, numbers(10), id, producer.ChunkSize(3))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := producer.MapAsync(ctx(t), p, square, numbers(10), id, producer.ChunkSize(5)); err != nil {
			t.Errorf("another chunk size makes it another job: %v", err)
		}
		other := append(numbers(9), 10)
		for name, submit := range map[string]func() error{
			`task "square", not "echo.int64"`: func() error {
				_, err := producer.ApplyAsync(ctx(t), p, echoInt64, 1, id)
				return err
			},
			"10 calls, not 9": func() error {
				_, err := producer.MapAsync(ctx(t), p, square, numbers(9), id)
				return err
			},
			"its arguments": func() error {
				_, err := producer.MapAsync(ctx(t), p, square, other, id)
				return err
			},
		} {
			err := submit()
			if !errors.Is(err, producer.ErrIDTaken) {
				t.Errorf("%s: the error is %v", name, err)
			}
			mentions(t, err, e.queue, name, "another ID")
		}
		drawn, err := producer.ApplyAsync(ctx(t), p, square, 1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := producer.ApplyAsync(ctx(t), p, square, 1, producer.ID(path.Base(drawn.ID()))); !errors.Is(err, results.ErrIDTaken) {
			t.Errorf("the ID of a job that was submitted without: %v", err)
		}
		e.worker(t, 2)
		v, err := m.Get(ctx(t))
		same(t, "the job that has the ID", fmt.Sprint(v), err, "[0 1 4 9 16 25 36 49 64 81]")
	})
}

func TestASubmissionThatDiedHalfWayIsCompleted(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		// What a producer leaves that dies after its first round trip, with some of
		// its deliveries enqueued, and another that dies before any.
		whole := e.pool(t)
		id := e.queue
		m, err := producer.MapAsync(ctx(t), whole, size, severalTrips(), producer.ID(id), producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		keys := record.Keys(m.ID())
		e.rdb.HSet(ctx(t), keys[0], "state", "open", "chunks", 2)
		e.rdb.HDel(ctx(t), keys[1], "2", "3", "4")
		gen := record.ParseRef(e.rdb.HGet(ctx(t), keys[0], "id").Val()).Gen
		for k := 1; k < 5; k++ {
			if err := e.inspector().DeleteTask(e.queue, (wire.Delivery{Job: m.ID(), Gen: gen, Chunk: k, Number: 1}).TaskID()); err != nil {
				t.Fatal(err)
			}
		}
		e.worker(t, 2)
		p := e.pool(t)
		// Its own chunk size would cut the job otherwise.
		v, err := producer.Map(ctx(t), p, size, severalTrips(), producer.ID(id), producer.ChunkSize(2))
		want := fmt.Sprint(slices.Repeat([]int{1 << 20}, 5))
		same(t, "the second submitter", fmt.Sprint(v), err, want)
		v, err = m.Get(ctx(t))
		same(t, "the first submitter", fmt.Sprint(v), err, want)
	})
}

func TestABlockingCallWithAnIDIsNotCanceledByItsContext(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p, gate := e.pool(t), e.probe()
		leaving, leave := context.WithCancel(ctx(t))
		got := make(chan error, 1)
		go func() {
			_, err := producer.Apply(leaving, p, hold, gate, producer.ID(e.queue))
			got <- err
		}()
		e.awaitStarted(t, gate, 1)
		leave()
		if err := receive(t, "Apply", got); !errors.Is(err, context.Canceled) {
			t.Errorf("Apply: %v", err)
		}
		e.open(t, gate)
		if _, err := producer.Apply(ctx(t), p, hold, gate, producer.ID(e.queue)); err != nil {
			t.Errorf("Apply again: %v", err)
		}
		if n := e.rdb.LLen(ctx(t), gate.Key+":started").Val(); n != 1 {
			t.Errorf("the call ran %d times", n)
		}
	})
}

func TestACanceledJobKeepsItsID(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		a, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ID(e.queue))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.Apply(ctx(t), p, square, 3, producer.ID(e.queue)); !errors.Is(err, results.ErrCanceled) {
			t.Errorf("Apply under the ID of a canceled job: %v", err)
		}
		empty, err := producer.Map(ctx(t), p, square, nil, producer.ID(e.queue+"-empty"))
		same(t, "a map of nothing", len(empty), err, 0)
	})
}

func TestIDsThatCannotBeAreRefused(t *testing.T) {
	usual(t)
	e := newEnv(t, "redis://"+miniredis.RunT(t).Addr(), false)
	p := e.pool(t)
	for _, id := range []string{"", "a:b", "{a}", "a b", "é", string(make([]byte, 101))} {
		if _, err := producer.ApplyAsync(ctx(t), p, square, 1, producer.ID(id)); err == nil {
			t.Errorf("ID %q is accepted", id)
		} else {
			mentions(t, err, "producer.ID", "1 to 100")
		}
	}
}
