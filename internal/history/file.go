package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const suffix = ".jsonl"

// Writer appends the events of one process to its file. It is safe for concurrent
// use.
type Writer struct{ f *os.File }

// Create makes the file of the process in the folder dir. A process that is
// started again needs another name: its file must not exist.
func Create(dir, process string) (*Writer, error) {
	f, err := os.OpenFile(filepath.Join(dir, process+suffix), os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the history of %s: %w", process, err)
	}
	return &Writer{f}, nil
}

// Write appends e, at the present time unless it has one. When it has returned,
// the event outlives the process. It panics if that fails: a history with a hole
// proves nothing.
func (w *Writer) Write(e Event) {
	if e.At == 0 {
		e.At = time.Now().UnixNano()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = w.f.Write(append(line, '\n')) // one write, so that lines of several goroutines do not mix
	}
	if err != nil {
		panic(fmt.Sprintf("writing the history %s: %v", w.f.Name(), err))
	}
}

// Close closes the file.
func (w *Writer) Close() error { return w.f.Close() }

// Load reads all histories in the folder dir, and returns their events in the
// order of their times. The last line of a process that was killed while it wrote
// may be torn, and is left out.
func Load(dir string) ([]Event, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, err
	}
	var all []Event
	for _, name := range names {
		es, err := load(name)
		if err != nil {
			return nil, err
		}
		all = append(all, es...)
	}
	slices.SortStableFunc(all, func(a, b Event) int { return int(a.At - b.At) })
	return all, nil
}

func load(name string) ([]Event, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	process := strings.TrimSuffix(filepath.Base(name), suffix)
	var es []Event
	for r, n := bufio.NewReaderSize(f, 1<<20), 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return es, nil // what is left is a torn line, or nothing
		}
		if err != nil {
			return nil, err
		}
		e := Event{Process: process}
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		es = append(es, e)
	}
}
