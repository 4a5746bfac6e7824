package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// noField removes fields of the job's hash.
func noField(names ...string) damage {
	return toKey("without "+strings.Join(names, ", "), func(ctx context.Context, rdb redis.UniversalClient, key string) error {
		return rdb.HDel(ctx, key, names...).Err()
	})
}

// noRecord removes the job's hash, as an eviction does.
func noRecord() damage {
	return toKey("no record", func(ctx context.Context, rdb redis.UniversalClient, key string) error { return rdb.Del(ctx, key).Err() })
}

// noDelivery removes the delivery of a chunk that waits.
func noDelivery(chunk int) damage {
	return damage{fmt.Sprintf("no delivery of chunk %d", chunk), func(ctx context.Context, e *env, id string) error {
		lane, _, err := e.find(ctx, id)
		if err != nil {
			return err
		}
		return e.inspector().DeleteTask(lane, taskID(id, chunk, 1))
	}}
}

// both is one damage after another.
func both(a, b damage) damage {
	return damage{a.name + ", and " + b.name, func(ctx context.Context, e *env, id string) error {
		return errors.Join(a.do(ctx, e, id), b.do(ctx, e, id))
	}}
}

// fatal is damage with which a job of three chunks, none of which has begun, or of one call,
// cannot end; and the error that its handle ends with.
var fatal = []struct {
	damage
	single, lost bool // of one call; ErrExpired, not ErrCorrupt
	harmless     bool // a worker does not need it, and ends the job with its value
}{
	{damage: noRecord(), lost: true},
	{damage: noField("args:0", "args:1", "args:2")},
	{damage: noField("args:0")},
	{damage: noField("args:1")},
	{damage: noField("args:0", "args:2")},
	{damage: wrongType()},
	{damage: field("about", "garbage")},
	{damage: noField("about"), lost: true},
	{damage: field("chunks", "2")},
	{damage: field("chunks", "5")},
	{damage: field("chunks", "0")},
	{damage: field("chunks", "many")},
	{damage: noField("chunks")},
	{damage: field("recorded", "1")},
	{damage: field("recorded", "3")},
	{damage: field("recorded", "-1")},
	{damage: field("done", "few")},
	{damage: field("state", "running")},
	{damage: field("state", "done")},
	{damage: field("gen", "ABCDEFGH"), lost: true},
	// A failover has lost the end of the submission.
	{damage: field("state", "open"), lost: true},
	{damage: both(field("chunks", "2"), both(field("state", "open"), both(noField("args:2"), noDelivery(2)))), lost: true},

	{single: true, damage: noRecord(), lost: true},
	{single: true, damage: noField("args:0")},
	{single: true, damage: wrongType()},
	{single: true, damage: field("chunks", "2")},
	{single: true, damage: field("recorded", "1"), harmless: true},
	{single: true, damage: field("recorded", "5"), harmless: true},
	{single: true, damage: field("state", "open"), harmless: true},
	{single: true, damage: field("state", "x")},
	{single: true, damage: field("expires", "soon")},
}

// A handle ends with an error that says what kind of damage it is, within 30 s, and the log
// names the job: whether the worker meets the damage, or the pool, since none runs.
func TestAJobThatCannotEndEndsWithAnError(t *testing.T) {
	t.Parallel()
	for _, served := range []bool{true, false} {
		t.Run(fmt.Sprintf("served %t", served), func(t *testing.T) {
			each(t, func(t *testing.T, e *env) {
				p := e.pool(t)
				gets := make([]func(time.Duration) error, len(fatal))
				ids := make([]string, len(fatal))
				for i, d := range fatal {
					if d.single {
						r, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ExpiresIn(time.Hour))
						must(t, err)
						ids[i], gets[i] = r.ID(), func(d time.Duration) error {
							v, err := r.GetTimeout(d)
							if err == nil {
								same(t, "the value of a damaged call", v, err, 9)
							}
							return err
						}
					} else {
						m, err := producer.MapAsync(ctx(t), p, square, numbers(3), producer.ChunkSize(1))
						must(t, err)
						ids[i], gets[i] = m.ID(), func(d time.Duration) error { _, err := m.GetTimeout(d); return err }
					}
					must(t, d.do(ctx(t), e, ids[i]))
				}
				var w *testWorker
				if served {
					w = e.worker(t, 4)
				}
				deadline := time.Now().Add(foundWithin)
				for i, d := range fatal {
					err := gets[i](max(time.Until(deadline), 10*time.Millisecond))
					if served && d.harmless && err == nil {
						continue
					}
					want := results.ErrCorrupt
					if d.lost {
						want = results.ErrExpired
					}
					if (strings.Contains(d.name, "field recorded")) && errors.Is(err, results.ErrExpired) {
						want = results.ErrExpired // it may look as if outcomes or arguments were gone
					}
					if !errors.Is(err, want) {
						t.Errorf("single %t, %s: %v; want %v", d.single, d.name, err, want)
						continue
					}
					eventually(t, "the log names the job: "+d.name, func() bool {
						return strings.Contains(e.log.String(), "job="+ids[i])
					})
				}
				if !served {
					w = e.worker(t, 4)
				}
				survivors(t, p, w)
			})
		})
	}
}

