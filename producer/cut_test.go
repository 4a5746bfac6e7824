package producer

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/wire"
)

// cutAll cuts n calls whose arguments encode to size bytes each.
func cutAll(t *testing.T, c *cutter, size int) (calls []int) {
	t.Helper()
	c.encode = func(lo, hi int, _ call.Reads) ([]byte, error) { return bytes.Repeat([]byte("x"), (hi-lo)*size), nil }
	chunks, at := 0, 0
	for !c.done() {
		batch, err := c.next(chunks)
		if err != nil {
			t.Fatal(err)
		}
		for _, chunk := range batch {
			first, n, _, err := wire.ParseArgs(chunk.Args)
			if err != nil || first != at || chunk.Number != chunks {
				t.Fatalf("chunk %d starts at call %d (%v), want chunk %d at call %d", chunk.Number, first, err, chunks, at)
			}
			at += n
			chunks++
			calls = append(calls, n)
		}
	}
	if at != c.calls {
		t.Fatalf("%d calls were cut, want %d", at, c.calls)
	}
	return calls
}

func TestAGivenChunkSizeIsKept(t *testing.T) {
	got := cutAll(t, &cutter{calls: 1000, size: 20, exact: true, maxArgument: 1 << 20}, 1)
	if len(got) != 50 || got[0] != 20 || got[49] != 20 {
		t.Errorf("chunks of %v calls", got)
	}
	if got := cutAll(t, &cutter{calls: 7, size: 3, exact: true, maxArgument: 1 << 20}, 1<<20); len(got) != 3 || got[2] != 1 {
		t.Errorf("chunks of %v calls, want 3, 3, 1", got)
	}
}

func TestAnAutomaticChunkIsBoundedByItsBytes(t *testing.T) {
	for _, n := range cutAll(t, &cutter{calls: 100, size: 100, maxArgument: 1 << 20}, 100_000) {
		if n*100_000 > chunkBytes {
			t.Errorf("a chunk of %d calls has %d bytes", n, n*100_000)
		}
	}
	if got := cutAll(t, &cutter{calls: 2, size: 2, maxArgument: 8 << 20}, 2<<20); len(got) != 2 {
		t.Errorf("arguments larger than a chunk should travel alone, not as %v", got)
	}
}

func TestAnArgumentThatIsTooLargeIsNamed(t *testing.T) {
	c := &cutter{calls: 5, size: 5, task: "square", maxArgument: 10}
	c.encode = func(lo, hi int, _ call.Reads) ([]byte, error) {
		n := 2 * (hi - lo)
		if lo <= 3 && 3 < hi {
			n += 20
		}
		return make([]byte, n), nil
	}
	_, err := c.next(0)
	if err == nil || !strings.Contains(err.Error(), "call 3") || !strings.Contains(err.Error(), "MaxArgument") {
		t.Errorf("error %v", err)
	}
}

func TestBadSettingsAreRefusedByName(t *testing.T) {
	for field, cfg := range map[string]Config{
		"Queue":       {Queue: "a{b}"},
		"ResultTTL":   {ResultTTL: -1},
		"JobTTL":      {JobTTL: time.Millisecond},
		"MaxArgument": {MaxArgument: -1},
	} {
		if err := cfg.withDefaults().validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: error %v", field, err)
		}
	}
	p := &Pool{&pool{cfg: Config{}.withDefaults()}}
	for name, o := range map[string]Option{"ChunkSize": ChunkSize(-1), "Queue": Queue(""), "ResultTTL": ResultTTL(0)} {
		if _, err := p.options([]Option{o}, false); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if o, err := p.options(nil, true); err != nil || o.ttl != blockingTTL {
		t.Errorf("a blocking form keeps its result for %v, %v", o.ttl, err)
	}
}

func TestOneLargeArgumentDoesNotShrinkTheChunksBehindIt(t *testing.T) {
	c := &cutter{calls: 1000, size: 250, maxArgument: 16 << 20, encode: func(lo, hi int, _ call.Reads) ([]byte, error) {
		n := 2 * (hi - lo)
		if lo == 0 {
			n += 5 << 20
		}
		return make([]byte, n), nil
	}}
	chunks := 0
	for !c.done() {
		batch, err := c.next(chunks)
		if err != nil {
			t.Fatal(err)
		}
		chunks += len(batch)
	}
	// 5 for the size, and one for each doubling on the way back to it.
	if chunks > 5+8 {
		t.Errorf("%d chunks, although only the first argument is large", chunks)
	}
}
