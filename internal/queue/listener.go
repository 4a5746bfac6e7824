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

const (
	// unblockTime bounds the request that ends a wait.
	unblockTime = time.Second
	// unblockAgain is the time between two of them.
	unblockAgain = 20 * time.Millisecond
	// overtime is how much longer than asked for a wait may take: then the server is gone.
	overtime = 2 * time.Second
)

// listener waits for deliveries in one lane that was found empty. Redis moves a delivery to
// active for the listener that has waited for the longest, so one delivery wakes one worker,
// whatever program pushed it.
type listener struct {
	consumer  *Consumer
	lane      string
	queue     Queue          // of the lane
	goroutine sync.WaitGroup // listen

	// Only dispatch reads and writes these.
	listening bool          // the lane was empty, and it listens
	away      bool          // a request for deliveries was not answered yet
	heard     []string      // deliveries in active that are to be taken
	unsure    bool          // a request may have given deliveries of which the answer was lost
	rest      time.Time     // the lane is not asked before
	backoff   time.Duration // the last rest because Redis did not answer

	armed  atomic.Bool   // it is to listen; it ends that itself when it hears of a delivery
	wake   chan struct{} // one: armed was set
	paused atomic.Bool   // the queue was paused when a delivery was heard of

	conn *redis.Conn // on which it waits; listen has it

	mu      sync.Mutex
	server  *redis.Client // guarded by mu: of conn
	id      int64         // guarded by mu: of conn; 0: the server does not tell it
	blocked bool          // guarded by mu: it waits
}

func (c *Consumer) newListener(queue Queue, lane string) *listener {
	return &listener{consumer: c, lane: lane, queue: queue, wake: make(chan struct{}, 1)}
}

// ready reports whether the lane may have deliveries for free slots.
func (l *listener) ready() bool {
	return !l.away && (len(l.heard) > 0 || !l.listening) && !time.Now().Before(l.rest)
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
	if l.listening {
		l.listening = false
		l.armed.Store(false)
		l.goroutine.Go(l.unblock)
	}
}

// listen listens whenever it is armed, until ctx ends.
func (l *listener) listen(ctx context.Context) {
	over := make(chan struct{})
	l.goroutine.Go(func() { l.end(ctx, over) })
	defer close(over)
	defer l.disconnect()
	backoff := time.Duration(0)
	for {
		select {
		case <-l.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && l.armed.Load() {
			id, err := l.wait(ctx)
			switch {
			case err == nil, errors.Is(err, redis.Nil):
				backoff = 0
			case ctx.Err() != nil:
				return
			default:
				if backoff == 0 {
					l.consumer.cfg.Logger.Debug("waiting for deliveries fails; it is tried again", "lane", l.lane, "error", err)
				}
				backoff = min(max(50*time.Millisecond, 2*backoff), maxBackoff)
				sleep(ctx, backoff)
			}
			if !errors.Is(err, redis.Nil) {
				l.armed.Store(false)
				l.consumer.moved <- moved{l, id}
			}
		}
	}
}

// end ends the wait when ctx ends, until over is closed.
func (l *listener) end(ctx context.Context, over <-chan struct{}) {
	select {
	case <-ctx.Done():
	case <-over:
		return
	}
	for { // the wait may begin a moment later
		l.unblock()
		select {
		case <-over:
			return
		case <-time.After(unblockAgain):
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
		sleep(ctx, pauseCheck)
	}
	return nil
}

// wait waits for one delivery; redis.Nil says that there was none.
func (l *listener) wait(ctx context.Context) (string, error) {
	if err := l.resumed(ctx); err != nil {
		return "", err
	}
	pending, active := asynqfmt.PendingKey(l.lane), asynqfmt.ActiveKey(l.lane)
	patience, err := l.connect(ctx, pending)
	if err != nil {
		return "", err
	}
	l.mu.Lock()
	l.blocked = true
	l.mu.Unlock()
	id, err := "", error(redis.Nil)
	if ctx.Err() == nil && l.armed.Load() {
		// Not with ctx: what Redis has moved by the time that it ends must be heard of.
		long, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience+overtime)
		id, err = l.conn.BLMove(long, pending, active, "RIGHT", "LEFT", patience).Result()
		cancel()
	}
	l.mu.Lock()
	l.blocked = false
	l.mu.Unlock()
	if err != nil && !errors.Is(err, redis.Nil) {
		l.disconnect()
		if c, ok := l.consumer.cfg.Listen.(*redis.ClusterClient); ok {
			c.ReloadState(ctx) // the lane may be at another master now
		}
	}
	return id, err
}

// connect connects to the server that has the key, unless that is so, and returns how long a
// wait may be.
func (l *listener) connect(ctx context.Context, key string) (time.Duration, error) {
	server, err := serverOf(ctx, l.consumer.cfg.Listen, key)
	if err != nil {
		return 0, err
	}
	if l.conn == nil || l.server != server {
		l.disconnect()
		l.conn = server.Conn()
		id, err := l.conn.ClientID(ctx).Result()
		if err != nil {
			id = 0
		}
		l.mu.Lock()
		l.server, l.id = server, id
		l.mu.Unlock()
	}
	if l.id == 0 {
		return unknownTime, nil
	}
	return listenTime, nil
}

func (l *listener) disconnect() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// unblock ends a wait, if there is one.
func (l *listener) unblock() {
	l.mu.Lock()
	server, id, blocked := l.server, l.id, l.blocked
	l.mu.Unlock()
	if !blocked || id == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), unblockTime)
	defer cancel()
	_ = server.ClientUnblock(ctx, id).Err() // without it the wait ends by itself
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
