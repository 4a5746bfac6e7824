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
	// mostUnsent bounds the batches that wait for that: some MiB.
	mostUnsent = 8
)

// Writer makes the pool's jobs findable by people who do not know their IDs. It
// is no part of a submission: jobs are noted in memory, and a flush in the
// background lists all that have gathered, in one command. A pool that has nothing to
// list sends nothing. What a flush cannot send is sent later, and may be listed
// twice, which readers expect; what there is no room for until then is counted, so that
// whoever reads the list knows that it is not complete.
type Writer struct {
	rdb redis.UniversalClient

	mu      sync.Mutex // guards all below
	batch   *Batch
	unsent  []*Batch // by flushes that failed, oldest first
	missed  int      // jobs of batches for which there was no room in unsent
	shard   int      // of the next flush
	armed   bool
	stopped bool
	flights sync.WaitGroup // flushes under way
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
	l.armed = false
	if l.stopped {
		l.mu.Unlock()
		return
	}
	batches, shard := l.take()
	l.flights.Add(1)
	l.mu.Unlock()
	defer l.flights.Done()
	l.send(batches, shard, time.Now().Add(listPatience))
}

// take returns what there is to send, and starts a new batch. It is called with mu held.
func (l *Writer) take() (batches []*Batch, shard int) {
	batches, shard = l.unsent, l.shard
	if l.batch.Len() > 0 {
		batches = append(batches, l.batch)
	}
	if len(batches) > 0 {
		batches[len(batches)-1].Unlisted += l.missed
		l.missed = 0
	}
	l.batch, l.unsent = &Batch{}, nil
	l.shard = (l.shard + 1) % ListShards
	return batches, shard
}

func (l *Writer) send(batches []*Batch, shard int, until time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	for i, batch := range batches {
		switch err := List(ctx, l.rdb, shard, batch); {
		case redis.HasErrorPrefix(err, "NOPERM"):
			return // nor will it be any time later
		case err != nil:
			l.keep(batches[i:])
			return
		}
	}
}

// keep takes batches back that could not be sent.
func (l *Writer) keep(batches []*Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unsent = append(batches, l.unsent...) // other flushes may have failed meanwhile
	for len(l.unsent) > mostUnsent {
		last := l.unsent[len(l.unsent)-1]
		l.unsent = l.unsent[:len(l.unsent)-1]
		l.missed += last.Len() + last.Unlisted
	}
	if !l.stopped {
		l.arm(listAgain)
	}
}

// Stop lists what is left, and ends.
func (l *Writer) Stop() {
	until := time.Now().Add(listPatience)
	l.mu.Lock()
	l.stopped = true
	l.mu.Unlock()
	l.flights.Wait()
	l.mu.Lock()
	batches, shard := l.take()
	l.mu.Unlock()
	l.send(batches, shard, until)
}
