package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// soon bounds how long a handle on a corrupt record may take to say so: a few
// polls, on a busy machine.
const soon = 15 * time.Second

// damage is something that happened to a job's record.
type damage struct {
	name string
	do   func(ctx context.Context, e *env, id string) error
}

// toKey is damage to the hash of a job.
func toKey(name string, do func(ctx context.Context, rdb redis.UniversalClient, key string) error) damage {
	return damage{name, func(ctx context.Context, e *env, id string) error {
		lane, name, err := e.find(ctx, id)
		if err != nil {
			return err
		}
		return do(ctx, e.rdb, job.Key(lane, name))
	}}
}

// field sets a field of the job's hash.
func field(name, value string) damage {
	return toKey(fmt.Sprintf("field %s is %.40q", name, value), func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.HSet(ctx, key, name, value).Err()
	})
}

// about changes the job's description.
func about(what string, change func(*job.About)) damage {
	return damage{what, func(ctx context.Context, e *env, id string) error { return e.about(ctx, id, change) }}
}

// wrongType makes the job's hash a string.
func wrongType() damage {
	return toKey("the hash is a string", func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.Set(ctx, key, "x", time.Hour).Err()
	})
}

// badArgs are frames of arguments for chunks of one call on an int.
var badArgs = []string{
	"", "garbage", "\x00\xff\n", "0 1\n", "0 0\n[1]", "-1 1\n[1]", "0 1\n[1", "0 1\n{}", "0 1\n[1,2]", "0 1\nnull",
	"0 2\n[1]", "0 1000000\n[1]", "0 1073741824\n[1]", "0 99999999999999999999\n[1]", "1e9 1\n[1]", "0 1\n[1e400]", "0 1\n[\"x\"]",
}

// badOutcomes are frames of outcomes for chunks of one call.
var badOutcomes = []string{
	"", "garbage", "\x00\xff\n", "0 1 0\n", "0 0 0\n[1]", "0 1 0\n[1", "0 1 0\n[1,2]", "0 1 99\n[]", "0 1 2\n[][1", "0 2 0\n[1]",
	"0 1073741824 0\n[1]", "0 99999999999999999999 0\n[1]", "7 1 0\n[1]", "1073741824 1 0\n[1]", "0 1 17\n[{\"i\":9,\"k\":\"e\"}][1]", "0 1 0\n[\"x\"]",
}

// badCounts are what a count must not be.
var badCounts = []string{"", "x", "1.5", "99999999999999999999"}

// survivors checks that worker and pool still do their work.
func survivors(t *testing.T, p *producer.Pool, w *testWorker) {
	t.Helper()
	select {
	case <-w.ended:
		t.Fatalf("the worker ended: %v", w.err)
	default:
	}
	n, err := producer.Apply(ctx(t), p, square, 7)
	same(t, "a call after the damage", n, err, 49)
	ns, err := producer.Map(ctx(t), p, square, numbers(10), producer.ChunkSize(3))
	same(t, "a map after the damage", fmt.Sprint(ns), err, fmt.Sprint(squares(10)))
}

// ended checks that the handle said in time, and for good, what is wrong.
func ended(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: the handle has a value", what)
	case errors.Is(err, results.ErrTimeout):
		t.Errorf("%s: the handle did not end", what)
	}
}

