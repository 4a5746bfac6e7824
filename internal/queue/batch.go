package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Bounds of one batch: Redis works on it in one script and answers nothing else meanwhile.
const (
	maxEntries = 64
	maxBytes   = 256 << 10 // but at least one entry, whatever its size
)

// sendTime bounds one try to send a batch, whatever the client's own time limits are.
const sendTime = 30 * time.Second

// Batch sends entries of concurrent goroutines together, lane by lane. What costs on a busy
// connection is the round trip and the call of a script, not the entry.
//
// Without Gather no entry waits for company: an entry that finds no batch of its lane under way goes
// out at once. Entries that come meanwhile gather, and go out together: the busier it gets, the more
// entries share a round trip.
//
// A Batch is safe for concurrent use. It holds no resources and needs no closing.
type Batch[E, A any] struct {
	// Send sends entries of one lane and returns an answer for each, or an error for all.
	Send func(ctx context.Context, lane string, entries []E) ([]A, error)
	// Size is how many bytes an entry has.
	Size func(E) int
	// Gather is how long an entry waits for others. It is for entries that no caller waits for.
	Gather time.Duration

	crew  crew       // sends
	mu    sync.Mutex // guards all below
	lines map[string]*line[E, A]
}

// line is what is on its way to one lane.
type line[E, A any] struct {
	underWay  bool
	waiting   []item[E, A]
	gathering bool // a timer starts what waits
	came      int  // entries so far
	answered  int  // of these, in the order in which they came
	settling  []settling
}

// settling waits until so many entries of a line are answered.
type settling struct {
	came     int
	answered chan struct{} // closed then
}

type item[E, A any] struct {
	entry E
	done  func(A, error)
}

func (b *Batch[E, A]) line(lane string) *line[E, A] {
	l := b.lines[lane]
	if l == nil {
		if b.lines == nil {
			b.lines = map[string]*line[E, A]{}
		}
		l = new(line[E, A])
		b.lines[lane] = l
	}
	return l
}

// Do sends an entry and waits for its answer. When ctx ends first it is not known whether
// the entry was taken.
func (b *Batch[E, A]) Do(ctx context.Context, lane string, entry E) (A, error) {
	type reply struct {
		answer A
		err    error
	}
	replies := make(chan reply, 1)
	b.Go(lane, entry, func(a A, err error) { replies <- reply{a, err} })
	select {
	case r := <-replies:
		return r.answer, r.err
	case <-ctx.Done():
		var none A
		return none, context.Cause(ctx)
	}
}

// SettleAll is Settle for every lane.
func (b *Batch[E, A]) SettleAll() {
	b.mu.Lock()
	lanes := slices.Collect(maps.Keys(b.lines))
	b.mu.Unlock()
	for _, lane := range lanes {
		b.Settle(lane)
	}
}

// Settle waits until all that was sent to the lane before has its answer.
func (b *Batch[E, A]) Settle(lane string) {
	b.mu.Lock()
	l := b.line(lane)
	b.start(lane, l)
	if l.answered == l.came {
		b.mu.Unlock()
		return
	}
	answered := make(chan struct{})
	l.settling = append(l.settling, settling{l.came, answered})
	b.mu.Unlock()
	<-answered
}

// Go sends an entry and does not wait. done is called with the answer, on a goroutine that
// serves other entries too and must not be held up.
func (b *Batch[E, A]) Go(lane string, entry E, done func(A, error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.line(lane)
	l.waiting = append(l.waiting, item[E, A]{entry, done})
	l.came++
	if b.Gather == 0 {
		b.start(lane, l)
	} else if !l.gathering {
		l.gathering = true
		time.AfterFunc(b.Gather, func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			l.gathering = false
			b.start(lane, l)
		})
	}
}

// start starts a goroutine that sends what waits, unless one is at it. It is called with mu held.
func (b *Batch[E, A]) start(lane string, l *line[E, A]) {
	if len(l.waiting) > 0 && !l.underWay {
		l.underWay = true
		b.crew.run(func() { b.run(lane, l) })
	}
}

// run sends batches until nothing waits.
func (b *Batch[E, A]) run(lane string, l *line[E, A]) {
	for answered := 0; ; {
		b.mu.Lock()
		l.settle(answered)
		items := l.next(b.Size)
		l.underWay = len(items) > 0
		b.mu.Unlock()
		if len(items) == 0 {
			return
		}
		entries := make([]E, len(items))
		for i, it := range items {
			entries[i] = it.entry
		}
		answers, err := b.send(context.Background(), lane, entries)
		for i, it := range items {
			it.done(answers[i], err)
		}
		answered = len(items)
	}
}

// settle notes that n entries more are answered. It is called with the batch's mu held.
func (l *line[E, A]) settle(n int) {
	l.answered += n
	for len(l.settling) > 0 && l.settling[0].came <= l.answered {
		close(l.settling[0].answered)
		l.settling = l.settling[1:]
	}
}

// next takes the items of the next batch off the line.
func (l *line[E, A]) next(size func(E) int) []item[E, A] {
	n, bytes := 0, 0
	for n < len(l.waiting) && n < maxEntries {
		bytes += size(l.waiting[n].entry)
		if n > 0 && bytes > maxBytes {
			break
		}
		n++
	}
	items := l.waiting[:n:n]
	if n == len(l.waiting) {
		l.waiting = nil
	} else {
		l.waiting = l.waiting[n:]
	}
	return items
}

// send returns one answer for each entry in any case.
func (b *Batch[E, A]) send(ctx context.Context, lane string, entries []E) ([]A, error) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	answers, err := b.Send(ctx, lane, entries)
	if err == nil && len(answers) != len(entries) {
		err = fmt.Errorf("%d answers to %d entries in lane %s", len(answers), len(entries), lane)
	}
	if err != nil {
		answers = make([]A, len(entries))
	}
	return answers, err
}
