package history

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

func TestHistoriesOfSeveralProcessesAreReadInTheOrderOfTime(t *testing.T) {
	dir := t.TempDir()
	for i, process := range []string{"a", "b"} {
		w, err := Create(dir, process)
		if err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			w.Write(Event{At: int64(10*n + i + 1), What: Ran, Run: process})
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	es, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var order []int64
	for _, e := range es {
		order = append(order, e.At)
		if e.Process != e.Run {
			t.Errorf("an event of process %q is said to be of %q", e.Run, e.Process)
		}
	}
	if want := []int64{1, 2, 11, 12, 21, 22}; !slices.Equal(order, want) {
		t.Errorf("times %v, want %v", order, want)
	}
}

func TestLinesOfSeveralGoroutinesDoNotMix(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	const goroutines, each = 8, 200
	for range goroutines {
		wg.Go(func() {
			for range each {
				w.Write(Event{What: Got, Outs: make([]Outcome, 100)})
			}
		})
	}
	wg.Wait()
	if es, err := Load(dir); err != nil || len(es) != goroutines*each {
		t.Errorf("%d events, %v; want %d", len(es), err, goroutines*each)
	}
}

func TestATornLastLineIsLeftOut(t *testing.T) {
	dir := t.TempDir()
	text := `{"at":1,"what":"ran","run":"r"}` + "\n" + `{"at":2,"what":"ra`
	if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if es, err := Load(dir); err != nil || len(es) != 1 {
		t.Errorf("%d events, %v; want the one that is whole", len(es), err)
	}
}

func TestATornLineInTheMiddleIsAnError(t *testing.T) {
	dir := t.TempDir()
	text := `{"at":2,"what":"ra` + "\n" + `{"at":1,"what":"ran","run":"r"}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a damaged history was read without an error")
	}
}

func TestAProcessThatIsStartedAgainNeedsAnotherName(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(dir, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := Create(dir, "a"); err == nil {
		t.Error("two processes of one name wrote into one history")
	}
}
