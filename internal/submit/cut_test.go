package submit

import (
	"bytes"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/wire"
)

// cutAll cuts n calls whose arguments encode to size bytes each.
func cutAll(t *testing.T, c *Cutter, size int) (calls []int) {
	t.Helper()
	c.Encode = func(lo, hi int) ([]byte, error) { return bytes.Repeat([]byte("x"), (hi-lo)*size), nil }
	chunks, at := 0, 0
	for !c.Done() {
		batch, err := c.Next(chunks)
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
	if at != c.Calls {
		t.Fatalf("%d calls were cut, want %d", at, c.Calls)
	}
	return calls
}

func TestAGivenChunkSizeIsKept(t *testing.T) {
	got := cutAll(t, &Cutter{Calls: 1000, Size: 20, Exact: true, MaxArgument: 1 << 20}, 1)
	if len(got) != 50 || got[0] != 20 || got[49] != 20 {
		t.Errorf("chunks of %v calls", got)
	}
	if got := cutAll(t, &Cutter{Calls: 7, Size: 3, Exact: true, MaxArgument: 1 << 20}, 1<<20); len(got) != 3 || got[2] != 1 {
		t.Errorf("chunks of %v calls, want 3, 3, 1", got)
	}
}

func TestAnAutomaticChunkIsBoundedByItsBytes(t *testing.T) {
	for _, n := range cutAll(t, &Cutter{Calls: 100, Size: 100, MaxArgument: 1 << 20}, 100_000) {
		if n*100_000 > chunkBytes {
			t.Errorf("a chunk of %d calls has %d bytes", n, n*100_000)
		}
	}
	if got := cutAll(t, &Cutter{Calls: 2, Size: 2, MaxArgument: 8 << 20}, 2<<20); len(got) != 2 {
		t.Errorf("arguments larger than a chunk should travel alone, not as %v", got)
	}
}

func TestAnArgumentThatIsTooLargeIsNamed(t *testing.T) {
	c := &Cutter{Calls: 5, Size: 5, Task: "square", MaxArgument: 10}
	c.Encode = func(lo, hi int) ([]byte, error) {
		n := 2 * (hi - lo)
		if lo <= 3 && 3 < hi {
			n += 20
		}
		return make([]byte, n), nil
	}
	_, err := c.Next(0)
	if err == nil || !strings.Contains(err.Error(), "call 3") || !strings.Contains(err.Error(), "MaxArgument") {
		t.Errorf("error %v", err)
	}
}

func TestOneLargeArgumentDoesNotShrinkTheChunksBehindIt(t *testing.T) {
	c := &Cutter{Calls: 1000, Size: 250, MaxArgument: 16 << 20, Encode: func(lo, hi int) ([]byte, error) {
		n := 2 * (hi - lo)
		if lo == 0 {
			n += 5 << 20
		}
		return make([]byte, n), nil
	}}
	chunks := 0
	for !c.Done() {
		batch, err := c.Next(chunks)
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