// No handle waits for these jobs: the worker that meets a delivery, or the supervision, ends
// them. The log is that of the worker that leads, which must be this test's own.
func TestAJobThatCannotEndIsEndedWithNobodyWaiting(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		ids := map[string]string{} // with what was done to them
		for _, d := range []damage{noField("args:0", "args:1", "args:2"), noField("args:1"), field("chunks", "5"), field("recorded", "2")} {
			m, _ := e.abandoned(t)
			must(t, d.do(ctx(t), e, m))
			ids[m] = d.name
		}
		_, single := e.abandoned(t)
		must(t, noField("args:0").do(ctx(t), e, single))
		// Of this one asynq has nothing that it would bring.
		archived, other := e.abandoned(t)
		e.archive(t, archived, 0, 1, 2)
		e.archive(t, other, 0)
		must(t, noField("args:0", "args:1", "args:2").do(ctx(t), e, archived))
		must(t, noField("args:0").do(ctx(t), e, other))
		began := time.Now()
		e.worker(t, 2)
		ids[single], ids[archived], ids[other] = "no argument", "archived, no arguments", "archived, no argument"
		for id, what := range ids {
			eventually(t, "job "+id+" is canceled: "+what, func() bool {
				return e.field(t, id, "state") == string(job.Canceled)
			})
			eventually(t, "the log names it", func() bool { return strings.Contains(e.log.String(), id) })
		}
		if took := time.Since(began); took > foundWithin {
			t.Errorf("it took %v, want %v at the most", took, foundWithin)
		}
	})
}

func TestAStreamWhoseArgumentsAreLostEnds(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		damages := []damage{noRecord(), noField("args:0"), wrongType(), field("recorded", "x")}
		ends := make([]chan error, len(damages))
		known := map[string]bool{}
		for i, d := range damages {
			next, stop := iter.Pull2(producer.IMap(ctx(t), e.pool(t), square, slices.Values(numbers(4)), producer.ChunkSize(1)))
			defer stop()
			ends[i] = make(chan error, 1)
			go func() {
				v, err, _ := next()
				if err == nil {
					err = fmt.Errorf("a value: %d", v)
				}
				ends[i] <- err
			}()
			id := ""
			eventually(t, "the stream waits", func() bool {
				for _, key := range e.waitingFours(t) {
					if !known[key] {
						id = key
					}
				}
				return id != ""
			})
			known[id] = true
			must(t, d.do(ctx(t), e, id))
		}
		for i, d := range damages {
			err := receive(t, "the end of the stream: "+d.name, ends[i])
			if !errors.Is(err, results.ErrExpired) && !errors.Is(err, results.ErrCorrupt) {
				t.Errorf("%s: %v", d.name, err)
			}
		}
	})
}

// What asynq says of a delivery is believed only if the delivery is there.
func TestDeliveriesWhoseListIsLostAreIssuedAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, numbers(3), producer.ChunkSize(1), producer.ID("m-"+e.queue))
		must(t, err)
		r, err := producer.ApplyAsync(ctx(t), p, square, 4)
		must(t, err)
		delayed, err := producer.ApplyAsync(ctx(t), p, square, 5, producer.Delay(12*time.Second))
		must(t, err)
		for _, lane := range e.lanes(t) {
			must(t, e.rdb.Del(ctx(t), "asynq:{"+lane+"}:pending", "asynq:{"+lane+"}:scheduled").Err())
		}
		lost := time.Now()
		e.worker(t, 2)
		vs, err := m.Get(ctx(t))
		same(t, "the squares", vs, err, []int{0, 1, 4})
		v, err := r.Get(ctx(t))
		same(t, "the square", v, err, 16)
		v, err = delayed.Get(ctx(t))
		same(t, "the delayed square", v, err, 25)
		if took := time.Since(lost); took > foundWithin {
			t.Errorf("it took %v, want %v at the most", took, foundWithin)
		}
	})
}

// The list is there again, with what came later, and its head does not move.
func TestADeliveryThatIsNotInAYoungListIsIssuedAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.oneLane(t) // both jobs are to wait in one list
		p := e.pool(t)
		r, err := producer.ApplyAsync(ctx(t), p, square, 4)
		must(t, err)
		pending := "asynq:{" + e.queue + "}:pending"
		must(t, e.rdb.Del(ctx(t), pending).Err())
		// As if it had come a minute later; asynq has no other clock.
		other, err := producer.ApplyAsync(ctx(t), p, square, 5)
		must(t, err)
		must(t, e.rdb.HSet(ctx(t), "asynq:{"+e.queue+"}:t:"+taskID(other.ID(), 0, 1), "pending_since", time.Now().Add(time.Minute).UnixNano()).Err())
		eventually(t, "the first one is in the list again", func() bool {
			return slices.Contains(e.rdb.LRange(ctx(t), pending, 0, -1).Val(), taskID(r.ID(), 0, 2))
		})
		if n := e.rdb.LLen(ctx(t), pending).Val(); n != 2 {
			t.Errorf("%d deliveries wait, want 2", n)
		}
		e.worker(t, 1)
		v, err := r.Get(ctx(t))
		same(t, "the square", v, err, 16)
		v, err = other.Get(ctx(t))
		same(t, "the other square", v, err, 25)
	})
}

