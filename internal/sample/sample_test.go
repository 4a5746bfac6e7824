package sample_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/tasks"
)

func TestRandomTasksStayInTheirRange(t *testing.T) {
	for i := range 100 {
		if got, err := sample.AddRandom.Call(t.Context(), i); err != nil || got < float64(i) || got >= float64(i+1) {
			t.Fatalf("add_random(%d) = %v, %v", i, got, err)
		}
		if got, err := sample.Add3Random.Call(t.Context(), tasks.Of3(i, 2*i, 3*i)); err != nil || got < float64(6*i) || got >= float64(6*i+1) {
			t.Fatalf("add3_random(%d, ...) = %v, %v", i, got, err)
		}
	}
}

func TestSleepRandomSleepsForWhatItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		got, err := sample.SleepRandom.Call(t.Context(), struct{}{})
		slept := time.Since(start)
		if err != nil || got < 0 || got >= 1 || slept != time.Duration(got*float64(time.Second)) {
			t.Errorf("sleep_random = %v, %v after %v", got, err, slept)
		}
	})
}

func TestSleepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := sample.Sleep.Call(ctx, 3600)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("error %v after %v, want the deadline's after 1s", err, time.Since(start))
		}
	})
}

func TestSleepRefusesWhatIsNoDuration(t *testing.T) {
	for _, seconds := range []float64{-1, math.NaN(), math.Inf(1), 1e300} {
		if _, err := sample.Sleep.Call(t.Context(), seconds); err == nil || !tasks.IsPermanent(err) {
			t.Errorf("sleep(%v): error %v, want a permanent one", seconds, err)
		}
	}
}

func TestSquareRefusesWhatDoesNotFit(t *testing.T) {
	for n, fits := range map[int]bool{
		0: true, 1: true, -1: true, 12: true, 3037000499: true, -3037000499: true,
		3037000500: false, -3037000500: false, math.MaxInt: false, math.MinInt: false,
	} {
		got, err := sample.Square.Call(t.Context(), n)
		if fits && (err != nil || got != n*n) || !fits && err == nil {
			t.Errorf("square(%d) = %d, %v", n, got, err)
		}
	}
}

func TestFailAndPanicCarryTheirMessage(t *testing.T) {
	if _, err := sample.Fail.Call(t.Context(), "out of milk"); err == nil || err.Error() != "out of milk" {
		t.Errorf("fail: error %v", err)
	}
	defer func() {
		if p := recover(); p != "on fire" {
			t.Errorf("panic panicked with %v", p)
		}
	}()
	_, _ = sample.Panic.Call(t.Context(), "on fire")
}

func TestCountsAreThoseOfWC(t *testing.T) {
	for text, want := range map[string]sample.Counts{
		"":                   {},
		"\n":                 {Lines: 1, Bytes: 1},
		"one":                {Words: 1, Bytes: 3},
		"one two\n":          {Lines: 1, Words: 2, Bytes: 8},
		"  a\tb\r\n\v\fc \n": {Lines: 2, Words: 3, Bytes: 12},
		"\u00a0é\n":          {Lines: 1, Words: 1, Bytes: 5},
	} {
		// However the reads fall, a word is counted once.
		for name, r := range map[string]io.Reader{
			"whole":         strings.NewReader(text),
			"bytes":         iotest.OneByteReader(strings.NewReader(text)),
			"data with EOF": iotest.DataErrReader(strings.NewReader(text)),
		} {
			if got, err := sample.Count(t.Context(), r); err != nil || got != want {
				t.Errorf("%s, %q: got %+v, %v, want %+v", name, text, got, err, want)
			}
		}
	}
}

func TestCountReportsWhatStoppedIt(t *testing.T) {
	boom := errors.New("boom")
	if _, err := sample.Count(t.Context(), iotest.ErrReader(boom)); !errors.Is(err, boom) {
		t.Errorf("error %v, want the reader's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sample.Count(ctx, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
}

func TestWordCountReadsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, []byte(strings.Repeat("two words\n", 50_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	want := sample.Counts{Lines: 50_000, Words: 100_000, Bytes: 500_000}
	if got, err := sample.WordCount.Call(t.Context(), path); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if _, err := sample.WordCount.Call(t.Context(), path+".gone"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want that there is no such file", err)
	}
	if sum := want.Plus(want); sum != (sample.Counts{Lines: 100_000, Words: 200_000, Bytes: 1_000_000}) {
		t.Errorf("sum %+v", sum)
	}
}

func TestAllListsEveryTaskOnce(t *testing.T) {
	var names []string
	for _, r := range sample.All() {
		names = append(names, r.Name())
	}
	slices.Sort(names)
	want := []string{"add3_random", "add_random", "fail", "panic", "sleep", "sleep_random", "square", "word_count"}
	if !slices.Equal(names, want) {
		t.Errorf("tasks %v, want %v", names, want)
	}
}
