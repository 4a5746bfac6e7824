package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/lanes"
	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
	"github.com/distpool/distpool/worker"
)

// TestAQueueSpansACluster runs calls, a map and a call that waits for its next attempt, of one queue
// whose lanes are on three masters, of which one stands still for a while.
func TestAQueueSpansACluster(t *testing.T) {
	servers := redistest.StartCluster(t, 3)
	url := redistest.ClusterURL(servers)
	try := tasks.Define("try", func(ctx context.Context, n int) (int, error) {
		if tasks.Info(ctx).Attempt == 1 {
			return 0, errors.New("not yet")
		}
		return n, nil
	}, tasks.Retry(1, tasks.Every(300*time.Millisecond)))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	var log logBuffer
	go func() {
		ended <- worker.Run(ctx, worker.Config{Redis: url, Concurrency: 4, Logger: slog.New(slog.NewTextHandler(&log, nil))}, square, try)
	}()
	p, err := producer.Open(t.Context(), producer.Config{Redis: url})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	calls := func(n int) {
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				if v, err := producer.Apply(t.Context(), p, square, i); err != nil || v != i*i {
					t.Errorf("call %d: %d, %v", i, v, err)
				}
			})
		}
		all.Wait()
	}
	calls(60)
	vs, err := producer.Map(t.Context(), p, square, []int{1, 2, 3, 4, 5}, producer.ChunkSize(2))
	if err != nil || len(vs) != 5 || vs[4] != 25 {
		t.Errorf("the map: %v, %v", vs, err)
	}
	if v, err := producer.Apply(t.Context(), p, try, 7); err != nil || v != 7 {
		t.Errorf("the call with two attempts: %d, %v", v, err)
	}
	used := 0
	for _, lane := range lanes.Names(worker.DefaultQueue, 3) {
		info := asynqInfo(t, url, lane)
		if info.Processed > 0 {
			used++
		}
		if info.Size != 0 {
			t.Errorf("lane %s is %+v", lane, info)
		}
	}
	if used != 3 {
		t.Errorf("%d lanes were used, want 3", used)
	}
	if err := servers[1].Pause(); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(3*time.Second, func() { _ = servers[1].Resume() })
	calls(60)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
