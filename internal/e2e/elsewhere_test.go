package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// envAttacher makes the test binary a producer that attaches to a job: its value
// is an attachment in JSON.
const envAttacher = "DISTPOOL_E2E_ATTACHER"

// attachment is a map of hold, to attach to with several handles at once. The
// attacher counts its handles in :attached, and prints what each one says.
type attachment struct {
	Queue   string
	ID      string
	Probe   probe
	Handles int
}

func (a attachment) run(ctx context.Context) ([]string, error) {
	p, err := producer.Open(ctx, producer.Config{Keyring: suiteKeyring, Redis: a.Probe.URL, Queue: a.Queue})
	if err != nil {
		return nil, err
	}
	defer p.Release()
	said := make([]string, a.Handles)
	var all sync.WaitGroup
	for i := range said {
		all.Go(func() {
			m, err := producer.AttachMap(ctx, p, hold, a.ID)
			if err != nil {
				said[i] = verdict(nil, err)
				return
			}
			client(a.Probe.URL).Incr(ctx, a.Probe.Key+":attached")
			said[i] = verdict(m.Get(ctx))
		})
	}
	all.Wait()
	return said, nil
}

func verdict(values []string, err error) string {
	switch {
	case err == nil:
		return fmt.Sprintf("%d values", len(values))
	case errors.Is(err, results.ErrUnknownJob):
		return "unknown"
	case errors.Is(err, results.ErrCanceled):
		return "canceled"
	}
	return err.Error()
}

// attacherMain is the producer process. It prints what its handles say.
func attacherMain(encoded string) int {
	var a attachment
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := json.Unmarshal([]byte(encoded), &a)
	if err == nil {
		var said []string
		if said, err = a.run(ctx); err == nil {
			err = json.NewEncoder(os.Stdout).Encode(said)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// attach runs the attachment in a process of its own.
func attach(ctx context.Context, a attachment) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	encoded, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), envAttacher+"="+string(encoded), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.String())
	}
	var said []string
	return said, json.Unmarshal(out.Bytes(), &said)
}

func TestAnotherProcessAttachesToAJobInAnyState(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		const handles = 3
		start := func(opts ...producer.Option) (*results.MapResult[string], probe) {
			t.Helper()
			gate := e.probe()
			m, err := producer.MapAsync(ctx(t), p, hold, slices.Repeat([]probe{gate}, 4), append(opts, producer.ChunkSize(1))...)
			if err != nil {
				t.Fatal(err)
			}
			return m, gate
		}
		says := func(what, id string, gate probe, want string) {
			t.Helper()
			said, err := attach(ctx(t), attachment{Queue: e.queue, ID: id, Probe: gate, Handles: handles})
			if want := slices.Repeat([]string{want}, handles); err != nil || !slices.Equal(said, want) {
				t.Errorf("handles on %s say %q, %v; want %q", what, said, err, want)
			}
		}

		m, gate := start()
		said := make(chan bool)
		go func() {
			says("a running job", m.ID(), gate, "4 values")
			close(said)
		}()
		eventually(t, "they are attached to a job that runs", func() bool {
			n, _ := e.rdb.Get(ctx(t), gate.Key+":attached").Int()
			return n == handles && e.rdb.LLen(ctx(t), gate.Key+":started").Val() == 2
		})
		e.open(t, gate)
		receive(t, "the attached process", said)
		says("a finished job", m.ID(), gate, "4 values")

		m, gate = start()
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		says("a canceled job", m.ID(), gate, "canceled")

		m, gate = start(producer.ResultTTL(100 * time.Millisecond))
		e.open(t, gate)
		if _, err := m.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "its time to live has passed", func() bool { return len(e.jobKeys(t, m.ID())) == 0 })
		says("a job whose time to live has passed", m.ID(), gate, "unknown")
		says("a job that never was", "NEVERWAS", gate, "unknown")
	})
}
