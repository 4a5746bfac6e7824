// Package live keeps open pages up to date: it reads and renders what browsers watch in
// rounds, and sends it to them as streams of server-sent events.
package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/inspect"
)

// An open page says within 5 s that Redis does not answer, and is live within 5 s
// once it does. The times below add up to less. A round begins 2 s after the end of
// the one before at the latest, and 3 s after its beginning unless it took that long; it
// finds within partTime that Redis is away.
const (
	// maxStreams bounds the event streams that are open at the same time.
	maxStreams = 200
	// liveEvery is the shortest time between two rounds of reading. After a round
	// that took long, reading waits nine times as long, up to longestPause, and begins
	// again within longestRound where it can.
	liveEvery    = time.Second
	longestPause = 2 * time.Second
	longestRound = 3 * time.Second
	// partTime bounds the two parts of a round, whatever is watched: to prepare it, and
	// to read the pages.
	partTime = 1500 * time.Millisecond
	// maxRenders is how many pages a round reads at the same time.
	maxRenders = 8
	// streamTime is how long a stream may stay open. Browsers open it again, and
	// have to prove anew that they may.
	streamTime = 10 * time.Minute
	// writeTime is how long a write to a stream may take.
	writeTime = 30 * time.Second
)

// Feed feeds all event streams. What several browsers watch is read and rendered
// once for all of them, in rounds, which run only while there are streams.
type Feed struct {
	render  func(ctx context.Context, topic string) (html string, at time.Time, err error)
	prepare func(ctx context.Context) error
	log     *slog.Logger

	mu      sync.Mutex // guards all below
	topics  map[string]*topic
	streams int
	running bool
	closed  bool
	stop    context.CancelFunc // of the goroutine
	done    sync.WaitGroup
}

// topic is a page that is being watched.
type topic struct {
	watchers map[chan news]bool // each has room for one: the latest
	last     news
}

// news is what is known of a page after a round.
type news struct {
	html  string    // the part that is kept up to date
	at    time.Time // when that was read
	fault string    // why the last round could not read it; "" when it did
}

// New makes a feed. render makes the HTML of a page that is watched, and says when what
// it shows was read. prepare begins each round; an error ends it. Close ends the feed.
func New(log *slog.Logger, render func(context.Context, string) (string, time.Time, error), prepare func(context.Context) error) *Feed {
	return &Feed{render: render, prepare: prepare, log: log, topics: map[string]*topic{}, stop: func() {}}
}

// watch adds a stream; ok is false when there are too many. After each round there
// is news in the channel, which is closed at the end of all streams.
func (l *Feed) watch(name string) (updates chan news, leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.streams >= maxStreams {
		return nil, nil, false
	}
	l.streams++
	t := l.topics[name]
	if t == nil {
		t = &topic{watchers: map[chan news]bool{}}
		l.topics[name] = t
	}
	updates = make(chan news, 1)
	t.watchers[updates] = true
	if t.last != (news{}) {
		updates <- t.last
	}
	if !l.running {
		l.running = true
		ctx, stop := context.WithCancel(context.Background())
		l.stop = stop
		l.done.Go(func() { l.run(ctx) })
	}
	return updates, func() { l.leave(name, updates) }, true
}

func (l *Feed) leave(name string, updates chan news) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil || !t.watchers[updates] {
		return
	}
	l.streams--
	delete(t.watchers, updates)
	if len(t.watchers) == 0 {
		delete(l.topics, name)
	}
}

