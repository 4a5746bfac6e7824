// Package listen listens to channels of Redis, and knows whether it can.
//
// On a Cluster a channel with a hash tag is a sharded one: it is with the master of its slot, and
// messages do not take the Cluster's bus. Where Redis refuses that (before version 7, behind a proxy,
// or without the right to it), and for channels without a tag, a subscription is a plain one.
//
// Neither go-redis nor Redis keeps a sharded subscription alive: when its slot goes to another
// master, Redis ends it (sunsubscribe), and a new one must be made there. So there is one rule for all
// that can go wrong: the connection is given up, a new one is made, and the user of this package
// hears that messages may have been missed.
package listen

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Config is what a Listener listens on, and what it calls. Its functions are called by one goroutine
// for each connection, and hold up its messages.
type Config struct {
	Redis redis.UniversalClient
	// Silence is how long a connection may be silent before it is asked whether it still stands;
	// silence for as long again means that it does not.
	Silence time.Duration
	// Message gets each message.
	Message func(channel, payload string)
	// Subscribed is called each time that Redis has confirmed a subscription: messages may have
	// been missed before. May be nil.
	Subscribed func(channel string)
	// Refused is called when Redis answers, and refuses a subscription: once, until it is confirmed.
	Refused func(error)
}

// Listener listens to channels that come and go. It is safe for concurrent use.
type Listener struct {
	cfg     Config
	cluster *redis.ClusterClient // nil: it is none
	ctx     context.Context      // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup // of lines

	mu    sync.Mutex       // guards all below, and what lines say
	lines map[string]*line // by hash tag on a Cluster; else there is one
}

// New makes a Listener without channels. Its user must Close it.
func New(cfg Config) *Listener {
	l := &Listener{cfg: cfg, lines: map[string]*line{}}
	l.cluster, _ = cfg.Redis.(*redis.ClusterClient)
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// Close ends all subscriptions. No function of the Config is called after it.
func (l *Listener) Close() {
	l.mu.Lock()
	l.stop()
	l.mu.Unlock()
	l.running.Wait()
}

// Healthy reports whether messages of all channels can be expected to come.
func (l *Listener) Healthy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ln := range l.lines {
		if !ln.healthy {
			return false
		}
	}
	return true
}

// Add listens to a channel. It does not wait. The answer is whether Redis has confirmed or refused
// that before, or it was given up.
func (l *Listener) Add(channel string) (answered bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tag := l.tagOf(channel)
	ln := l.lines[tag]
	if ln == nil {
		ln = l.newLine(tag)
	}
	if a, ok := ln.channels[channel]; ok {
		return a.given()
	}
	ln.channels[channel] = &answer{came: make(chan struct{})}
	ln.change(channel)
	return false
}

// Remove ends listening to a channel. It does not wait.
func (l *Listener) Remove(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ln := l.lines[l.tagOf(channel)]
	if ln == nil {
		return
	}
	delete(ln.channels, channel)
	if len(ln.channels) == 0 {
		ln.stop()
		delete(l.lines, ln.tag)
		return
	}
	ln.change(channel)
}

// Await waits until Redis has confirmed or refused the subscription to a channel that was added. It
// returns the refusal; of a context that ends first, its cause and what went wrong meanwhile.
func (l *Listener) Await(ctx context.Context, channel string) error {
	l.mu.Lock()
	ln := l.lines[l.tagOf(channel)]
	var a *answer
	if ln != nil {
		a = ln.channels[channel]
	}
	l.mu.Unlock()
	if a == nil {
		return fmt.Errorf("channel %s was not added", channel)
	}
	select {
	case <-a.came:
	case <-l.ctx.Done():
	case <-ctx.Done():
		l.mu.Lock()
		defer l.mu.Unlock()
		if ln.trouble != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), ln.trouble)
		}
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return a.refusal
}

// GiveUp has no later Add or Await wait for the first answer about a channel.
func (l *Listener) GiveUp(channel string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ln := l.lines[l.tagOf(channel)]; ln != nil {
		ln.channels[channel].give(nil)
	}
}

// tagOf is the hash tag of a channel on a Cluster; "" if it has none.
func (l *Listener) tagOf(channel string) string {
	if l.cluster == nil {
		return ""
	}
	_, rest, _ := strings.Cut(channel, "{")
	tag, _, _ := strings.Cut(rest, "}")
	return tag
}

// answer is what Redis first said about a channel. Nil is none.
type answer struct {
	came    chan struct{} // closed when it came
	refusal error
}

func (a *answer) given() bool {
	select {
	case <-a.came:
		return true
	default:
		return false
	}
}

func (a *answer) give(refusal error) {
	if a != nil && !a.given() {
		a.refusal = refusal
		close(a.came)
	}
}
