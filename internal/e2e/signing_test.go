package e2e_test

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/signing"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/secure"
	"github.com/distpool/distpool/tasks"
)

// signed is an env in which signing is on.
type signed struct {
	*env
	ring    secure.Keyring
	refused string // the list of what workers refused

	mu   sync.Mutex
	here []secure.Refusal // what pools refused
}

func eachSigned(t *testing.T, f func(t *testing.T, e *signed)) {
	each(t, func(t *testing.T, e *env) {
		f(t, &signed{env: e, ring: secure.Keyring{Sign: secure.NewKey("k1")}, refused: e.queue + ":refused"})
	})
}

// pool opens a pool with the keyring; nil for none.
func (e *signed) pool(t *testing.T, ring secure.Keyring) *producer.Pool {
	return e.env.pool(t, func(c *producer.Config) {
		c.Keyring = ring
		c.OnRefused = func(r secure.Refusal) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.here = append(e.here, r)
		}
	})
}

func (e *signed) worker(t *testing.T, ring secure.Keyring, change ...func(*workerSpec)) *testWorker {
	return e.env.worker(t, 2, append([]func(*workerSpec){func(s *workerSpec) { s.Keys, s.Refused = keysOf(ring), e.refused }}, change...)...)
}

// wasRefused checks that workers refused this, and told the hook and the log.
func (e *signed) wasRefused(t *testing.T, what string, reason secure.Reason, id string) {
	t.Helper()
	eventually(t, fmt.Sprintf("a worker has refused %s of job %s as %s", what, id, reason), func() bool {
		for chunk := range 10 {
			if slices.Contains(e.rdb.LRange(ctx(t), e.refused, 0, -1).Val(), fmt.Sprintf("%s %s %s %d", what, reason, id, chunk)) {
				return true
			}
		}
		return false
	})
}

// An attack is what somebody does who can write to Redis and has no key, between
// the submission of a map of three chunks of note, and its run.
type attack struct {
	name   string
	reason secure.Reason
	do     func(t *testing.T, e *signed, id string)
}

// place is where the arguments of a chunk of note belong.
func place(id string, chunk int) signing.Place {
	return signing.Place{What: secure.Arguments, Job: signing.Ref{ID: id}, Task: note.Name(), Chunk: chunk}
}

func (e *signed) terms() signing.Terms {
	return signing.Terms{Codec: "json", Queue: e.queue, Total: 3, Expires: time.Now().Add(time.Hour).UnixMilli()}
}

func bare(t *testing.T, frame string) []byte {
	t.Helper()
	_, inner, ok := wire.CutSignature([]byte(frame))
	if !ok {
		t.Fatalf("%.80q has no signature", frame)
	}
	return inner
}

var attacks = []attack{
	{"arguments without a signature", secure.Unsigned, func(t *testing.T, e *signed, id string) {
		e.setField(t, id, "args:1", bare(t, e.field(t, id, "args:1")))
	}},
	{"other arguments under the old signature", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		frame := []byte(e.field(t, id, "args:1"))
		frame[len(frame)-3] ^= 1
		e.setField(t, id, "args:1", frame)
	}},
	{"arguments that are signed with a foreign key", secure.UnknownKey, func(t *testing.T, e *signed, id string) {
		foreign := signing.New(secure.Keyring{Sign: secure.NewKey("evil")})
		e.setField(t, id, "args:1", foreign.Frame(place(id, 1), e.terms(), bare(t, e.field(t, id, "args:1"))))
	}},
	{"arguments that are signed with a foreign key of a known ID", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		foreign := signing.New(secure.Keyring{Sign: secure.NewKey("k1")})
		e.setField(t, id, "args:1", foreign.Frame(place(id, 1), e.terms(), bare(t, e.field(t, id, "args:1"))))
	}},
	{"the arguments of another chunk", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		e.setField(t, id, "args:1", e.field(t, id, "args:2"))
	}},
	{"the arguments of another job", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		m, err := producer.MapAsync(ctx(t), e.pool(t, e.ring), note, []probe{e.probe(), e.probe(), e.probe()}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		e.setField(t, id, "args:1", e.field(t, m.ID(), "args:1"))
		if err := m.Cancel(ctx(t)); err != nil {
			t.Fatal(err)
		}
	}},
	{"a copy from long ago", secure.Expired, func(t *testing.T, e *signed, id string) {
		terms := e.terms()
		terms.Expires = time.Now().Add(-2 * signing.Leeway).UnixMilli()
		e.setField(t, id, "args:1", signing.New(e.ring).Frame(place(id, 1), terms, bare(t, e.field(t, id, "args:1"))))
	}},
	{"a job that is delayed, now", secure.Early, func(t *testing.T, e *signed, id string) {
		terms := e.terms()
		terms.NotBefore = time.Now().Add(2 * signing.Leeway).UnixMilli()
		e.setField(t, id, "args:1", signing.New(e.ring).Frame(place(id, 1), terms, bare(t, e.field(t, id, "args:1"))))
	}},
	{"half a signature", secure.Malformed, func(t *testing.T, e *signed, id string) { e.setField(t, id, "args:1", "~1 k1 0 0 3 abc\n0 1\n[1]") }},
	{"another task", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		must(t, e.about(ctx(t), id, func(a *job.About) { a.Task = count.Name() }))
	}},
	{"another codec", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		must(t, e.about(ctx(t), id, func(a *job.About) { a.Codec = "gob" }))
	}},
	{"another policy", secure.Mismatch, func(t *testing.T, e *signed, id string) {
		must(t, e.about(ctx(t), id, func(a *job.About) { a.Policy = `{"retries":1000000}` }))
	}},
	{"another number of calls", secure.Mismatch, func(t *testing.T, e *signed, id string) { e.setField(t, id, "calls", 2) }},
	{"a checkpoint that no worker saved", secure.Unsigned, func(t *testing.T, e *signed, id string) {
		e.setField(t, id, "part:1", wire.Partial{Next: 1, Outcome: wire.Outcome{First: 1, Calls: 1, Values: []byte("[7]")}}.Encode())
	}},
}

