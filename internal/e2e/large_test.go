package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Large arguments and values travel beside the scripts, in keys of their own. None of
// that is to be seen but that it is fast: so what is tested here is that all which
// holds for small ones holds for these, and that none of the keys is forgotten.

// parcel is a large argument of a call that can be told to wait.
type parcel struct {
	Probe probe
	Data  []byte
}

var (
	// carry holds, and returns the data.
	carry = tasks.Define("large.carry", func(ctx context.Context, p parcel) ([]byte, error) {
		_, err := runHold(ctx, p.Probe)
		return p.Data, err
	})
	// spoil fails where the data begins with 0.
	spoil = tasks.Define("large.spoil", func(_ context.Context, data []byte) ([]byte, error) {
		if data[0] == 0 {
			return nil, fmt.Errorf("%w: %d bytes that end with %d", errStock, len(data), data[len(data)-1])
		}
		return data, nil
	})
)

func init() { allTasks = append(allTasks, carry, spoil) }

// random returns n bytes that no two calls share.
func random(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func TestLargeValuesTravelByAllWays(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		var args [][]byte
		for i, n := range []int{1<<14 - 1, 1 << 14, 1 << 16, 0, 1 << 20, 1<<17 + 1} {
			args = append(args, random(n, byte(i)))
		}
		for _, arg := range args {
			got, err := producer.Apply(ctx(t), p, echoBytes, arg)
			if err != nil || !bytes.Equal(got, arg) {
				t.Errorf("a call on %d bytes returned %d others, %v", len(arg), len(got), err)
			}
		}
		equal := func(what string, got [][]byte, err error) {
			t.Helper()
			if err != nil || !slices.EqualFunc(got, args, bytes.Equal) {
				t.Errorf("%s returned %d others, %v", what, len(got), err)
			}
		}
		for _, size := range []int{1, 4, 6} {
			got, err := producer.Map(ctx(t), p, echoBytes, args, producer.ChunkSize(size))
			equal(fmt.Sprintf("a map with chunks of %d", size), got, err)
		}
		var streamed [][]byte
		var failure error
		for v, err := range producer.IMap(ctx(t), p, echoBytes, slices.Values(args)) {
			streamed, failure = append(streamed, v), errors.Join(failure, err)
		}
		equal("a stream", streamed, failure)

		// Another pool that has only the ID reads the same, and a second submitter finds
		// that it is the same job.
		id := producer.ID("LARGE-" + e.queue)
		m, err := producer.MapAsync(ctx(t), p, echoBytes, args, id, producer.ChunkSize(2))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Get(ctx(t))
		equal("a job with an ID", got, err)
		other := e.pool(t)
		again, err := producer.AttachMap(ctx(t), other, echoBytes, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		got, err = again.Get(ctx(t))
		equal("a handle that was attached", got, err)
		got, err = producer.Map(ctx(t), other, echoBytes, args, id, producer.ChunkSize(2))
		equal("the same job once more", got, err)

		if n := len(e.blobsOf(t, m.ID())); n != 2 {
			t.Errorf("%d keys hold large values, want those of two chunks of three", n)
		}
		if err := m.Forget(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if keys := e.jobKeys(t, m.ID()); len(keys) != 0 {
			t.Errorf("left after Forget: %q", keys)
		}
	})
}

func TestLargeArgumentsOfFailedCallsAreKeptAndRunAgain(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		args := [][]byte{random(1<<17, 1), random(1<<17, 2), random(1<<17, 3)}
		args[0][0], args[1][0], args[2][0] = 1, 0, 0
		m, err := producer.MapAsync(ctx(t), p, spoil, args, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Get(ctx(t)); !errors.Is(err, errStock) {
			t.Fatalf("the map: %v", err)
		}
		if n := len(e.blobsOf(t, m.ID())); n != 3 {
			t.Errorf("%d keys hold large values, want one value and the arguments of two failed calls", n)
		}
		r, err := producer.RetryFailed(ctx(t), p, spoil, m.ID())
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Get(ctx(t))
		mentions(t, err, fmt.Sprintf("131072 bytes that end with %d", args[1][1<<17-1]))
		if err := errors.Join(m.Forget(ctx(t)), r.Forget(ctx(t))); err != nil {
			t.Fatal(err)
		}
		if keys := append(e.jobKeys(t, m.ID()), e.jobKeys(t, r.ID())...); len(keys) != 0 {
			t.Errorf("left after Forget: %q", keys)
		}
	})
}

// The argument of a call that runs stays until it is recorded, whoever dies.
func TestALargeCallOfAWorkerThatIsKilledIsRunByAnother(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		first := e.worker(t, 1, dies)
		p, gate := e.pool(t), e.probe()
		want := random(1<<18, 7)
		r, err := producer.ApplyAsync(ctx(t), p, carry, parcel{gate, want})
		if err != nil {
			t.Fatal(err)
		}
		e.awaitStarted(t, gate, 1)
		e.worker(t, 1)
		first.kill()
		e.awaitStarted(t, gate, 2)
		e.open(t, gate)
		got, err := r.Get(ctx(t))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
		if n := len(e.blobsOf(t, r.ID())); n != 1 {
			t.Errorf("%d keys hold large values, want the value alone", n)
		}
	})
}

