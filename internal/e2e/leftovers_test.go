package e2e_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

var halve = tasks.Define("leftovers.halve", func(_ context.Context, x float64) (float64, error) { return x / 2, nil })

func init() { allTasks = append(allTasks, halve) }

// leftInAsynq counts what asynq has of the case's queue: task hashes, and entries of its
// lists and sets.
func (e *env) leftInAsynq(t *testing.T) (n int) {
	t.Helper()
	for _, key := range e.keysOfLanes(t, func(lane string) string { return "asynq:{" + lane + "}:" }) {
		switch {
		case strings.Contains(key, "}:t:"):
			n++
		case strings.HasSuffix(key, ":pending") || strings.HasSuffix(key, ":active"):
			n += int(e.rdb.LLen(ctx(t), key).Val())
		case strings.HasSuffix(key, ":scheduled") || strings.HasSuffix(key, ":retry") || strings.HasSuffix(key, ":archived"):
			n += int(e.rdb.ZCard(ctx(t), key).Val())
		}
	}
	return n
}

// Without a worker: only the pool can remove waiting deliveries.
func TestWhatIsOverLeavesNothingWhateverItsSize(t *testing.T) {
	const many = 3000
	half := func(n int, last float64) []float64 {
		args := make([]float64, n)
		args[n-1] = last
		return args
	}
	for name, end := range map[string]func(t *testing.T, e *env, p *producer.Pool){
		"refused": func(t *testing.T, _ *env, p *producer.Pool) {
			_, err := producer.MapAsync(ctx(t), p, halve, half(20_000, math.NaN()), producer.ChunkSize(1))
			mentions(t, err, "NaN")
		},
		"canceled": func(t *testing.T, _ *env, p *producer.Pool) {
			m, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1))
			must(t, err)
			must(t, m.Cancel(ctx(t)))
		},
		"canceled before its start": func(t *testing.T, _ *env, p *producer.Pool) {
			m, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1), producer.Delay(time.Hour))
			must(t, err)
			must(t, m.Cancel(ctx(t)))
		},
		"forgotten": func(t *testing.T, _ *env, p *producer.Pool) {
			m, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1), producer.ID("LEFT"))
			must(t, err)
			must(t, m.Forget(ctx(t)))
		},
		"not started in time": func(t *testing.T, _ *env, p *producer.Pool) {
			m, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1), producer.ExpiresIn(100*time.Millisecond))
			must(t, err)
			_, err = m.Get(ctx(t))
			mentions(t, err, results.ErrNotStarted.Error())
		},
		"lost": func(t *testing.T, e *env, p *producer.Pool) {
			m, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1))
			must(t, err)
			for _, key := range e.jobKeys(t, m.ID()) {
				must(t, e.rdb.Del(ctx(t), key).Err())
			}
			_, err = m.Get(ctx(t))
			mentions(t, err, results.ErrExpired.Error())
		},
		"terminated": func(t *testing.T, _ *env, p *producer.Pool) {
			for range 2 {
				_, err := producer.MapAsync(ctx(t), p, halve, half(many, 1), producer.ChunkSize(1))
				must(t, err)
			}
			must(t, p.Terminate(ctx(t)))
		},
		"a stream that is left": func(t *testing.T, _ *env, p *producer.Pool) {
			c, cancel := context.WithTimeout(ctx(t), 300*time.Millisecond)
			defer cancel()
			for range producer.IMap(c, p, halve, func(yield func(float64) bool) {
				for yield(1) {
				}
			}, producer.Window(2000), producer.ChunkSize(1)) {
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, e *env) {
				p := e.pool(t)
				// Others keep what is theirs.
				other, err := producer.MapAsync(ctx(t), e.pool(t), square, []int{2, 3}, producer.ChunkSize(1))
				must(t, err)
				end(t, e, p)
				eventually(t, "only the deliveries of another job are left", func() bool { return e.leftInAsynq(t) == 4 })
				e.worker(t, 1)
				got, err := other.Get(ctx(t))
				same(t, "the other job", got, err, []int{4, 9})
			})
		})
	}
}

