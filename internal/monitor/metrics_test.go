package monitor

import (
	"context"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/worker"
)

func TestMetricsTellWhatIsInEveryQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		p := startFleet(t, rdb)
		_, _ = producer.Map(t.Context(), p, failing, []string{"a", "b"}, producer.ChunkSize(1))
		idle, err := producer.Open(t.Context(), producer.Config{Client: rdb, Queue: "nobody-serves-it"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = idle.Terminate(context.Background()) })
		if _, err := producer.ApplyAsync(t.Context(), idle, quick, 1); err != nil {
			t.Fatal(err)
		}
		s := serve(t, rdb, withToken)
		bearer := []string{"Authorization", "Bearer " + testToken}
		eventually(t, "the metrics show the queues", func() bool {
			page := s.get(t, "/metrics", bearer...)
			for _, want := range []string{
				"distpool_queues_up 1",
				`distpool_queue_deliveries{queue="distpool",state="archived"} 2`,
				`distpool_queue_deliveries{queue="nobody-serves-it",state="pending"} 1`,
				`distpool_queue_workers{queue="distpool"} 1`,
				`distpool_queue_slots{queue="distpool"} 2`,
				`distpool_queue_workers{queue="nobody-serves-it"} 0`,
				"process_cpu_seconds_total",
			} {
				if !strings.Contains(page, want+"\n") && !strings.Contains(page, want+" ") {
					t.Logf("no %s yet", want)
					return false
				}
			}
			return regexp.MustCompile(`distpool_redis_round_trip_seconds_count [1-9]`).MatchString(page)
		})
		if resp, body := s.do(t, http.MethodGet, "/metrics", nil); resp.StatusCode != http.StatusUnauthorized || strings.Contains(body, "distpool_queue") {
			t.Errorf("without the token /metrics answers %s: %.200s", resp.Status, body)
		}
	})
}

func TestMetricsSayThatRedisIsAway(t *testing.T) {
	rdb := goneRedis(t)
	s := serve(t, rdb)
	page := s.get(t, "/metrics")
	wantIn(t, page, "distpool_queues_up 0\n")
	wantNotIn(t, page, "distpool_queue_deliveries{")
	wantIn(t, page, `distpool_redis_errors_total{kind="connection"}`)
}

// goneRedis is a client whose Redis has gone.
func goneRedis(t *testing.T) redis.UniversalClient {
	t.Helper()
	mr := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: mr.Addr()})
	t.Cleanup(func() { rdb.Close() })
	mr.Close()
	return rdb
}

// The queue never had a job, so asynq does not know it.
func TestMetricsNameAQueueThatLostItsWorkers(t *testing.T) {
	onBoth(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := serve(t, rdb)
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan error, 1)
		go func() {
			over <- worker.Run(ctx, worker.Config{Client: rdb, Concurrency: 2, Queues: map[string]int{"quiet": 1}, Logger: slog.New(slog.DiscardHandler)}, quick)
		}()
		end := sync.OnceValue(func() error {
			stop()
			return <-over
		})
		t.Cleanup(func() { _ = end() }) // before its client is closed
		shows := func(lines ...string) {
			t.Helper()
			eventually(t, strings.Join(lines, ", "), func() bool {
				page := s.get(t, "/metrics")
				return !slices.ContainsFunc(lines, func(l string) bool { return !strings.Contains(page, l+"\n") })
			})
		}
		shows(`distpool_queue_workers{queue="quiet"} 1`, `distpool_queue_slots{queue="quiet"} 2`, `distpool_queue_deliveries{queue="quiet",state="pending"} 0`)
		if err := end(); err != nil {
			t.Fatal(err)
		}
		shows(`distpool_queue_workers{queue="quiet"} 0`, `distpool_queue_slots{queue="quiet"} 0`)
	})
}
