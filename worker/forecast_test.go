package worker

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

func TestAPaceIsKnownWhereCallsTakeAboutTheSame(t *testing.T) {
	var p pace
	if _, ok := p.chunk(5); ok {
		t.Error("a forecast although nothing has run")
	}
	for i := range 20 {
		p.note(10*time.Millisecond + time.Duration(i%3)*100*time.Microsecond)
	}
	if took, ok := p.chunk(5); !ok || took < 50*time.Millisecond || took > 51*time.Millisecond {
		t.Errorf("5 calls of 10.1 ms are forecast to take %v, %v", took, ok)
	}
	if _, ok := p.chunk(1000); ok {
		t.Error("a forecast for 1,000 calls, which may be off by more than is worth it")
	}
	for i := range 20 {
		p.note(time.Duration(1+i%20) * time.Millisecond)
	}
	if took, ok := p.chunk(5); ok {
		t.Errorf("calls of 1 to 20 ms are forecast to take %v", took)
	}
	var short pace
	for range 20 {
		short.note(time.Microsecond)
	}
	if _, ok := short.chunk(10); ok {
		t.Error("a forecast for a chunk of 10 us")
	}
}

// busy makes a fetcher whose two slots are taken, with 8 deliveries left in the queue.
func busy(t *testing.T) (*fetcher, *redis.Client) {
	t.Helper()
	size := 2
	f, rdb := fetching(t, 10, &size, onlyQ)
	var taken atomic.Bool
	f.slots = func() int {
		if taken.Load() {
			return 0
		}
		return size
	}
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"j0:0:1", "j1:0:1"} {
		f.mu.Lock() // asked for, but without the fetch ahead that this begins
		f.handed[id] = hand{at: time.Now()}
		f.fetched = f.fetched[1:]
		f.mu.Unlock()
	}
	taken.Store(true)
	for _, id := range []string{"j0:0:1", "j1:0:1"} {
		f.arrived(id)
	}
	return f, rdb
}

// told has every fetch for slots to come announced, once it is under way.
func told(f *fetcher) <-chan time.Time {
	ts := make(chan time.Time, 10)
	fetch := f.ends.fetch
	f.ends.fetch = func() {
		at := time.Now()
		fetch()
		ts <- at
	}
	return ts
}

func TestDeliveriesAreFetchedShortlyBeforeSlotsGetFreeAndGivenBackIfTheyDoNot(t *testing.T) {
	f, rdb := busy(t)
	fetches := told(f)
	began := time.Now()
	f.ends.begin(&chunkRun{}, 40*time.Millisecond)
	f.ends.begin(&chunkRun{}, time.Hour)
	if took := (<-fetches).Sub(began); took < 40*time.Millisecond-leadMost-leadTogether {
		t.Errorf("fetched %v before the slot gets free", 40*time.Millisecond-took)
	}
	// No slot comes: what was fetched is given back, and there are no forecasts for a while.
	wrong := func() bool {
		f.ends.mu.Lock()
		defer f.ends.mu.Unlock()
		return !f.ends.blind.IsZero()
	}
	for deadline := time.Now().Add(10 * time.Second); !wrong() || pending(t, rdb) != 8; time.Sleep(time.Millisecond) {
		if time.Since(began) > 200*time.Millisecond && !wrong() {
			// A process that was starved is right not to fetch for ends long past.
			began = time.Now()
			f.ends.begin(&chunkRun{}, 40*time.Millisecond)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries are in the queue, want that one was fetched and given back: %v", pending(t, rdb), wrong())
		}
	}
	if took := time.Since(began); took < 40*time.Millisecond-leadMost-leadTogether+stale {
		t.Errorf("it was given back after %v already", took)
	}
	f.ends.begin(&chunkRun{}, time.Millisecond)
	if n := f.soon(); n != 0 {
		t.Errorf("%d slots are forecast to be free soon, right after a wrong forecast", n)
	}
}

func TestNothingIsFetchedForSlotsToComeWhileAnotherWorkerListens(t *testing.T) {
	f, rdb := busy(t)
	rdb.Del(t.Context(), record.BellKey("q")) // as a worker does that listens
	fetches := told(f)
	for deadline := time.Now().Add(10 * time.Second); rdb.LLen(t.Context(), record.BellKey("q")).Val() != 1; {
		if time.Now().After(deadline) {
			t.Fatal("nobody rings for the other worker")
		}
		f.ends.begin(&chunkRun{}, 4*time.Millisecond) // again, if this process was starved
		<-fetches
		if over := f.underWay(); over != nil {
			<-over
		}
	}
	if n := pending(t, rdb); n != 8 {
		t.Errorf("%d deliveries are in the queue, want all 8: they are another worker's", n)
	}
}

func TestAChunkThatIsOverIsNotForecastAnyMore(t *testing.T) {
	f, _ := busy(t)
	r := &chunkRun{}
	f.ends.begin(r, time.Microsecond)
	if n := f.soon(); n != 1 {
		t.Fatalf("%d slots are forecast to be free soon, want 1", n)
	}
	f.ends.end(r)
	if n := f.soon(); n != 0 {
		t.Errorf("%d slots are forecast to be free soon, want none: the chunk is over", n)
	}
}

// onReply has then called once, when the reply to a script is here and nobody has it yet.
type onReply struct{ then func() }

func (*onReply) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *onReply) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if then := r.then; then != nil && err == nil && (cmd.Name() == "evalsha" || cmd.Name() == "eval") {
			r.then = nil
			then()
		}
		return err
	}
}

func (*onReply) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// The timer of a forecast may fire while a fetch is under way.
func TestTwoFetchesDoNotTakeForTheSameSlots(t *testing.T) {
	size := 2
	f, rdb := fetching(t, 10, &size, onlyQ)
	counted := make(chan struct{}, 1)
	f.slots = func() int {
		select {
		case counted <- struct{}{}:
		default:
		}
		return size
	}
	f.plenty = true // the one before got all that it asked for
	var second <-chan struct{}
	rdb.AddHook(&onReply{func() {
		<-counted // by the fetch itself
		f.fetchSoon()
		second = f.underWay()
		select {
		case <-counted: // as if nothing were under way
		case <-time.After(100 * time.Millisecond): // it waits
		}
	}})
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-second
	if n := pending(t, rdb); n != 8 || f.free() != 0 {
		t.Errorf("%d deliveries are left in the queue, want 8, and %d slots are free, want 0", n, f.free())
	}
}

// A delivery that was handed out, and had not come to the handler when it was no longer
// counted on, may take its slot late.
func TestWhatHasLostItsSlotDuringTheFetchIsGivenBack(t *testing.T) {
	size := 2
	f, rdb := fetching(t, 10, &size, onlyQ)
	var free atomic.Int64
	free.Store(2)
	f.slots = func() int { return int(free.Load()) }
	rdb.AddHook(&onReply{func() { free.Store(1) }})
	if err := f.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); pending(t, rdb) != 9 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if n := pending(t, rdb); n != 9 {
		t.Errorf("%d deliveries are in the queue, want 9: one of the two has no slot", n)
	}
}
