package fleet

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/bounds"
	"github.com/distpool/distpool/internal/nested"
)

// An entry may have been written by any program: it is refused or sane, and nothing panics.
func FuzzParseWorker(f *testing.F) {
	entry, err := json.Marshal(Worker{ID: "w", Concurrency: 2, Queues: map[string]int{"q": 1}, Tasks: []string{"t"}, Held: []nested.HeldSlot{{Job: "J", Waits: []nested.Wait{{Number: 1}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("w", string(entry))
	f.Add("w", `{"id":"w","concurrency":9223372036854775807}`)
	f.Add("w", `{"id":"w","concurrency":1,"held":[{},{},{}]}`)
	f.Add("w", strings.Repeat("[", 20000))
	f.Fuzz(func(t *testing.T, id, entry string) {
		w, ok := parseWorker(id, entry)
		if !ok {
			return
		}
		waits := 0
		for _, h := range w.Held {
			waits += len(h.Waits)
		}
		if w.ID != id || w.Concurrency < 0 || w.Concurrency > bounds.Slots || len(w.Held) > w.Concurrency || waits > nested.MaxWaits {
			t.Fatalf("accepted as %+v", w)
		}
	})
}