func TestWhoHasNoKeyMakesNoWorkerRunAnything(t *testing.T) {
	for _, a := range attacks {
		t.Run(a.name, func(t *testing.T) {
			eachSigned(t, func(t *testing.T, e *signed) { a.isRefused(t, e) })
		})
	}
}

// isRefused attacks a signed job and then starts a worker.
func (a attack) isRefused(t *testing.T, e *signed, change ...func(*workerSpec)) {
	t.Helper()
	p, mark := e.pool(t, e.ring), e.probe()
	m, err := producer.MapAsync(ctx(t), p, note, []probe{e.probe(), mark, e.probe()}, producer.ChunkSize(1))
	if err != nil {
		t.Fatal(err)
	}
	a.do(t, e, m.ID())
	w := e.worker(t, e.ring, change...)
	_, err = m.Get(ctx(t))
	if !errors.Is(err, results.ErrUntrusted) {
		t.Errorf("the handle's error is %v, want ErrUntrusted", err)
	}
	what := secure.Arguments
	if a.name == "a checkpoint that no worker saved" {
		what = secure.Checkpoint
	}
	e.wasRefused(t, what, a.reason, m.ID())
	if n := e.rdb.LLen(ctx(t), mark.Key).Val(); n != 0 {
		t.Error("the call ran")
	}
	eventually(t, "the refusal is in the log", func() bool {
		log := e.log.String()
		return strings.Contains(log, "refusing a job") && strings.Contains(log, m.ID())
	})
	survivors(t, p, w)
	// Without the attack it does run.
	_, err = producer.Map(ctx(t), p, note, []probe{e.probe(), mark, e.probe()}, producer.ChunkSize(1))
	same(t, "the call without an attack", e.rdb.LLen(ctx(t), mark.Key).Val(), err, 1)
}

func TestAnUnsignedJobIsRefusedAndASignedOneRuns(t *testing.T) {
	eachSigned(t, func(t *testing.T, e *signed) {
		w := e.worker(t, e.ring)
		p, keyless, foreign := e.pool(t, e.ring), e.pool(t, secure.Keyring{}), e.pool(t, secure.Keyring{Sign: secure.NewKey("k2")})
		survivors(t, p, w)
		r, err := producer.ApplyAsync(ctx(t), keyless, square, 3)
		if err == nil {
			_, err = r.Get(ctx(t))
		}
		if !errors.Is(err, results.ErrUntrusted) {
			t.Errorf("an unsigned job: %v, want ErrUntrusted", err)
		}
		mentions(t, err, r.ID(), "have no signature")
		e.wasRefused(t, secure.Arguments, secure.Unsigned, r.ID())
		if r, err = producer.ApplyAsync(ctx(t), foreign, square, 3); err == nil {
			_, err = r.Get(ctx(t))
		}
		if !errors.Is(err, results.ErrUntrusted) {
			t.Errorf("a job of another key: %v, want ErrUntrusted", err)
		}
		mentions(t, err, r.ID(), `key "k2"`)
		e.wasRefused(t, secure.Arguments, secure.UnknownKey, r.ID())
		for v, err := range producer.IMap(ctx(t), keyless, square, slices.Values([]int{1, 2})) {
			if !errors.Is(err, results.ErrUntrusted) {
				t.Errorf("an unsigned stream: %v, %v; want ErrUntrusted", v, err)
			}
		}
	})
}

