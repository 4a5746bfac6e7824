package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// maxStreams bounds the event streams that are open at the same time.
	maxStreams = 200
	// liveEvery is how often what is watched is read again. When reading takes
	// long it is done less often: it takes a tenth of the time at the most.
	liveEvery = time.Second
	// renderTime bounds the reading for one page.
	renderTime = 5 * time.Second
	// streamTime is how long a stream may stay open. Browsers open it again, and
	// have to prove anew that they may.
	streamTime = 10 * time.Minute
	// keepAlive is how often a stream in which nothing happens is written to.
	keepAlive = 15 * time.Second
)

// live feeds all event streams. What several browsers watch is read and rendered
// once for all of them, by one goroutine, which runs only while there are
// streams.
type live struct {
	render func(ctx context.Context, topic string) (html string, err error)
	sample func(ctx context.Context) // once for each round

	mu      sync.Mutex // guards all below
	topics  map[string]*topic
	streams int
	running bool
	closed  bool
	stop    context.CancelFunc // of the goroutine
	done    sync.WaitGroup
}

// topic is a page that somebody watches.
type topic struct {
	watchers map[chan string]bool // each has room for one: the latest
	last     string
}

func newLive(render func(context.Context, string) (string, error), sample func(context.Context)) *live {
	return &live{render: render, sample: sample, topics: map[string]*topic{}, stop: func() {}}
}

// watch adds a stream; ok is false when there are too many. Updates come through
// the channel, which is closed at the end of all streams.
func (l *live) watch(name string) (updates chan string, leave func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.streams >= maxStreams {
		return nil, nil, false
	}
	l.streams++
	t := l.topics[name]
	if t == nil {
		t = &topic{watchers: map[chan string]bool{}}
		l.topics[name] = t
	}
	updates = make(chan string, 1)
	t.watchers[updates] = true
	if t.last != "" {
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

func (l *live) leave(name string, updates chan string) {
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

// run renders what is watched, until nothing is.
func (l *live) run(ctx context.Context) {
	for {
		began := time.Now()
		names, more := l.watched()
		if !more {
			return
		}
		l.sample(ctx)
		for _, name := range names {
			renderCtx, cancel := context.WithTimeout(ctx, renderTime)
			html, err := l.render(renderCtx, name)
			cancel()
			if ctx.Err() != nil {
				break
			}
			if err == nil {
				l.publish(name, html)
			}
		}
		pause := time.NewTimer(max(liveEvery, 9*time.Since(began)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			l.mu.Lock()
			l.running = false
			l.mu.Unlock()
			return
		}
	}
}

// watched lists the topics; more is false when the goroutine is to end.
func (l *live) watched() (names []string, more bool) {
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

// publish hands a page to those who watch it, if it has changed.
func (l *live) publish(name, html string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[name]
	if t == nil || t.last == html {
		return
	}
	t.last = html
	for c := range t.watchers {
		select {
		case <-c: // it has not taken the one before: the latest is enough
		default:
		}
		c <- html
	}
}

// close ends all streams.
func (l *live) close() {
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

// events is the stream of a page: GET /events?page=/jobs%3Ftask%3Dx. Each event
// "page" carries the live part of the page as HTML, in JSON.
func (m *Monitor) events(w http.ResponseWriter, r *http.Request) {
	u, err := url.Parse(r.URL.Query().Get("page"))
	if err != nil || len(u.RequestURI()) > 2000 || !m.isLivePage(u.Path) {
		http.Error(w, "There are no events for this page.", http.StatusBadRequest)
		return
	}
	updates, leave, ok := m.live.watch(u.RequestURI())
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
		_ = out.SetWriteDeadline(time.Now().Add(writeTimeout)) // a test's recorder cannot
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
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		var ok bool
		select {
		case html, more := <-updates:
			if !more {
				return
			}
			data, _ := json.Marshal(html) // a string always encodes
			ok = send("event: page\ndata: " + string(data) + "\n\n")
		case <-alive.C:
			ok = send(": alive\n\n")
		case <-end.C:
			return
		case <-r.Context().Done():
			return
		}
		if !ok {
			return
		}
	}
}