// Removing many deliveries must not hold up all others.
func TestRemovingManyDeliveriesDoesNotBlockRedis(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t)
	e, admin := newEnv(t, s.URL(), true), s.Client(t)
	p := e.pool(t)
	keep, err := producer.MapAsync(ctx(t), p, square, make([]int, 20_000), producer.ChunkSize(1))
	must(t, err)
	m, err := producer.MapAsync(ctx(t), p, square, make([]int, 5000), producer.ChunkSize(1))
	must(t, err)
	more, err := producer.MapAsync(ctx(t), p, square, make([]int, 20_000), producer.ChunkSize(1))
	must(t, err)
	must(t, admin.ConfigResetStat(ctx(t)).Err())
	before := cpuOf(t, admin)
	must(t, m.Cancel(ctx(t)))
	eventually(t, "its deliveries are gone", func() bool { return e.rdb.LLen(ctx(t), "asynq:{"+e.queue+"}:pending").Val() == 40_000 })
	must(t, keep.Cancel(ctx(t)))
	must(t, more.Cancel(ctx(t)))
	eventually(t, "nothing is left", func() bool { return e.leftInAsynq(t) == 0 })
	// What one step takes of a processor: on a busy machine, how long it takes says nothing.
	stats, err := admin.InfoMap(ctx(t), "commandstats").Result()
	must(t, err)
	steps := 0
	if _, err := fmt.Sscanf(stats["Commandstats"]["cmdstat_evalsha"], "calls=%d", &steps); err != nil || steps == 0 {
		t.Fatalf("the scripts' statistics are %q, %v", stats["Commandstats"]["cmdstat_evalsha"], err)
	}
	each := (cpuOf(t, admin) - before) / time.Duration(steps)
	t.Logf("%d steps of %v", steps, each)
	if each > 4*time.Millisecond {
		t.Errorf("%d steps took %v of a processor each", steps, each)
	}
}

// cpuOf is what the server has taken of a processor so far.
func cpuOf(t *testing.T, c redis.UniversalClient) time.Duration {
	t.Helper()
	info, err := c.InfoMap(ctx(t), "cpu").Result()
	must(t, err)
	var all time.Duration
	for _, name := range []string{"used_cpu_user", "used_cpu_sys"} {
		s, err := strconv.ParseFloat(info["CPU"][name], 64)
		must(t, err)
		all += time.Duration(s * float64(time.Second))
	}
	return all
}

func TestForgetTakesFailedDeliveriesAlong(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		kept, err := producer.ApplyAsync(ctx(t), p, verbose, 10)
		must(t, err)
		_, err = kept.Get(ctx(t))
		taskError(t, err)
		archived := func() int { return e.queueInfo(t).Archived }
		eventually(t, "its delivery is in the archive", func() bool { return archived() == 1 })
		for i := range 5 {
			m, err := producer.MapAsync(ctx(t), p, verbose, []int{10, 20, 30}, producer.ChunkSize(1))
			must(t, err)
			_, err = m.Get(ctx(t))
			mentions(t, err, "3 of 3")
			if i%2 == 0 { // otherwise they may still be on their way there
				eventually(t, "its deliveries are in the archive", func() bool { return archived() == 4 })
			}
			must(t, m.Forget(ctx(t)))
			eventually(t, "the archive has the other one", func() bool { return e.leftInAsynq(t) == 2 })
		}
		for _, err := range producer.IMap(ctx(t), p, verbose, slices.Values([]int{10, 20})) {
			taskError(t, err)
		}
		eventually(t, "a stream leaves nothing there", func() bool { return e.leftInAsynq(t) == 2 })
	})
}