// The record of a job that is over is put back as it was before: as long as it is
// no older than its JobTTL, nobody can tell; what is too old is refused, see
// TestWhoHasNoKeyMakesNoWorkerRunAnything.
func TestARecordThatIsRestoredUnderAnotherIDIsRefused(t *testing.T) {
	eachSigned(t, func(t *testing.T, e *signed) {
		p, mark := e.pool(t, e.ring), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, note, mark)
		if err != nil {
			t.Fatal(err)
		}
		fields, err := e.rdb.HGetAll(ctx(t), e.key(t, r.ID())).Result()
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := e.queue + "-other"
		e.worker(t, e.ring, func(s *workerSpec) { s.Also = elsewhere })
		if _, err := r.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for _, copied := range []string{e.queue + "/COPY", elsewhere + "/" + path.Base(r.ID())} {
			if err := e.rdb.HSet(ctx(t), e.key(t, copied), fields).Err(); err != nil {
				t.Fatal(err)
			}
			if _, err := producer.Attach(ctx(t), p, note, copied); !errors.Is(err, results.ErrUntrusted) {
				t.Errorf("attaching to the copy: %v, want ErrUntrusted", err)
			}
			e.deliver(t, e.lane(t, copied), note.Name(), job.Delivery{Ref: e.ref(t, copied), Number: 1})
			e.wasRefused(t, secure.Arguments, secure.Mismatch, copied)
		}
		if n := e.rdb.LLen(ctx(t), mark.Key).Val(); n != 1 {
			t.Errorf("the call ran %d times", n)
		}
	})
}

