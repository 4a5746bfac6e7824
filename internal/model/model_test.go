// Package model_test compares random programs on a pool with a simple model of
// what they should see.
package model_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/pooltest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// EnvSeed reruns one program: its value is the seed that a failure printed.
const EnvSeed = "DISTPOOL_MODEL_SEED"

// Most programs run on a real Redis: it runs scripts several times as fast as the
// embedded one.
const (
	programs     = 250
	realPrograms = 1000
	patience     = 30 * time.Second
)

// What the tasks do with an argument: fail on multiples of 5, panic on multiples
// of 7, add 1 otherwise; block on what is negative until they are canceled.
var (
	step = tasks.Define("model.step", func(ctx context.Context, n int) (int, error) { return run(ctx, n) })
	sum  = tasks.Define2("model.sum", func(ctx context.Context, a, b int) (int, error) { return run(ctx, a+b) })
)

func run(ctx context.Context, n int) (int, error) {
	switch {
	case n < 0:
		<-ctx.Done()
		return 0, ctx.Err()
	case n%5 == 0:
		return 0, errors.New("a multiple of 5")
	case n%7 == 0:
		panic("a multiple of 7")
	}
	return n + 1, nil
}

// broken reports whether the call on n fails.
func broken(n int) bool { return n%5 == 0 || n%7 == 0 }

// state is how the model says that a job ends.
type state int

const (
	finishes state = iota // by itself
	blocked               // not before it is canceled
	canceled
	unsure // canceled while it may have finished: either, but always the same
)

// job is one submission, as the model knows it.
type job struct {
	args      []int
	single    bool
	state     state
	pools     []int // of the handles
	forgotten bool
	// terminated: a pool with a handle on it was terminated. Such a handle says
	// ErrCanceled if it was not ready, also where the job is done and other handles
	// have its values.
	terminated bool

	id      string
	handles []handle
	seen    string // what the first Get returned; every other must return the same
}

// handle is the one interface of both kinds of handle.
type handle interface {
	get(d time.Duration) ([]int, error)
	Ready() bool
	Cancel(ctx context.Context) error
	Forget(ctx context.Context) error
	ID() string
}

type one struct{ *results.AsyncResult[int] }

func (h one) get(d time.Duration) ([]int, error) {
	v, err := h.GetTimeout(d)
	return []int{v}, err
}

type many struct{ *results.MapResult[int] }

func (h many) get(d time.Duration) ([]int, error) { return h.GetTimeout(d) }

// program is one random program.
type program struct {
	kit   *pooltest.Kit
	rng   *rand.Rand
	pools []*producer.Pool
	open  []bool
	jobs  []*job
	trace []string
}

func (p *program) say(format string, args ...any) {
	p.trace = append(p.trace, fmt.Sprintf(format, args...))
}

func (p *program) run() error {
	for range 2 {
		pool, err := producer.Open(context.Background(), producer.Config{Redis: p.kit.URL(), Queue: p.kit.Queue()})
		if err != nil {
			return err
		}
		p.pools, p.open = append(p.pools, pool), append(p.open, true)
	}
	defer func() {
		for _, pool := range p.pools {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			_ = pool.Terminate(ctx)
			cancel()
		}
	}()
	steps := []func() error{p.submit, p.submit, p.submit, p.get, p.get, p.peek, p.cancel, p.forget, p.attach, p.closePool}
	for range 4 + p.rng.IntN(12) {
		if err := steps[p.rng.IntN(len(steps))](); err != nil {
			return err
		}
	}
	return p.finish()
}

func (p *program) submit() error {
	k := p.rng.IntN(len(p.pools))
	j := &job{pools: []int{k}, args: make([]int, p.rng.IntN(9))}
	verb := p.rng.IntN(3)
	if j.single = verb == 0; j.single {
		j.args = make([]int, 1)
	}
	for i := range j.args {
		j.args[i] = p.rng.IntN(40)
	}
	if len(j.args) > 0 && p.rng.IntN(8) == 0 {
		j.args[p.rng.IntN(len(j.args))], j.state = -1, blocked
	}
	chunk := producer.ChunkSize(p.rng.IntN(4))
	p.say("job %d: pool %d, verb %d, args %v", len(p.jobs), k, verb, j.args)
	ctx := context.Background()
	var h handle
	var err error
	switch verb {
	case 0:
		var r *results.AsyncResult[int]
		r, err = producer.ApplyAsync(ctx, p.pools[k], step, j.args[0])
		h = one{r}
	case 1:
		var m *results.MapResult[int]
		m, err = producer.MapAsync(ctx, p.pools[k], step, j.args, chunk)
		h = many{m}
	case 2:
		tuples := make([]tasks.Args2[int, int], len(j.args))
		for i, n := range j.args {
			tuples[i] = tasks.Of2(n-3, 3)
		}
		var m *results.MapResult[int]
		m, err = producer.StarmapAsync(ctx, p.pools[k], sum, tuples, chunk)
		h = many{m}
	}
	if !p.open[k] {
		if !errors.Is(err, producer.ErrClosed) {
			return fmt.Errorf("a submission to a closed pool: %w, want ErrClosed", err)
		}
		return nil
	}
	if err != nil {
		return err
	}
	j.id, j.handles = h.ID(), []handle{h}
	p.jobs = append(p.jobs, j)
	return nil
}

// pick returns a job and one of its handles; nil when there is none.
func (p *program) pick() (int, *job, handle) {
	if len(p.jobs) == 0 {
		return 0, nil, nil
	}
	n := p.rng.IntN(len(p.jobs))
	j := p.jobs[n]
	return n, j, j.handles[p.rng.IntN(len(j.handles))]
}