func TestTheArchiveOfFailedDeliveriesIsBounded(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		e.worker(t, 2, func(s *workerSpec) { s.Archived = 20 })
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, verbose, make([]int, 300), producer.ChunkSize(1))
		must(t, err)
		_, err = m.Get(ctx(t))
		mentions(t, err, "300 of 300")
		archived := "asynq:{" + e.lane(t, m.ID()) + "}:archived"
		eventually(t, "20 failed deliveries are left", func() bool {
			return e.rdb.ZCard(ctx(t), archived).Val() == 20 && e.leftInAsynq(t) == 40
		})
		// By age.
		old := e.rdb.ZRange(ctx(t), archived, 0, 4).Val()
		for _, id := range old {
			must(t, e.rdb.ZAdd(ctx(t), archived, redis.Z{Score: float64(time.Now().Add(-8 * 24 * time.Hour).Unix()), Member: id}).Err())
		}
		eventually(t, "the deliveries of last week are gone", func() bool {
			return e.rdb.ZCard(ctx(t), archived).Val() == 15 && e.leftInAsynq(t) == 30
		})
	})
}

// Also where one of them releases the pool while another one is busy with it.
func TestTerminateMayBeCalledBySeveralGoroutines(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		for i := range 20 {
			p := e.pool(t)
			for range 50 {
				_, err := producer.ApplyAsync(ctx(t), p, square, 1)
				must(t, err)
			}
			var wg sync.WaitGroup
			for k := range 4 {
				wg.Go(func() {
					if err := p.Terminate(ctx(t)); err != nil {
						t.Errorf("Terminate: %v", err)
					}
				})
				wg.Go(func() {
					p.Close()
					if err := p.Join(ctx(t)); err != nil {
						t.Errorf("Join: %v", err)
					}
				})
				if (i+k)%4 == 0 {
					wg.Go(p.Release)
				}
			}
			wg.Wait()
		}
	})
}

func TestSubscriptionsToOtherPoolsAreGivenBack(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		e.worker(t, 4)
		p, gate := e.pool(t), e.probe()
		var handles []*results.AsyncResult[string]
		const others = 10
		for range others {
			r, err := producer.ApplyAsync(ctx(t), e.pool(t), hold, gate)
			must(t, err)
			h, err := producer.Attach(ctx(t), p, hold, r.ID())
			must(t, err)
			twice, err := producer.Attach(ctx(t), p, hold, r.ID())
			must(t, err)
			handles = append(handles, h, twice)
		}
		// A pool listens on a channel of its own in each lane; p on one channel of each job of
		// the others, too.
		lanes := int64(len(e.lanes(t)))
		listening := func() int64 {
			var n int64
			for _, k := range e.replies(t) {
				n += k
			}
			return n
		}
		eventually(t, "the pool listens to the others", func() bool { return listening() == (others+1)*lanes+others })
		e.open(t, gate)
		for _, h := range handles {
			_, err := h.Get(ctx(t))
			must(t, err)
		}
		eventually(t, "it listens to itself", func() bool { return listening() == (others+1)*lanes })
		// And again.
		r, err := producer.ApplyAsync(ctx(t), e.pool(t), square, 3)
		must(t, err)
		h, err := producer.Attach(ctx(t), p, square, r.ID())
		must(t, err)
		n, err := h.Get(ctx(t))
		same(t, fmt.Sprintf("job %s", r.ID()), n, err, 9)
	})
}

// The caller fetches large values only after it has heard that they are there.
func TestAShortResultTTLLetsTheCallerHaveItsValue(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		for i := range 10 {
			s, err := producer.Apply(ctx(t), p, produce, 100_000+i, producer.ResultTTL(time.Millisecond))
			same(t, "the length of a call's value", len(s), err, 100_000+i)
			ss, err := producer.Map(ctx(t), p, produce, []int{20_000, 200_000}, producer.ChunkSize(1), producer.ResultTTL(time.Millisecond))
			same(t, "the lengths of a map's values", lengths(ss), err, []int{20_000, 200_000})
		}
		shared, err := producer.ApplyAsync(ctx(t), p, echoBytes, []byte("abc"))
		must(t, err)
		got := make(chan []byte, 1)
		shared.OnSuccess(func(b []byte) { got <- b })
		v, err := shared.Get(ctx(t))
		must(t, err)
		if w := receive(t, "the callback", got); &w[0] != &v[0] {
			t.Error("callback and Get have values of their own")
		}
	})
}
