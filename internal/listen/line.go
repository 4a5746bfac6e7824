package listen

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/redis/go-redis/v9"
)

// refusedAgain is the time between two tries to subscribe where Redis refuses.
const refusedAgain = 5 * time.Second

// line is one connection after the other, to channels of one slot, or to all plain ones.
type line struct {
	l    *Listener
	tag  string
	stop context.CancelFunc

	// Guarded by l.mu:
	channels map[string]*answer
	pubsub   *redis.PubSub // nil: between two connections
	sharded  bool          // pubsub is
	healthy  bool          // pubsub is subscribed
	trouble  error         // what ended the last connection

	changing sync.Mutex // held by what has pubsub begin or end listening to a channel
}

// newLine begins to listen to channels that are added to the line. It is called with l.mu held.
func (l *Listener) newLine(tag string) *line {
	ctx, stop := context.WithCancel(l.ctx)
	ln := &line{l: l, tag: tag, stop: stop, channels: map[string]*answer{}}
	l.lines[tag] = ln
	if ctx.Err() == nil {
		l.running.Go(func() { ln.run(ctx) })
	}
	return ln
}

// change has the connection begin or end listening to a channel that was added or removed. If that
// cannot be sent, the next connection does so. It is called with l.mu held, and does not wait for
// go-redis, which may have to connect.
func (ln *line) change(channel string) {
	if ln.l.ctx.Err() != nil {
		return
	}
	ln.l.running.Go(func() {
		ln.changing.Lock()
		defer ln.changing.Unlock()
		ln.l.mu.Lock()
		_, listen := ln.channels[channel] // it may have changed again meanwhile
		pubsub, sharded := ln.pubsub, ln.sharded
		ln.l.mu.Unlock()
		switch {
		case pubsub == nil: // the next one begins with all channels
		case listen:
			_ = subscribe(ln.l.ctx, pubsub, sharded, channel)
		case sharded:
			_ = pubsub.SUnsubscribe(ln.l.ctx, channel)
		default:
			_ = pubsub.Unsubscribe(ln.l.ctx, channel)
		}
	})
}

func subscribe(ctx context.Context, pubsub *redis.PubSub, sharded bool, channels ...string) error {
	if sharded {
		return pubsub.SSubscribe(ctx, channels...)
	}
	return pubsub.Subscribe(ctx, channels...)
}

// run listens until ctx ends.
func (ln *line) run(ctx context.Context) {
	retry := backoff.NewExponentialBackOff()
	retry.InitialInterval, retry.MaxInterval = 20*time.Millisecond, time.Second
	sharded, refused := ln.tag != "", false
	heard := func() {
		retry.Reset()
		refused = false
	}
	for {
		err := ln.connection(ctx, sharded, heard)
		if ctx.Err() != nil {
			return
		}
		wait := retry.NextBackOff()
		if reply, ok := errors.AsType[redis.Error](err); ok && !passing(reply) {
			if sharded {
				sharded = false
				continue
			}
			wait = refusedAgain
			ln.refuse(err)
			if !refused {
				refused = true
				ln.l.cfg.Refused(err)
			}
		}
		sharded = ln.tag != ""
		if ln.l.cluster != nil {
			ln.l.cluster.ReloadState(ctx)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// passing reports whether a reply says that the slot is elsewhere or the server not ready, and
// nothing about subscriptions.
func passing(reply redis.Error) bool {
	word, _, _ := strings.Cut(reply.Error(), " ")
	return slices.Contains([]string{"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "MASTERDOWN", "LOADING"}, word)
}

// connection connects, subscribes to all channels and receives, until something goes wrong. heard is
// called with each sign of a subscription.
func (ln *line) connection(ctx context.Context, sharded bool, heard func()) (err error) {
	var pubsub *redis.PubSub // connects when it is first used
	if sharded {
		pubsub = ln.l.cluster.SSubscribe(ctx)
	} else {
		pubsub = ln.l.cfg.Redis.Subscribe(ctx)
	}
	defer func() { _ = pubsub.Close() }()
	ended := context.AfterFunc(ctx, func() { _ = pubsub.Close() }) // or Receive would not end
	defer ended()
	ln.changing.Lock() // a channel that is removed meanwhile would stay
	ln.l.mu.Lock()
	ln.pubsub, ln.sharded = pubsub, sharded
	channels := slices.Collect(maps.Keys(ln.channels))
	ln.l.mu.Unlock()
	defer func() {
		ln.l.mu.Lock()
		ln.pubsub, ln.healthy, ln.trouble = nil, false, err
		ln.l.mu.Unlock()
	}()
	err = subscribe(ctx, pubsub, sharded, channels...)
	ln.changing.Unlock()
	if err != nil {
		return err
	}
	asked := false // a ping is unanswered
	for {
		msg, err := pubsub.ReceiveTimeout(ctx, ln.l.cfg.Silence)
		switch {
		case err == nil:
			asked = false
			if err := ln.take(msg, heard); err != nil {
				return err
			}
		case isTimeout(err) && !asked:
			asked = true
			if err := pubsub.Ping(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

var errMoved = errors.New("the subscription was ended by Redis: the slot of the channel went to another master")

func (ln *line) take(msg any, heard func()) error {
	switch m := msg.(type) {
	case *redis.Message:
		heard()
		ln.l.cfg.Message(m.Channel, m.Payload)
	case *redis.Subscription:
		ln.l.mu.Lock()
		a, ok := ln.channels[m.Channel]
		begun := m.Kind == "subscribe" || m.Kind == "ssubscribe"
		if begun {
			ln.healthy = true
			a.give(nil)
		}
		ln.l.mu.Unlock()
		switch {
		case begun:
			heard()
			if ok && ln.l.cfg.Subscribed != nil {
				ln.l.cfg.Subscribed(m.Channel)
			}
		case ok && m.Kind == "sunsubscribe":
			return errMoved
		}
	}
	return nil
}

// refuse has all channels without an answer refused.
func (ln *line) refuse(err error) {
	ln.l.mu.Lock()
	defer ln.l.mu.Unlock()
	for _, a := range ln.channels {
		a.give(err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
