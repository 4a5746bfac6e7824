package await

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
)

// pingEvery is how long a subscription may be silent before it is asked whether
// it still stands; silence for as long again means that it does not.
const pingEvery = 3 * time.Second

// subscription receives notices and knows whether it can. go-redis connects
// again by itself, but its channel does not say when it is deaf: the hub must
// know, to poll faster meanwhile and to read everything once afterwards.
type subscription struct {
	rdb     redis.UniversalClient
	hub     *Hub
	pubsub  *redis.PubSub
	healthy atomic.Bool
	// refused says that Redis answers, and does not let us subscribe. run has it.
	refused bool

	mu       sync.Mutex               // guards all below
	own      map[string]chan struct{} // our channels; closed once Redis has confirmed the first subscription
	wanted   map[string]bool          // further channels: whether to listen to them from now on
	changing bool                     // a goroutine sees to that
}

func newSubscription(rdb redis.UniversalClient, hub *Hub) *subscription {
	return &subscription{rdb: rdb, hub: hub}
}

// open subscribes and waits for the confirmation.
func (s *subscription) open(ctx context.Context, channels []string) error {
	s.pubsub = s.rdb.Subscribe(ctx, channels...)
	s.own = map[string]chan struct{}{}
	for _, channel := range channels {
		if _, err := s.pubsub.Receive(ctx); err != nil {
			_ = s.pubsub.Close()
			return err
		}
		s.own[channel] = make(chan struct{})
		close(s.own[channel])
	}
	s.healthy.Store(true)
	return nil
}

// listen has us listen to a channel of our own, and waits a while until Redis confirms that.
func (s *subscription) listen(ctx context.Context, channel string) {
	s.mu.Lock()
	confirmed, known := s.own[channel]
	if !known {
		confirmed = make(chan struct{})
		s.own[channel] = confirmed
	}
	s.mu.Unlock()
	if !known {
		s.want(channel, true)
	}
	select {
	case <-confirmed:
		return
	default:
	}
	late := time.NewTimer(listenTime)
	defer late.Stop()
	select {
	case <-confirmed:
	case <-late.C:
		s.confirm(channel) // the next one need not wait
	case <-ctx.Done():
	}
}

// want says whether to listen to a further channel from now on. It does not wait. If that
// cannot be sent, go-redis does so once it has connected again.
func (s *subscription) want(channel string, listen bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		s.wanted = map[string]bool{}
	}
	s.wanted[channel] = listen
	if !s.changing {
		s.changing = true
		go s.change()
	}
}

// change does what is wanted.
func (s *subscription) change() {
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.wanted = nil
		s.changing = len(wanted) > 0
		s.mu.Unlock()
		if len(wanted) == 0 {
			return
		}
		for channel, listen := range wanted {
			if listen {
				_ = s.pubsub.Subscribe(context.Background(), channel)
			} else {
				_ = s.pubsub.Unsubscribe(context.Background(), channel)
			}
		}
	}
}

func (s *subscription) close() { _ = s.pubsub.Close() }

// run receives until ctx ends or the subscription is closed.
func (s *subscription) run(ctx context.Context) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 20*time.Millisecond, time.Second
	asked := false // a ping is unanswered
	for ctx.Err() == nil {
		msg, err := s.pubsub.ReceiveTimeout(ctx, pingEvery)
		switch {
		case err == nil:
			asked = false
			retry.Reset()
			s.take(msg)
		case errors.Is(err, redis.ErrClosed):
			return
		case isTimeout(err) && !asked:
			asked = true
			if err := s.pubsub.Ping(ctx); err != nil {
				s.healthy.Store(false)
			}
		default:
			s.healthy.Store(false)
			asked = false
			if reply, ok := errors.AsType[redis.Error](err); ok && !s.refused {
				s.refused = true
				s.hub.Log.Warn("Redis refuses the subscription to notices; polling for outcomes instead", "error", reply)
			}
			if !pause(ctx, retry.NextBackOff()) {
				return
			}
			// Only using the connection makes go-redis replace it.
			_ = s.pubsub.Ping(ctx)
		}
	}
}

func (s *subscription) take(msg any) {
	switch m := msg.(type) {
	case *redis.Message:
		s.hub.message(m.Channel, m.Payload)
	case *redis.Subscription:
		if m.Kind == "subscribe" {
			s.confirm(m.Channel)
			s.refused = false
			s.healthy.Store(true)
			s.hub.resync()
		}
	case *redis.Pong:
		// From a connection that is not subscribed it proves nothing.
		s.healthy.Store(!s.refused)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// pause waits for d; false means that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// confirm ends the waiting for a subscription.
func (s *subscription) confirm(channel string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if confirmed, ours := s.own[channel]; ours {
		select {
		case <-confirmed:
		default:
			close(confirmed)
		}
	}
}