// The rest of a job that lost its hash must not become part of the next job of its ID.
func TestAnIDWhoseRecordWasLostStartsAfresh(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 2)
		p, id := e.pool(t), "again-"+e.queue
		address := e.queue + "/" + id
		vs, err := producer.Map(ctx(t), p, square, numbers(5), producer.ChunkSize(1), producer.ID(id))
		same(t, "the first job", vs, err, squares(5))
		// As if these had been recorded first.
		must(t, e.rdb.HSet(ctx(t), e.key(t, address), "order:0", 4, "order:1", 3).Err())
		must(t, noRecord().do(ctx(t), e, address))
		second, err := producer.StarmapAsync(ctx(t), p, add, tasks.Zip2([]int{1, 3}, []int{2, 4}), producer.ChunkSize(1), producer.ID(id))
		must(t, err)
		vs, err = second.Get(ctx(t))
		same(t, "the second job", vs, err, []int{3, 7})
		attached, err := producer.AttachMap(ctx(t), e.pool(t), add, id)
		must(t, err)
		vs, err = attached.Get(ctx(t))
		same(t, "the second job, attached to", vs, err, []int{3, 7})
		survivors(t, p, w)
	})
}

// A handle does not take another job's outcomes for its own when the ID was used again.
func TestAHandleDoesNotTakeTheNextJobOfItsID(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p, other, id := e.pool(t), e.pool(t), "reused-"+e.queue
		first, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.ID(id))
		must(t, err)
		must(t, noRecord().do(ctx(t), e, first.ID()))
		second, err := producer.ApplyAsync(ctx(t), other, square, 4, producer.ID(id))
		must(t, err)
		e.worker(t, 1)
		v, err := second.Get(ctx(t))
		same(t, "the second job", v, err, 16)
		if v, err := first.Get(ctx(t)); !errors.Is(err, results.ErrExpired) {
			t.Errorf("the handle on the first job: %v, %v; want ErrExpired", v, err)
		}
		third, err := producer.Attach(ctx(t), p, square, id)
		must(t, err)
		v, err = third.Get(ctx(t))
		same(t, "the second job in the first pool", v, err, 16)
	})
}

// Redis has lost the owner of a chunk, and no handle waits for it. The worker goes on after its
// next checkpoint, which says it again.
func TestALostOwnerCostsNothing(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		var ids []string
		for _, args := range [][]int{{1500, 1500, 10}, {1500, 1500, 10, 20}} { // one chunk, and two
			m, err := producer.MapAsync(ctx(t), p, sleep, args, producer.ChunkSize(3))
			must(t, err)
			ids = append(ids, m.ID())
		}
		p.Release()
		e.worker(t, 4)
		for _, id := range ids {
			eventually(t, "the chunk runs", func() bool { return e.field(t, id, "own:0") != "" })
			must(t, noField("own:0").do(ctx(t), e, id))
		}
		e.areDone(t, foundWithin, ids...)
		for _, key := range append(e.jobKeys(t, ids[0]), e.jobKeys(t, ids[1])...) {
			if e.rdb.TTL(ctx(t), key).Val() <= 0 {
				t.Errorf("key %s has no time to live", key)
			}
		}
	})
}

// Redis evicts what it likes: every handle ends, with its values or with an error that
// says that data was lost.
func TestARedisThatEvictsEndsEveryHandle(t *testing.T) {
	usual(t)
	t.Parallel()
	srv := redistest.Start(t, redistest.Config("maxmemory 6mb", "maxmemory-policy allkeys-lru"))
	e := newEnv(t, srv.URL(), true)
	p := e.pool(t)
	type handle struct {
		m *results.MapResult[int]
		n int
	}
	var handles []handle
	for i := range 60 {
		n := 20 + i%7
		args := slices.Repeat([][]byte{[]byte(strings.Repeat("x", 5000))}, n)
		m, err := producer.MapAsync(ctx(t), p, size, args, producer.ChunkSize(1))
		must(t, err)
		handles = append(handles, handle{m, n})
	}
	e.worker(t, 4)
	lost := 0
	for _, h := range handles {
		vs, err := h.m.GetTimeout(patience)
		switch {
		case err == nil:
			same(t, "the sizes", vs, err, slices.Repeat([]int{5000}, h.n))
		case errors.Is(err, results.ErrExpired):
			lost++
		default:
			t.Errorf("a handle ended with %v, want values or ErrExpired", err)
		}
	}
	t.Logf("%d of %d handles said that data was lost", lost, len(handles))
	if lost == 0 {
		t.Error("nothing was evicted: the test shows nothing")
	}
	n, err := producer.Apply(ctx(t), p, square, 7)
	same(t, "a call afterwards", n, err, 49)
}
