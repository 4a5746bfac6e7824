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

const (
	// smallBatch is the largest number of entries of a batch beside which another batch is sent.
	smallBatch = 1
	// slowBatch is the shortest time of a round trip for which a second batch is sent, whatever the first has.
	slowBatch = 5 * time.Millisecond
)

// sendTime bounds one try to send a batch, whatever the client's own time limits are.
const sendTime = 30 * time.Second

// Batch sends entries of concurrent goroutines together, lane by lane. What costs on a busy
// connection is the round trip and the call of a script, not the entry.
//
// Without Gather no entry waits for company: an entry that finds no batch of its lane under way goes
// out at once, and so does one that finds a single batch that is small or slow. Entries that come
// meanwhile gather, and go out together: the busier it gets, the more entries share a round trip.
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
	underWay  []int         // batches, each by the number of its first entry or of one before
	last      int           // entries of the batch that was sent last
	took      time.Duration // of the batch that was answered last
	waiting   []item[E, A]
	gathering bool // a timer starts what waits
	came      int  // entries so far: their numbers are less
	settling  []settling
}

// settling waits until all entries of a line with smaller numbers are answered.
type settling struct {
	number   int
	answered chan struct{} // closed then
}

// hasRoom reports whether one more batch may be sent. Two large ones would only be twice as many: the
// first keeps Redis busy. But if few callers share a line, or the way is long, none should wait for
// the round trip of another.
func (l *line[E, A]) hasRoom() bool {
	switch len(l.underWay) {
	case 0:
		return true
	case 1:
		return l.last <= smallBatch || l.took >= slowBatch
	}
	return false
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
	answered := make(chan struct{})
	l.settling = append(l.settling, settling{l.came, answered})
	l.settle()
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

// start starts a goroutine that sends what waits, if there is room. It is called with mu held.
func (b *Batch[E, A]) start(lane string, l *line[E, A]) {
	if first, ok := l.begin(); ok {
		b.crew.run(func() { b.run(lane, l, first) })
	}
}

// begin notes a batch of what waits, or of a part of it. It is called with the batch's mu held.
func (l *line[E, A]) begin() (first int, ok bool) {
	if len(l.waiting) == 0 || !l.hasRoom() {
		return 0, false
	}
	first = l.came - len(l.waiting)
	l.underWay = append(l.underWay, first)
	return first, true
}

// run sends a batch that has begun, and others as long as something waits and there is room.
func (b *Batch[E, A]) run(lane string, l *line[E, A], first int) {
	for ok := true; ok; {
		b.mu.Lock()
		items := l.next(b.Size)
		b.mu.Unlock()
		began := time.Now()
		if len(items) > 0 { // another batch may have taken all
			b.sendItems(lane, items)
		}
		b.mu.Lock()
		l.took = time.Since(began)
		i := slices.Index(l.underWay, first)
		l.underWay = slices.Delete(l.underWay, i, i+1)
		l.settle()
		first, ok = l.begin()
		b.mu.Unlock()
	}
}

func (b *Batch[E, A]) sendItems(lane string, items []item[E, A]) {
	entries := make([]E, len(items))
	for i, it := range items {
		entries[i] = it.entry
	}
	answers, err := b.send(context.Background(), lane, entries)
	for i, it := range items {
		it.done(answers[i], err)
	}
}

// settle tells those of which all entries are answered. It is called with the batch's mu held.
func (l *line[E, A]) settle() {
	oldest := l.came - len(l.waiting)
	for _, first := range l.underWay {
		oldest = min(oldest, first)
	}
	l.settling = slices.DeleteFunc(l.settling, func(s settling) bool {
		if s.number <= oldest {
			close(s.answered)
		}
		return s.number <= oldest
	})
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
	l.last = n
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
