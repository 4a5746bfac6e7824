package submit

import (
	"runtime"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
)

func TestAutomaticChunkSizeIsPythonsRuleOverTheFleet(t *testing.T) {
	for _, tt := range []struct{ slots, calls, want int }{
		{1, 0, 1}, {1, 1, 1}, {1, 4, 1}, {1, 5, 2}, {1, 1000, 250},
		{2, 1000, 125}, {4, 1000, 63}, {12, 1000, 21}, {1000, 1000, 1},
		{0, 1000, max(1, (1000+4*runtime.NumCPU()-1)/(4*runtime.NumCPU()))}, // no worker: this machine
	} {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		for id, w := range map[string]fleet.Worker{
			"a": {ID: "a", Concurrency: (tt.slots + 1) / 2, Queues: map[string]int{"q": 1}},
			"b": {ID: "b", Concurrency: tt.slots / 2, Queues: map[string]int{"q": 1, "other": 1}},
			"c": {ID: "c", Concurrency: 100, Queues: map[string]int{"other": 1}},
		} {
			if err := fleet.Register(t.Context(), rdb, w, time.Minute); err != nil {
				t.Fatal(id, err)
			}
		}
		p := &Pool{fleet: fleet.NewView(rdb)}
		if got, err := p.automaticSize(t.Context(), "q", tt.calls); err != nil || got != tt.want {
			t.Errorf("%d calls on %d slots: chunks of %d, %v; want %d", tt.calls, tt.slots, got, err, tt.want)
		}
	}
}

func TestRoundTripOfASubmissionIsBounded(t *testing.T) {
	c := &Cutter{Calls: 1201, Size: 1, Exact: true, MaxArgument: 1 << 20,
		Encode: func(int, int) ([]byte, error) { return []byte("[0]"), nil }}
	next := 0
	for _, want := range []int{250, 250, 250, 250, 201, 0} {
		batch, err := c.Next(next)
		if err != nil || len(batch) != want {
			t.Fatalf("a batch of %d chunks, %v; want %d", len(batch), err, want)
		}
		for i, chunk := range batch {
			if chunk.Number != next+i {
				t.Fatalf("chunk %d has number %d", next+i, chunk.Number)
			}
		}
		next += len(batch)
	}
	if !c.Done() {
		t.Error("it is not done")
	}
}
