package worker

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

const (
	// lookEvery is how often asynq asks for deliveries whose time has come. It bounds,
	// with the second that retryDelay adds, how long one that was put back waits beyond
	// its delay.
	lookEvery = 3 * time.Second
	// lookedFor is how long after a look an idle worker relies on the next one.
	lookedFor = 3 * lookEvery
)

// outlook is what an idle worker looks at instead of all that it could look at. asynq
// asks two sets of each queue for deliveries whose time has come, one after the other,
// and a worker that listens for rings has to look from time to time whether
// deliveries wait of which no ring told. One command answers all of it as long as there
// is nothing; else asynq's requests pass.
//
// It is for a server that holds all keys, and for one goroutine, asynq's forwarder,
// but for recent.
type outlook struct {
	rdb     redis.UniversalClient
	sets    []string     // asynq's scheduled and retry of each queue
	queues  []string     // asynq's pending of each
	last    atomic.Int64 // when the last look was answered (Unix time, ns)
	waiting func(context.Context)
	first   string // the set with which asynq begins each round
	empty   bool   // the look of this round found nothing
}

// newOutlook makes one that calls waiting when deliveries wait in a queue.
func newOutlook(rdb redis.UniversalClient, queues []string, waiting func(context.Context)) *outlook {
	o := &outlook{rdb: rdb, waiting: waiting}
	for _, q := range queues {
		p := "asynq:{" + q + "}:" // asynq v0.26, internal/base
		o.sets = append(o.sets, p+"scheduled", p+"retry")
		o.queues = append(o.queues, p+"pending")
	}
	return o
}

// recent reports whether the looks can be relied on.
func (o *outlook) recent() bool { return time.Since(time.Unix(0, o.last.Load())) < lookedFor }

// forward answers asynq's request to bring the deliveries of a set whose time has come
// to their queue; pass sends it. A ring follows what is brought. asynq asks for the sets
// in the same order each time (v0.26: Server has the queues in a slice, by which its
// forwarder goes), which need not be ours, and for each until no more of it is brought.
func (o *outlook) forward(ctx context.Context, set string, pass func() *redis.Cmd) *redis.Cmd {
	if o.first == "" {
		o.first = set
	}
	// Whatever else it asks belongs to the round that this began: an answer must not be
	// one of the round before.
	if set == o.first {
		if err := o.look(ctx); err != nil {
			cmd := redis.NewCmd(ctx)
			cmd.SetErr(err)
			return cmd
		}
	}
	if o.empty {
		cmd := redis.NewCmd(ctx)
		cmd.SetVal(int64(0))
		return cmd
	}
	return ringFor(ctx, o.rdb, set, pass())
}

// ringFor rings for what asynq's request has brought from the set to its queue.
func ringFor(ctx context.Context, rdb redis.UniversalClient, set string, cmd *redis.Cmd) *redis.Cmd {
	if n, err := cmd.Int(); err == nil && n > 0 {
		// Should it fail, the next look finds them.
		_ = record.Ring(queueOfSet(set), n).Run(ctx, rdb).Err()
	}
	return cmd
}

// look learns whether all sets are empty.
func (o *outlook) look(ctx context.Context) error {
	o.empty = false // should it fail
	n, err := o.rdb.Exists(ctx, slices.Concat(o.sets, o.queues)...).Result()
	if err == nil && n > 0 {
		var waiting int64
		if waiting, err = o.rdb.Exists(ctx, o.queues...).Result(); err == nil && waiting > 0 {
			o.waiting(ctx)
		}
	}
	if err != nil {
		return err
	}
	o.empty = n == 0
	o.last.Store(time.Now().UnixNano())
	return nil
}

// isForward recognises asynq's request by its script and keys.
func isForward(sha string, keys []string) bool {
	return sha == record.AsynqForward && len(keys) == 2 && (strings.HasSuffix(keys[0], ":scheduled") || strings.HasSuffix(keys[0], ":retry"))
}

// queueOfSet is the queue of one of asynq's sets.
func queueOfSet(set string) string {
	return set[strings.Index(set, "{")+1 : strings.LastIndex(set, "}")]
}