// Forged outcomes reach no handle: those of a notice are ignored, and those in the
// record end the job.
func TestForgedOutcomesAreNotTakenForTrue(t *testing.T) {
	forged := wire.Outcome{Calls: 1, Values: []byte("[666]")}.Encode()
	eachSigned(t, func(t *testing.T, e *signed) {
		p, mark := e.pool(t, e.ring), e.probe()
		r, err := producer.ApplyAsync(ctx(t), p, note, mark)
		if err != nil {
			t.Fatal(err)
		}
		reply := job.ReplyChannel(e.lane(t, r.ID()), e.field(t, r.ID(), "reply"))
		notice := fmt.Sprintf("%s  out 0 1 1 0 0 done %d\n%s\n", path.Base(r.ID()), len(forged), forged)
		publish := e.rdb.Publish
		if _, ok := e.rdb.(*redis.ClusterClient); ok {
			publish = e.rdb.SPublish
		}
		if n, err := publish(ctx(t), reply, notice).Result(); err != nil || n == 0 {
			t.Fatalf("publishing a forged notice: %d, %v", n, err)
		}
		eventually(t, "the pool has refused the notice", func() bool {
			e.mu.Lock()
			defer e.mu.Unlock()
			return slices.Contains(e.here, secure.Refusal{What: secure.Outcomes, Reason: secure.Unsigned, Job: r.ID(), Chunk: 0, Task: note.Name(), Queue: e.queue})
		})
		e.worker(t, e.ring)
		if v, err := r.Get(ctx(t)); err != nil || v != 0 {
			t.Errorf("the handle has %v, %v; want what the worker recorded", v, err)
		}

		m, err := producer.MapAsync(ctx(t), p, square, []int{1, 2, 3}, producer.ChunkSize(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Get(ctx(t)); err != nil {
			t.Fatal(err)
		}
		for what, outcome := range map[string]string{
			"made up":          string(wire.Outcome{First: 1, Calls: 1, Values: []byte("[666]")}.Encode()),
			"of another chunk": e.field(t, m.ID(), "out:0"),
		} {
			e.setField(t, m.ID(), "out:1", outcome)
			again, err := producer.AttachMap(ctx(t), e.pool(t, e.ring), square, m.ID())
			if err != nil {
				t.Fatal(err)
			}
			if v, err := again.Get(ctx(t)); !errors.Is(err, results.ErrUntrusted) {
				t.Errorf("outcomes %s: %v, %v; want ErrUntrusted", what, v, err)
			}
		}
		// A job that is made to look shorter than it is.
		for field, value := range map[string]any{"calls": 0, "chunks": 0, "recorded": 0} {
			e.setField(t, m.ID(), field, value)
		}
		if _, err := producer.AttachMap(ctx(t), e.pool(t, e.ring), square, m.ID()); !errors.Is(err, results.ErrUntrusted) {
			t.Errorf("a job that lost its calls: %v, want ErrUntrusted", err)
		}
	})
}

// A fleet gets its first keys, and others later, without a job being refused.
func TestKeysAreIntroducedAndChangedUnderWay(t *testing.T) {
	k1, k2 := secure.NewKey("k1"), secure.NewKey("k2")
	none, first := secure.Keyring{}, secure.Keyring{Sign: k1}
	both, second := secure.Keyring{Sign: k2, Accept: []secure.Key{k1}}, secure.Keyring{Sign: k2}
	prepared := secure.Keyring{Sign: k1, Accept: []secure.Key{k2}}
	tolerant := func(s *workerSpec) { s.Unsigned = true }
	steps := []struct {
		name             string
		producer, worker secure.Keyring
		change           []func(*workerSpec)
	}{
		{"workers get it first", none, first, []func(*workerSpec){tolerant}},
		{"then producers", first, first, []func(*workerSpec){tolerant}},
		{"workers insist", first, first, nil},
		{"all accept the next one", prepared, prepared, nil},
		{"some sign with it", both, prepared, nil},
		{"all sign with it", both, both, nil},
		{"the old one goes", second, both, nil},
		{"everywhere", second, second, nil},
	}
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			eachSigned(t, func(t *testing.T, e *signed) {
				w := e.worker(t, step.worker, step.change...)
				p := e.pool(t, step.producer)
				survivors(t, p, w)
				i := 0
				for v, err := range producer.IMap(ctx(t), p, square, slices.Values(numbers(50))) {
					same(t, "a value of a stream", v, err, i*i)
					i++
				}
				key := producer.ID("key-" + e.queue + strconv.Itoa(i))
				for range 2 {
					n, err := producer.Apply(ctx(t), p, square, 5, key)
					same(t, "a job with an ID", n, err, 25)
				}
				mark := e.probe()
				n, err := producer.Map(ctx(t), p, try, []attempt{{mark, 2, ""}, {mark, 1, ""}}, producer.ChunkSize(2), producer.Retry(3, tasks.Every(300*time.Millisecond)))
				same(t, "a map with retries", fmt.Sprint(n), err, "[2 1]")
				e.mu.Lock()
				defer e.mu.Unlock()
				if refused := e.rdb.LRange(ctx(t), e.refused, 0, -1).Val(); len(refused)+len(e.here) > 0 {
					t.Errorf("refused: %v %v", refused, e.here)
				}
			})
		})
	}
}

// Whoever joins a job that was tampered with must not sign what is in its record.
func TestASecondSubmitterDoesNotSignATamperedJob(t *testing.T) {
	eachSigned(t, func(t *testing.T, e *signed) {
		p := e.pool(t, e.ring)
		for field, tamper := range map[string]damage{
			"policy": about("", func(a *job.About) { a.Policy = `{"retries":99}` }),
			"gen":    field("gen", "MINE"),
			"cut":    about("", func(a *job.About) { a.Cut = "1" }),
			"start":  about("", func(a *job.About) { a.Start = 5 }),
			"sig":    about("", func(a *job.About) { a.Sig = "" }),
		} {
			id := producer.ID("id-" + field + "-" + e.queue)
			m, err := producer.MapAsync(ctx(t), p, square, numbers(3), id, producer.ChunkSize(2))
			if err != nil {
				t.Fatal(err)
			}
			must(t, tamper.do(ctx(t), e.env, m.ID()))
			e.setField(t, m.ID(), "state", "open")
			if _, err := producer.MapAsync(ctx(t), e.pool(t, e.ring), square, numbers(3), id, producer.ChunkSize(2)); !errors.Is(err, results.ErrUntrusted) {
				t.Errorf("field %s was changed: %v, want ErrUntrusted", field, err)
			}
		}
	})
}
