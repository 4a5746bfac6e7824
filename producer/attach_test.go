package producer_test

import (
	"context"
	"errors"
	"testing"

	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

func TestWhoAttachesToACanceledJobGetsWhatWasRecorded(t *testing.T) {
	// Odd calls last until they are canceled.
	half := tasks.Define("attach.half", func(ctx context.Context, n int) (int, error) {
		if n%2 != 0 {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		return n / 2, nil
	})
	kit := pooltest.Start(t, []tasks.Runner{half}, pooltest.Concurrency(4))
	m, err := producer.MapAsync(t.Context(), kit.Pool, half, []int{10, 1, 20, 3}, producer.ChunkSize(1))
	if err != nil {
		t.Fatal(err)
	}
	for range m.AsCompleted(t.Context()) {
		if m.Progress().Done == 2 {
			break
		}
	}
	if err := m.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}

	other, err := producer.Open(t.Context(), producer.Config{Redis: kit.URL(), Queue: kit.Queue()})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Release()
	attached, err := producer.AttachMap(t.Context(), other, half, m.ID())
	if err != nil {
		t.Fatal(err)
	}
	if !attached.Progress().Ended {
		t.Error("the attached handle does not know that the job is over")
	}
	got := map[int]int{}
	var last error
	for call, o := range attached.AsCompleted(t.Context()) {
		if call < 0 {
			last = o.Err
			continue
		}
		got[call] = o.Value
	}
	if len(got) != 2 || got[0] != 5 || got[2] != 10 || !errors.Is(last, results.ErrCanceled) {
		t.Errorf("it yields %v and then %v, want the values of calls 0 and 2 and ErrCanceled", got, last)
	}
	if _, err := attached.Get(t.Context()); !errors.Is(err, results.ErrCanceled) {
		t.Errorf("Get returns %v", err)
	}
}