// A record that is damaged before a worker sees it costs its own job: the handle
// ends with an error, and worker and pool go on.
func TestADamagedRecordEndsItsJobAndNothingElse(t *testing.T) {
	var inline, chunked []damage
	for _, frame := range badArgs {
		inline = append(inline, field("args:0", frame))
		chunked = append(chunked, field("args:1", frame))
	}
	for _, n := range badCounts {
		inline = append(inline, field("calls", n))
		chunked = append(chunked, field("calls", n))
	}
	more := []damage{
		wrongType(), field("about", ""), field("about", "1"), field("about", "1 square\nno JSON"),
		about("another codec", func(a *job.About) { a.Codec = "nope" }), about("another task", func(a *job.About) { a.Task = "nope" }),
	}
	inline = append(inline, more...)
	chunked = append(chunked, more...)

	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		type victim struct {
			what string
			id   string
			get  func(time.Duration) error
		}
		var victims []victim
		for _, d := range inline {
			r, err := producer.ApplyAsync(ctx(t), p, square, 3)
			if err != nil {
				t.Fatal(err)
			}
			if err := d.do(ctx(t), e, r.ID()); err != nil {
				t.Fatal(err)
			}
			victims = append(victims, victim{"one call, " + d.name, r.ID(), func(d time.Duration) error {
				_, err := r.GetTimeout(d)
				return err
			}})
		}
		for _, d := range chunked {
			m, err := producer.MapAsync(ctx(t), p, square, numbers(3), producer.ChunkSize(1))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.do(ctx(t), e, m.ID()); err != nil {
				t.Fatal(err)
			}
			victims = append(victims, victim{"three chunks, " + d.name, m.ID(), func(d time.Duration) error {
				_, err := m.GetTimeout(d)
				return err
			}})
		}
		w := e.worker(t, 4)
		deadline := time.Now().Add(soon)
		for _, v := range victims {
			err := v.get(max(time.Until(deadline), 10*time.Millisecond))
			t.Logf("%-70s %v", v.what, err)
			ended(t, v.what, err)
			if err != nil && !isOutcome(err) {
				eventually(t, v.what+" is in the log", func() bool { return strings.Contains(e.log.String(), v.id) })
			}
		}
		survivors(t, p, w)
	})
}

// isOutcome reports whether the error is the recorded outcome of calls, which is
// not a matter for the log.
func isOutcome(err error) bool {
	_, one := errors.AsType[*results.TaskError](err)
	_, many := errors.AsType[*results.MapError](err)
	return one || many
}

// Outcomes that are damaged when a handle reads them are an error of the handle.
func TestDamagedOutcomesAreAnErrorOfTheHandle(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 2)
		p, reader := e.pool(t), e.pool(t)
		for _, frame := range badOutcomes {
			r, err := producer.ApplyAsync(ctx(t), p, square, 3)
			if err != nil {
				t.Fatal(err)
			}
			m, err := producer.MapAsync(ctx(t), p, square, numbers(3), producer.ChunkSize(1))
			if err != nil {
				t.Fatal(err)
			}
			_, rerr := r.Get(ctx(t))
			_, merr := m.Get(ctx(t))
			if err := errors.Join(rerr, merr); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{
				field("out:0", frame).do(ctx(t), e, r.ID()),
				field("out:1", frame).do(ctx(t), e, m.ID()),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if r, err = producer.Attach(ctx(t), reader, square, r.ID()); err != nil {
				t.Fatal(err)
			}
			_, err = r.GetTimeout(soon)
			ended(t, fmt.Sprintf("one call, outcome %.40q", frame), err)
			if m, err = producer.AttachMap(ctx(t), reader, square, m.ID()); err != nil {
				t.Fatal(err)
			}
			_, err = m.GetTimeout(soon)
			ended(t, fmt.Sprintf("three chunks, outcome %.40q", frame), err)
		}
		for _, d := range []damage{wrongType(), field("order:1", "x"), field("order:1", "7"), noField("order:1"), noField("out:1")} {
			m, err := producer.MapAsync(ctx(t), p, square, numbers(3), producer.ChunkSize(1))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Get(ctx(t)); err != nil {
				t.Fatal(err)
			}
			must(t, d.do(ctx(t), e, m.ID()))
			if m, err = producer.AttachMap(ctx(t), reader, square, m.ID()); err == nil {
				_, err = m.GetTimeout(soon)
			}
			ended(t, d.name, err)
			if d.name == wrongType().name {
				mentions(t, err, "WRONGTYPE")
			}
		}
		survivors(t, reader, w)
	})
}
