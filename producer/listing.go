package producer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

const (
	// listEvery is how long a job may wait until it is listed.
	listEvery = 250 * time.Millisecond
	// listPatience bounds one flush, and what a pool that ends waits for the last.
	listPatience = time.Second
)

// listing makes the pool's jobs findable by people who do not know their IDs. It
// is no part of a submission: jobs are noted in memory, and a flush in the
// background lists all that have gathered, in one command. A pool that submits
// nothing sends nothing. What a flush cannot send is not sent again: it is
// counted, so that whoever reads the list knows that it is not complete.
type listing struct {
	rdb redis.UniversalClient

	mu      sync.Mutex // guards all below
	batch   *record.Batch
	missed  int // jobs of flushes that failed
	shard   int // of the next flush
	armed   bool
	stopped bool
	flights sync.WaitGroup // flushes under way
}

func newListing(rdb redis.UniversalClient) *listing {
	return &listing{rdb: rdb, batch: &record.Batch{}, shard: rand.IntN(record.ListShards)}
}

// note takes a job that was submitted.
func (l *listing) note(id, task, queue string, single bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.batch.Add(record.Listed{ID: id, Task: task, Queue: queue, Single: single})
	if !l.armed {
		l.armed = true
		time.AfterFunc(listEvery, l.flush)
	}
}

// flush lists what has gathered.
func (l *listing) flush() {
	l.mu.Lock()
	l.armed = false
	batch, shard := l.batch, l.shard
	if l.stopped || batch.Len() == 0 {
		l.mu.Unlock()
		return
	}
	l.take()
	l.flights.Add(1)
	l.mu.Unlock()
	defer l.flights.Done()
	l.send(batch, shard)
}

// take starts a new batch. It is called with mu held.
func (l *listing) take() {
	l.batch.Unlisted += l.missed
	l.missed, l.batch = 0, &record.Batch{}
	l.shard = (l.shard + 1) % record.ListShards
}

func (l *listing) send(batch *record.Batch, shard int) {
	ctx, cancel := context.WithTimeout(context.Background(), listPatience)
	defer cancel()
	if err := record.List(ctx, l.rdb, shard, batch); err != nil {
		l.mu.Lock()
		l.missed += batch.Len() + batch.Unlisted
		l.mu.Unlock()
	}
}

// stop lists what is left, and ends.
func (l *listing) stop() {
	l.mu.Lock()
	batch, shard := l.batch, l.shard
	l.take()
	l.stopped = true
	l.mu.Unlock()
	if batch.Len() > 0 {
		l.send(batch, shard)
	}
	l.flights.Wait()
}
