package stream

import "time"

const (
	// A chunk of a stream shall hold this much work.
	minChunkWork = 50 * time.Millisecond
	maxChunkWork = 200 * time.Millisecond
	// streamChunk is the calls that a chunk of a stream may hold, streamBytes the
	// bytes of arguments or values, and streamWindow the bytes of a whole window.
	streamChunk  = 1 << 16
	streamBytes  = 256 << 10
	streamWindow = 16 << 20
	// maxSample is how many chunks a measurement of a pace takes at most.
	maxSample = 8
)

// pace finds out how many calls of a stream shall travel together.
//
// It measures on the producer, so that workers need not report anything: how
// long slots were busy (the chunks on their way, but no more than there are
// slots, integrated over time), divided by the calls that ended meanwhile, is
// what a call costs. That is right for a loop or an input that is slow, since
// then few chunks are on their way. What it cannot tell from work is the cost of
// travelling, and waiting behind other jobs. The first makes small chunks look
// dear: they grow a little slower than they could, and never too far, since the
// cost of a call can only turn out to be less in a larger chunk. The second makes
// chunks smaller than need be while it lasts.
type pace struct {
	size  int // calls per chunk
	slots int

	onTheWay int // chunks
	noted    time.Time

	// Since the last measurement.
	busy     time.Duration
	chunks   int
	calls    int
	outBytes int // of these calls
	sent     int // calls
	argBytes int // of these
}

// note moves the clock on.
func (p *pace) note(now time.Time) {
	p.busy += now.Sub(p.noted) * time.Duration(min(p.onTheWay, p.slots))
	p.noted = now
}

// depart notes a chunk that was sent.
func (p *pace) depart(bytes int) {
	p.onTheWay++
	p.argBytes += bytes
}

// arrive notes a chunk whose outcomes are here.
func (p *pace) arrive(calls, bytes int) {
	p.onTheWay--
	p.chunks++
	p.calls += calls
	p.outBytes += bytes
}

// adapt changes size, once enough was seen.
func (p *pace) adapt(most int) {
	if p.chunks < min(p.slots, maxSample) {
		return
	}
	perCall := max(1, p.busy/time.Duration(p.calls))
	switch work := perCall * time.Duration(p.size); {
	case work < minChunkWork:
		p.size *= 2
	case work > maxChunkWork:
		p.size = int((minChunkWork + maxChunkWork) / 2 / perCall)
	}
	perChunk := min(streamBytes, streamWindow/(4*p.slots))
	for _, seen := range []struct{ bytes, calls int }{{p.outBytes, p.calls}, {p.argBytes, p.sent}} {
		if seen.bytes > 0 && seen.calls > 0 {
			p.size = min(p.size, perChunk*seen.calls/seen.bytes)
		}
	}
	p.size = max(1, min(p.size, most, streamChunk))
	p.busy, p.chunks, p.calls, p.outBytes, p.sent, p.argBytes = 0, 0, 0, 0, 0, 0
}
