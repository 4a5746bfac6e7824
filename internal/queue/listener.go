package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
)

// listenTime is how long one BLMOVE waits. It is repeated, so an idle worker costs Redis
// one command for each lane in this time.
const listenTime = 5 * time.Second

// unknownTime takes its place on a server that does not tell the ID of a connection, as
// the embedded one: there a wait cannot be ended early. go-redis counts in whole seconds.
const unknownTime = time.Second

// unblockTime bounds the request that ends a wait.
const unblockTime = time.Second

// maxBackoff bounds the time between two tries while Redis does not answer.
const maxBackoff = 2 * time.Second

// listener waits for deliveries in one lane that was found empty. Redis moves a delivery to
// active for the listener that has waited for the longest, so one delivery wakes one worker,
// whatever program pushed it.
type listener struct {
	consumer *Consumer
	lane     string
	weight   float64 // of its queue, divided by the lanes of that

	listening bool // the lane was empty, and it listens; only dispatch reads and writes it

	armed  atomic.Bool   // it is to listen; it ends that itself when it hears of a delivery
	wake   chan struct{} // one: armed was set
	paused atomic.Bool   // the queue was paused when a delivery was heard of

	mu      sync.Mutex
	blocked *redis.Client // guarded by mu: the server at which it waits; nil: it does not
	id      int64         // guarded by mu: the connection on which it waits
}

// arm makes it listen until it hears of a delivery, or disarm.
func (l *listener) arm() {
	l.listening = true
	l.armed.Store(true)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// disarm ends the listening. A delivery that Redis has moved by now is heard of all the same.
func (l *listener) disarm() {
	l.listening = false
	l.armed.Store(false)
	l.unblock()
}

// listen listens whenever it is armed, until ctx ends.
func (l *listener) listen(ctx context.Context) {
	stop := context.AfterFunc(ctx, l.unblock)
	defer stop()
	backoff := time.Duration(0)
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && l.armed.Load() {
			var id string
			err := l.resumed(ctx)
			if err == nil {
				id, err = l.wait(ctx)
			}
			switch {
			case err == nil:
				backoff = 0
				l.armed.Store(false)
				l.consumer.moved <- moved{l, id}
			case errors.Is(err, redis.Nil):
				backoff = 0
			default:
				if backoff == 0 {
					l.consumer.cfg.Logger.Warn("waiting for deliveries fails; it is tried again", "lane", l.lane, "error", err)
				}
				backoff = min(max(50*time.Millisecond, 2*backoff), maxBackoff)
				select {
				case <-time.After(backoff):
				case <-ctx.Done():
				}
			}
		}
	}
}

// pauseCheck is how often a worker asks whether a paused queue is paused no more.
const pauseCheck = time.Second

// resumed waits while the queue is paused; BLMOVE knows nothing of pauses.
func (l *listener) resumed(ctx context.Context) error {
	for l.paused.Load() && ctx.Err() == nil {
		n, err := l.consumer.cfg.Redis.Exists(ctx, asynqfmt.PausedKey(l.lane)).Result()
		if err != nil {
			return err
		}
		if n == 0 {
			l.paused.Store(false)
			break
		}
		select {
		case <-time.After(pauseCheck):
		case <-ctx.Done():
		}
	}
	return nil
}

// wait waits for one delivery; redis.Nil says that there was none.
func (l *listener) wait(ctx context.Context) (string, error) {
	pending, active := asynqfmt.PendingKey(l.lane), asynqfmt.ActiveKey(l.lane)
	client, err := serverOf(ctx, l.consumer.cfg.Redis, pending)
	if err != nil {
		return "", err
	}
	conn := client.Conn()
	defer conn.Close()
	patience := listenTime
	if id, err := conn.ClientID(ctx).Result(); err != nil {
		patience = unknownTime
	} else {
		l.mu.Lock()
		l.blocked, l.id = client, id
		l.mu.Unlock()
		defer func() {
			l.mu.Lock()
			l.blocked = nil
			l.mu.Unlock()
		}()
	}
	if ctx.Err() != nil {
		return "", redis.Nil
	}
	// Not with ctx: what Redis has moved by the time that it ends must be heard of.
	return conn.BLMove(context.WithoutCancel(ctx), pending, active, "RIGHT", "LEFT", patience).Result()
}

// unblock ends a wait, if there is one.
func (l *listener) unblock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blocked != nil {
		ctx, cancel := context.WithTimeout(context.Background(), unblockTime)
		defer cancel()
		_ = l.blocked.ClientUnblock(ctx, l.id).Err() // without it the wait ends by itself
	}
}

// serverOf is the server that has a key.
func serverOf(ctx context.Context, rdb redis.UniversalClient, key string) (*redis.Client, error) {
	switch c := rdb.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		return c.MasterForKey(ctx, key)
	}
	return nil, errors.New("a Redis client of a kind that distpool does not know")
}
