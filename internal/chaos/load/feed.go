package load

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

// Feed reads which jobs were accepted, as the producers write it down.
type Feed struct {
	dir, except string

	mu   sync.Mutex // guards all below
	read map[string]int64
	jobs []history.Event
	seen map[string]bool
}

// NewFeed returns a feed of a folder of histories, but for those of one process.
func NewFeed(dir, except string) *Feed {
	return &Feed{dir: dir, except: except, read: map[string]int64{}, seen: map[string]bool{}}
}

// pick draws one of the jobs that were accepted last.
func (f *Feed) pick(rng *rand.Rand) (history.Event, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.update()
	recent := f.jobs[max(0, len(f.jobs)-50):]
	if len(recent) == 0 {
		return history.Event{}, false
	}
	return recent[rng.IntN(len(recent))], true
}

// All returns every job that was accepted so far, each once.
func (f *Feed) All() []history.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.update()
	return f.jobs[:len(f.jobs):len(f.jobs)]
}

func (f *Feed) update() {
	names, _ := filepath.Glob(filepath.Join(f.dir, "p*.jsonl"))
	for _, name := range names {
		if strings.TrimSuffix(filepath.Base(name), ".jsonl") != f.except {
			f.readOn(name)
		}
	}
}

// accepted is how such an event begins to be interesting.
var accepted = []byte(`"what":"accepted"`)

func (f *Feed) readOn(name string) {
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
