package queue

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// sent is a Batch that keeps what it sends, and answers each number with its square once it may.
type sent struct {
	Batch[int, int]
	mu      sync.Mutex
	batches [][]int
}

func newSent(may <-chan struct{}) *sent {
	s := new(sent)
	s.Size = func(n int) int { return n }
	s.Send = func(ctx context.Context, lane string, entries []int) ([]int, error) {
		s.mu.Lock()
		s.batches = append(s.batches, slices.Clone(entries))
		s.mu.Unlock()
		select {
		case <-may:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if lane == "bad" {
			return nil, errors.New("no")
		}
		squares := make([]int, len(entries))
		for i, n := range entries {
			squares[i] = n * n
		}
		return squares, nil
	}
	return s
}

// seen is what was sent so far, and sizes how much of it each time.
func (s *sent) seen() [][]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.batches)
}

func (s *sent) sizes() (sizes []int) {
	for _, b := range s.seen() {
		sizes = append(sizes, len(b))
	}
	return sizes
}

func ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func TestEntriesGatherWhileTwoSmallBatchesAreUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * crewRest) // until the crew has gone
		may := make(chan struct{})
		s := newSent(may)
		var answers atomic.Int64
		for n := range 100 {
			s.Go("q", n, func(square int, err error) {
				if err == nil && square == n*n {
					answers.Add(1)
				}
			})
			synctest.Wait()
		}
		close(may)
		s.Settle("q")
		if want := []int{1, 1, 64, 34}; !slices.Equal(s.sizes(), want) || answers.Load() != 100 {
			t.Errorf("batches of %v with %d answers, want %v and 100", s.sizes(), answers.Load(), want)
		}
	})
}

func TestALargeBatchGoesAloneUnlessItIsSlow(t *testing.T) {
	for took, want := range map[time.Duration][]int{
		time.Millisecond: {1, 1, smallBatch + 1},
		slowBatch:        {1, 1, smallBatch + 1, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			defer time.Sleep(2 * crewRest) // until the crew has gone
			may := make(chan struct{})
			s := newSent(may)
			for range smallBatch + 3 {
				s.Go("q", 1, func(int, error) {})
				synctest.Wait()
			}
			time.Sleep(took)
			for range 2 { // one of the first two sends the large one
				may <- struct{}{}
				synctest.Wait()
			}
			s.Go("q", 1, func(int, error) {})
			if synctest.Wait(); !slices.Equal(s.sizes(), want) {
				t.Errorf("after a batch of %v there are batches of %v, want %v", took, s.sizes(), want)
			}
			close(may)
			s.Settle("q")
		})
	}
}

func TestABatchEndsBeforeItHasTooManyBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * crewRest) // until the crew has gone
		may := make(chan struct{})
		s := newSent(may)
		for _, n := range []int{1, 1, maxBytes * 2, maxBytes / 2, maxBytes / 2, 1} {
			s.Go("q", n, func(int, error) {})
			synctest.Wait()
		}
		close(may)
		s.SettleAll()
		got := s.seen()
		if want := [][]int{{1}, {1}, {maxBytes * 2}, {maxBytes / 2, maxBytes / 2}, {1}}; !slices.EqualFunc(got, want, slices.Equal[[]int]) {
			t.Errorf("batches %v, want %v", got, want)
		}
	})
}

func TestEntriesThatMayWaitGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * crewRest) // until the crew has gone
		s := newSent(ready())
		s.Gather = 10 * time.Millisecond
		var answers atomic.Int64
		answered := func(int, error) { answers.Add(1) }
		for n := range 5 {
			s.Go("q", n, answered)
			time.Sleep(time.Millisecond)
		}
		if synctest.Wait(); len(s.seen()) != 0 {
			t.Fatalf("sent at once: %v", s.seen())
		}
		time.Sleep(6 * time.Millisecond)
		if synctest.Wait(); !slices.Equal(s.sizes(), []int{5}) || answers.Load() != 5 {
			t.Fatalf("after the time to gather: %v, %d answers", s.seen(), answers.Load())
		}
		s.Go("q", 9, answered)
		if s.SettleAll(); !slices.Equal(s.sizes(), []int{5, 1}) || answers.Load() != 6 {
			t.Errorf("settled with %v, %d answers", s.seen(), answers.Load())
		}
	})
}

func TestSettlingDoesNotWaitForLaterEntries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(2 * crewRest) // until the crew has gone
		var b Batch[int, int]
		var stop atomic.Bool
		b.Size = func(int) int { return 1 }
		b.Send = func(_ context.Context, lane string, entries []int) ([]int, error) {
			if !stop.Load() {
				b.Go(lane, 0, func(int, error) {}) // so there is always a next batch
			}
			time.Sleep(time.Millisecond)
			return entries, nil
		}
		b.Go("q", 0, func(int, error) {})
		settled := make(chan struct{})
		go func() {
			b.Settle("q")
			close(settled)
		}()
		select {
		case <-settled:
		case <-time.After(time.Second):
			t.Error("Settle waits as long as more comes")
		}
		stop.Store(true)
		<-settled
	})
}

func TestAnErrorOfABatchIsEveryEntrys(t *testing.T) {
	s := newSent(ready())
	if _, err := s.Do(t.Context(), "bad", 3); err == nil || err.Error() != "no" {
		t.Errorf("got %v", err)
	}
	if square, err := s.Do(t.Context(), "good", 3); err != nil || square != 9 {
		t.Errorf("got %d, %v", square, err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	if _, err := newSent(nil).Do(ended, "q", 3); !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
}