func (p *program) get() error {
	n, j, h := p.pick()
	if j == nil {
		return nil
	}
	p.say("get job %d", n)
	if j.state == blocked {
		if vs, err := h.get(time.Millisecond); !errors.Is(err, results.ErrTimeout) {
			return fmt.Errorf("job %d blocks, and Get returns %v, %w", n, vs, err)
		}
		return nil
	}
	return p.check(n, j, h)
}

// peek asks without waiting: the answer may be that it is too early.
func (p *program) peek() error {
	n, j, h := p.pick()
	if j == nil {
		return nil
	}
	p.say("peek job %d", n)
	vs, err := h.get(0)
	if errors.Is(err, results.ErrTimeout) {
		return nil
	}
	if j.state == blocked {
		return fmt.Errorf("job %d blocks, and is ready with %v, %w", n, vs, err)
	}
	return p.check(n, j, h)
}

func (p *program) cancel() error {
	n, j, h := p.pick()
	if j == nil {
		return nil
	}
	p.say("cancel job %d", n)
	return p.end(j, h, h.Cancel)
}

func (p *program) forget() error {
	n, j, h := p.pick()
	if j == nil || len(j.handles) > 1 { // another handle may find the record gone
		return nil
	}
	p.say("forget job %d", n)
	j.forgotten = true
	return p.end(j, h, h.Forget)
}

// end cancels or forgets.
func (p *program) end(j *job, h handle, f func(context.Context) error) error {
	ready := h.Ready()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := f(ctx); err != nil {
		return err
	}
	switch {
	case j.state == blocked:
		j.state = canceled
	case j.state == finishes && !ready && j.seen == "":
		j.state = unsure
	}
	return nil
}

// attach makes another handle on a job, in any pool.
func (p *program) attach() error {
	n, j, _ := p.pick()
	if j == nil {
		return nil
	}
	k := p.rng.IntN(len(p.pools))
	p.say("attach job %d in pool %d", n, k)
	task := step
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var h handle
	var err error
	switch {
	case j.single:
		var r *results.AsyncResult[int]
		r, err = producer.Attach(ctx, p.pools[k], task, j.id)
		h = one{r}
	default:
		var m *results.MapResult[int]
		m, err = producer.AttachMap(ctx, p.pools[k], task, j.id)
		if errors.Is(err, results.ErrTaskMismatch) { // it was a starmap
			m, err = producer.AttachMap(ctx, p.pools[k], sum, j.id)
		}
		h = many{m}
	}
	switch {
	case !p.open[k]:
		if !errors.Is(err, producer.ErrClosed) {
			return fmt.Errorf("attaching in a closed pool: %w", err)
		}
	case j.forgotten:
		if !errors.Is(err, results.ErrUnknownJob) {
			return fmt.Errorf("attaching to a forgotten job: %w", err)
		}
	case err != nil:
		return fmt.Errorf("attaching to job %d: %w", n, err)
	default:
		j.handles, j.pools = append(j.handles, h), append(j.pools, k)
	}
	return nil
}

func (p *program) closePool() error {
	k := p.rng.IntN(len(p.pools))
	if p.rng.IntN(2) == 0 {
		return nil
	}
	p.say("close pool %d", k)
	p.pools[k].Close()
	p.open[k] = false
	return nil
}

// finish ends both pools, one way or the other, and looks at every handle.
func (p *program) finish() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for k, pool := range p.pools {
		stuck := false
		for _, j := range p.jobs {
			stuck = stuck || j.state == blocked
		}
		pool.Close()
		if stuck || p.rng.IntN(2) == 0 {
			p.say("terminate pool %d", k)
			if err := pool.Terminate(ctx); err != nil {
				return err
			}
			for _, j := range p.jobs { // the other pool's too, if attached here
				if !slices.Contains(j.pools, k) {
					continue
				}
				j.terminated = true
				if j.state == blocked {
					j.state = canceled
				} else if j.state == finishes && j.seen == "" {
					j.state = unsure
				}
			}
			continue
		}
		p.say("join pool %d", k)
		if err := pool.Join(ctx); err != nil {
			return err
		}
	}
	for n, j := range p.jobs {
		for _, h := range j.handles {
			if !h.Ready() {
				return fmt.Errorf("job %d has a handle that is not ready after the end of its pool", n)
			}
			if j.state == blocked {
				j.state = canceled
			}
			if err := p.check(n, j, h); err != nil {
				return err
			}
		}
	}
	return nil
}

func runPrograms(t *testing.T, n int, opts ...pooltest.Option) {
	kit := pooltest.Start(t, []tasks.Runner{step, sum}, append(opts, pooltest.Concurrency(16), pooltest.Workers(2))...)
	first, count := uint64(time.Now().UnixNano()), n
	if s := os.Getenv(EnvSeed); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s is %q: %v", EnvSeed, s, err)
		}
		first, count = seed, 1
	}
	for i := range uint64(count) {
		p := &program{kit: kit, rng: rand.New(rand.NewPCG(first+i, 1))}
		if err := p.run(); err != nil {
			t.Fatalf("%v\nrun it again with %s=%d; the program was\n%s", err, EnvSeed, first+i, strings.Join(p.trace, "\n"))
		}
	}
}

func TestRandomProgramsSeeWhatTheModelSees(t *testing.T) { runPrograms(t, programs) }

func TestRandomProgramsOnARealRedis(t *testing.T) {
	runPrograms(t, realPrograms, pooltest.Redis(redistest.Start(t).URL()))
}