// run reads what is watched, until nothing is.
func (l *Feed) run(ctx context.Context) {
	failing := false
	for {
		began := time.Now()
		names, more := l.watched()
		if !more {
			return
		}
		err := l.round(ctx, names)
		took := time.Since(began)
		pause := max(liveEvery, min(9*took, longestPause, longestRound-took))
		if err != nil {
			pause = liveEvery
		}
		if (err != nil) != failing && ctx.Err() == nil {
			if failing = err != nil; failing {
				l.log.Warn("Redis cannot be read: open pages are stale", "error", err)
			} else {
				l.log.Info("Redis can be read again: open pages are live")
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			l.mu.Lock()
			l.running = false
			l.mu.Unlock()
			return
		}
	}
}

// round reads and renders the topics, and publishes what came of each. It returns an
// error when there was no time to read all of them.
func (l *Feed) round(ctx context.Context, names []string) error {
	first, cancel := context.WithTimeout(ctx, partTime)
	defer cancel()
	if err := l.prepare(first); err != nil {
		for _, name := range names {
			l.publish(name, "", time.Time{}, err)
		}
		return err
	}
	ctx, cancel = context.WithTimeout(ctx, partTime)
	defer cancel()
	var renders sync.WaitGroup
	free := make(chan struct{}, maxRenders)
	for _, name := range names {
		free <- struct{}{}
		renders.Go(func() {
			defer func() { <-free }()
			html, at, err := l.render(ctx, name)
			l.publish(name, html, at, err)
		})
	}
	renders.Wait()
	return context.Cause(ctx)
}

// watched lists the topics; more is false when the goroutine is to end.
func (l *Feed) watched() (names []string, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.topics {
		names = append(names, name)
	}
	if len(names) == 0 {
		l.running = false
	}
	return names, len(names) > 0
}

// publish hands what came of a topic to its watchers.
func (l *Feed) publish(name, html string, at time.Time, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil {
		return
	}
	if err != nil {
		t.last.fault = Fault(err)
	} else {
		t.last = news{html: html, at: at}
	}
	for c := range t.watchers {
		select {
		case <-c: // it has not taken the one before: the latest is enough
		default:
		}
		c <- t.last
	}
}

// Fault says in a few words why Redis could not be read.
func Fault(err error) string {
	var reply redis.Error
	switch {
	case errors.As(err, &reply):
		short, _ := inspect.Cut(reply.Error(), 200)
		return "Redis refuses to be read: " + short
	case errors.Is(err, context.DeadlineExceeded):
		return "Redis does not answer in time."
	}
	return "Redis cannot be reached."
}

// Idle reports whether nothing is watched, and nothing runs.
func (l *Feed) Idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams == 0 && !l.running && len(l.topics) == 0
}

// Close ends all streams, and what feeds them.
func (l *Feed) Close() {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		for _, t := range l.topics {
			for c := range t.watchers {
				close(c)
			}
		}
		l.topics, l.streams = map[string]*topic{}, 0
	}
	l.stop()
	l.mu.Unlock()
	l.done.Wait()
}

// Serve is the stream of a page. The event "page" carries its live part as HTML, in
// JSON, when it has changed. After each round comes either "fresh", with the Unix time
// in ms at which what the page shows was read, or "stale", with the reason why it could
// not be read, in JSON. So a page that hears nothing for two rounds is stale, too.
func (l *Feed) Serve(w http.ResponseWriter, r *http.Request, page string) {
	updates, leave, ok := l.watch(page)
	if !ok {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many pages are open.", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	send := func(s string) bool {
		_ = out.SetWriteDeadline(time.Now().Add(writeTime)) // a test's recorder cannot
		if _, err := fmt.Fprint(w, s); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if !send("retry: 2000\n\n") {
		return
	}
	end := time.NewTimer(streamTime)
	defer end.Stop()
	shown := ""
	for {
		select {
		case n, more := <-updates:
			if !more || !send(n.events(shown)) {
				return
			}
			shown = n.html
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// events is n for a stream that has sent the HTML before.
func (n news) events(before string) (s string) {
	if n.html != before {
		s = event("page", n.html)
	}
	if n.fault != "" {
		return s + event("stale", n.fault)
	}
	return s + event("fresh", n.at.UnixMilli())
}

func event(name string, data any) string {
	b, _ := json.Marshal(data) // a string or number always encodes
	return "event: " + name + "\ndata: " + string(b) + "\n\n"
}
