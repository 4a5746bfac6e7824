package chaos

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/distpool/distpool/internal/history"
)

// feed reads which jobs were accepted, as the producers write it down.
type feed struct {
	dir, except string

	mu   sync.Mutex // guards all below
	read map[string]int64
	jobs []history.Event
	seen map[string]bool
}

func newFeed(dir, except string) *feed {
	return &feed{dir: dir, except: except, read: map[string]int64{}, seen: map[string]bool{}}
}

// pick draws one of the jobs that were accepted last.
func (f *feed) pick(rng *rand.Rand) (history.Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.update()
	recent := f.jobs[max(0, len(f.jobs)-50):]
	if len(recent) == 0 {
		return history.Event{}, false
	}
	return recent[rng.IntN(len(recent))], true
}

// all returns every job that was accepted so far, each once.
func (f *feed) all() []history.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.update()
	return f.jobs[:len(f.jobs):len(f.jobs)]
}

func (f *feed) update() {
	names, _ := filepath.Glob(filepath.Join(f.dir, "p*.jsonl"))
	for _, name := range names {
		if strings.TrimSuffix(filepath.Base(name), ".jsonl") != f.except {
			f.readOn(name)
		}
	}
}

// accepted is how such an event begins to be interesting.
var accepted = []byte(`"what":"accepted"`)

func (f *feed) readOn(name string) {
	file, err := os.Open(name)
	if err != nil {
		return // it was listed a moment ago: we look again next time
	}
	defer file.Close()
	b, _ := io.ReadAll(io.NewSectionReader(file, f.read[name], 1<<62))
	whole := bytes.LastIndexByte(b, '\n') + 1
	f.read[name] += int64(whole)
	for line := range bytes.Lines(b[:whole]) {
		if !bytes.Contains(line, accepted) {
			continue
		}
		e := history.Event{Process: strings.TrimSuffix(filepath.Base(name), ".jsonl")}
		if json.Unmarshal(line, &e) == nil && !f.seen[e.Job] {
			f.seen[e.Job] = true
			f.jobs = append(f.jobs, e)
		}
	}
}