// A worker is killed when it has sent a large value and not the script that makes it the
// job's, or when that has run and it does not know: the value is right, and what is left
// over goes by itself.
func TestAWorkerThatIsKilledWhileItRecordsALargeValueLeavesNothing(t *testing.T) {
	usual(t)
	t.Parallel()
	server := redistest.Start(t)
	warm(t, newWarmed(t, server))
	for name, after := range map[string]bool{"the value was sent": false, "the value was recorded": true} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, server.URL(), true)
			way := newTap(t, server.Addr(), "finish", after)
			victim := e.worker(t, 1, dies, func(s *workerSpec) { s.Redis = way.url })
			p := e.pool(t)
			want := random(1<<19, 4)
			r, err := producer.ApplyAsync(ctx(t), p, echoBytes, want)
			must(t, err)
			receive(t, "the script goes by", way.hit)
			victim.kill()
			<-victim.ended
			// Its connection is closed with the test: the script does not come late.
			sent := e.blobsOf(t, r.ID())
			if n := len(sent); n != 2 && !after || n != 1 && after {
				t.Errorf("%d keys hold large values", n)
			}
			e.worker(t, 1)
			got, err := r.Get(ctx(t))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d bytes came back, %v", len(got), err)
			}
			owned := 0
			for _, key := range e.blobsOf(t, r.ID()) {
				token := key[strings.LastIndexByte(key, ':')+1:]
				if strings.Contains(e.field(t, r.ID(), "out:0"), token) {
					owned++
				} else if ttl := e.rdb.PTTL(ctx(t), key).Val(); ttl <= 0 || ttl > 10*time.Minute {
					t.Errorf("what was left over lives for %v", ttl)
				}
			}
			if owned != 1 {
				t.Errorf("the job has %d large values, want one", owned)
			}
		})
	}
}

// newWarmed is a case on the server with a worker.
func newWarmed(t *testing.T, server *redistest.Server) *env {
	t.Helper()
	e := newEnv(t, server.URL(), true)
	e.worker(t, 1)
	return e
}

func TestCanceledLargeCallsLeaveNoArguments(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, echoBytes, [][]byte{random(1<<17, 1), random(1<<17, 2)}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(e.blobsOf(t, m.ID())); n != 2 {
			t.Errorf("%d keys hold the arguments of two calls", n)
		}
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
		if keys := e.blobsOf(t, m.ID()); len(keys) != 0 {
			t.Errorf("left of the arguments: %q", keys)
		}
	})
}

// What Redis has lost, or somebody has changed, is an error of its job and nothing else.
func TestLargeValuesThatAreNotThereOrNotThoseAreAnErrorOfTheirJob(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		only := func(r *results.AsyncResult[[]byte]) string {
			t.Helper()
			keys := e.blobsOf(t, r.ID())
			if len(keys) != 1 {
				t.Fatalf("the large values of a job are in %q", keys)
			}
			return keys[0]
		}
		submit := func() *results.AsyncResult[[]byte] {
			t.Helper()
			r, err := producer.ApplyAsync(ctx(t), p, echoBytes, random(1<<17, 5))
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		lost, short := submit(), submit()
		must(t, e.rdb.Del(ctx(t), only(lost)).Err())
		must(t, e.rdb.Append(ctx(t), only(short), "x").Err())
		w := e.worker(t, 1)
		if _, err := lost.Get(ctx(t)); !errors.Is(err, results.ErrExpired) {
			t.Errorf("arguments that are not there: %v", err)
		} else {
			mentions(t, err, lost.ID(), "chunk 0", "maxmemory-policy")
		}
		if _, err := short.Get(ctx(t)); !errors.Is(err, results.ErrCorrupt) {
			t.Errorf("arguments of another length: %v", err)
		}
		whole := submit()
		if _, err := whole.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		attach := func() error {
			again, err := producer.Attach(ctx(t), e.pool(t), echoBytes, whole.ID())
			if err == nil {
				_, err = again.Get(ctx(t))
			}
			return err
		}
		must(t, attach())
		must(t, e.rdb.Append(ctx(t), only(whole), "x").Err())
		if err := attach(); !errors.Is(err, results.ErrCorrupt) {
			t.Errorf("an outcome of another length: %v", err)
		}
		must(t, e.rdb.Del(ctx(t), only(whole)).Err())
		if err := attach(); !errors.Is(err, results.ErrExpired) {
			t.Errorf("an outcome that is not there: %v", err)
		}
		survivors(t, p, w)
	})
}

func TestLargeEncryptedValues(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		arg := "ok:" + strings.Repeat(secretText, 1<<14)
		r, err := producer.ApplyAsync(ctx(t), p, secret, arg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Get(ctx(t))
		if err != nil || got != "out "+arg {
			t.Fatalf("%d bytes came back, %v", len(got), err)
		}
		keys := e.blobsOf(t, r.ID())
		if len(keys) != 1 || strings.Contains(e.rdb.Get(ctx(t), keys[0]).Val(), secretText) {
			t.Errorf("the value is in %q, and readable or not apart", keys)
		}
	})
}
