package recent

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// listEvery is how long a job may wait until it is listed, by a Redis that takes it.
	listEvery = 250 * time.Millisecond
	// listPatience bounds a flush. A pool that ends waits as long for one under way and its last.
	listPatience = time.Second
	// listAgain is how long a flush that failed waits for its next try.
	listAgain = 2 * time.Second
)

// Writer makes the pool's jobs findable by people who do not know their IDs. It
// is no part of a submission: jobs are noted in memory, and a flush in the
// background lists all that have gathered, in one command. A pool that has nothing to
// list sends nothing. What a flush cannot send is sent later, and may be listed
// twice, which readers expect; what there is no room for until then is counted, so that
// whoever reads the list knows that it is not complete.
type Writer struct {
	rdb     redis.UniversalClient
	flights sync.WaitGroup // a flush under way

	mu      sync.Mutex // guards all below
	batch   *Batch     // of the next flush
	unsent  *Batch     // of one that is under way, or has failed: it goes before the next one
	shard   int        // of the next flush
	armed   bool       // a flush is under way, or will be
	stopped bool
}

// NewWriter makes a Writer of one pool.
func NewWriter(rdb redis.UniversalClient) *Writer {
	return &Writer{rdb: rdb, batch: &Batch{}, shard: rand.IntN(ListShards)}
}

// Note takes a job that was submitted.
func (l *Writer) Note(j Listed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.batch.Add(j)
	l.arm(listEvery)
}

// arm has a flush come. It is called with mu held.
func (l *Writer) arm(after time.Duration) {
	if !l.armed {
		l.armed = true
		time.AfterFunc(after, l.flush)
	}
}

// flush lists what has gathered.
func (l *Writer) flush() {
	l.mu.Lock()
	if l.stopped {
		l.mu.Unlock()
		return
	}
	l.flights.Add(1)
	l.mu.Unlock()
	defer l.flights.Done()
	err := l.send(time.Now().Add(listPatience))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if err != nil {
		l.arm(listAgain)
	} else if l.batch.Len() > 0 {
		l.arm(listEvery)
	}
}

// send lists a batch, if there is one.
func (l *Writer) send(until time.Time) error {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	l.mu.Lock()
	if l.unsent == nil && l.batch.Len() > 0 {
		l.unsent, l.batch = l.batch, &Batch{}
	}
	batch, shard := l.unsent, l.shard
	l.shard = (l.shard + 1) % ListShards
	l.mu.Unlock()
	if batch == nil {
		return nil
	}
	err := List(ctx, l.rdb, shard, batch)
	if err != nil && !redis.HasErrorPrefix(err, "NOPERM") { // with which it will not be any time later, either
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsent = nil
	return nil
}

// Stop lists what is left, and ends.
func (l *Writer) Stop() {
	until := time.Now().Add(listPatience)
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.flights.Wait()
	for range 2 { // what was left by a flush, and what has gathered since
		if l.send(until) != nil {
			return
		}
	}
}
