// Package demo shows the pool at work, on this machine: a Redis, two worker
// processes, and the programs of a tutorial on Python's Pool.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/cli/progress"
	"github.com/distpool/distpool/internal/sample"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Options say how to run the demo.
type Options struct {
	// Redis is the Redis to use, in the forms of producer.Config.Redis; the demo
	// keeps to a queue of its own there. If it is empty, an embedded Redis runs in
	// this process.
	Redis string
	// Worker is the command that runs [Worker] with the queue as its argument,
	// which is added to it. It finds its Redis in REDIS_URL.
	Worker []string
	// Out gets what the demo prints, Err the progress and the troubles.
	Out, Err io.Writer
}

// ErrMismatch says that the workers and the producer counted differently.
var ErrMismatch = errors.New("the workers' totals differ from the producer's")

const (
	processes = 2
	slots     = 5 // of each process
)

// Report is what the demo came to.
type Report struct {
	OK       bool           `json:"ok"`
	Redis    string         `json:"redis"` // which one it was
	Workers  int            `json:"workers"`
	Slots    int            `json:"slots"`              // of all of them
	Files    int            `json:"files"`              // whose words were counted
	Counted  *sample.Counts `json:"counted,omitempty"`  // by the workers
	Expected *sample.Counts `json:"expected,omitempty"` // by the producer
	Seconds  float64        `json:"seconds"`
}

// Run runs the demo, until it is over or ctx ends. It leaves no process, no file
// and, in a Redis that it did not start, no key behind.
func Run(ctx context.Context, o Options) (r Report, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	s, err := openStage(ctx, o, cancel)
	if err != nil {
		return r, err
	}
	r = Report{Redis: s.where, Workers: processes, Slots: processes * slots}
	defer func() { r.OK, r.Seconds = err == nil, time.Since(start).Seconds() }()
	d := &demo{Options: o, pool: s.pool, stage: s, report: &r}
	err = d.play(ctx)
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx) // a worker that died says more than what it led to
	}
	return r, errors.Join(err, s.close(context.WithoutCancel(ctx)))
}

// demo is one performance.
type demo struct {
	Options
	pool   *producer.Pool
	stage  *stage
	report *Report
}

func (d *demo) play(ctx context.Context) error {
	start := time.Now()
	d.say("%s, and %d worker processes with %d slots each", d.stage.where, processes, slots)
	for _, section := range []struct {
		title string
		show  func(context.Context) error
	}{
		{"apply_async: draw a random number, sleep that long, return it", d.apply},
		{"map_async: arg + random, over 0..4", d.mapped},
		{"starmap_async: arg1 + arg2 + arg3 + random, over (i, i*2, i*3)", d.starmapped},
		{"a call that fails, and one that panics", d.failures},
		{"a wait with a time limit", d.timeout},
		{"word count of many files, checked", d.wordCount},
	} {
		d.say("\n== %s", section.title)
		if err := section.show(ctx); err != nil {
			return fmt.Errorf("%s: %w", section.title, err)
		}
	}
	d.say("\nOK: done in %.1f s", time.Since(start).Seconds())
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, format+"\n", args...) }

// apply is the tutorial's first program.
func (d *demo) apply(ctx context.Context) error {
	result, err := producer.ApplyAsync(ctx, d.pool, sample.SleepRandom, struct{}{})
	if err != nil {
		return err
	}
	d.stage.forgetLater(result)
	d.say("Waiting for result...")
	value, err := result.Get(ctx)
	if err != nil {
		return err
	}
	d.say("Got: %v", value)
	return nil
}

// mapped is the tutorial's second program.
func (d *demo) mapped(ctx context.Context) error {
	result, err := producer.MapAsync(ctx, d.pool, sample.AddRandom, []int{0, 1, 2, 3, 4})
	if err != nil {
		return err
	}
	return d.printAll(ctx, result)
}

// starmapped is the tutorial's third program.
func (d *demo) starmapped(ctx context.Context) error {
	var args []tasks.Args3[int, int, int]
	for i := range 5 {
		args = append(args, tasks.Of3(i, i*2, i*3))
	}
	result, err := producer.StarmapAsync(ctx, d.pool, sample.Add3Random, args)
	if err != nil {
		return err
	}
	return d.printAll(ctx, result)
}

func (d *demo) printAll(ctx context.Context, result *results.MapResult[float64]) error {
	d.stage.forgetLater(result)
	values, err := result.Get(ctx)
	if err != nil {
		return err
	}
	for _, value := range values {
		d.say("Got: %v", value)
	}
	return nil
}

// failures shows what a caller sees of calls that go wrong.
func (d *demo) failures(ctx context.Context) error {
	return errors.Join(
		d.failure(ctx, sample.Fail, "the cupboard is empty"),
		d.failure(ctx, sample.Panic, "the cupboard is on fire"),
	)
}

func (d *demo) failure(ctx context.Context, task *tasks.Task[string, struct{}], message string) error {
	result, err := producer.ApplyAsync(ctx, d.pool, task, message)
	if err != nil {
		return err
	}
	d.stage.forgetLater(result)
	_, err = result.Get(ctx)
	failed, ok := errors.AsType[*results.TaskError](err)
	if !ok {
		return fmt.Errorf("task %q should have failed, but: %w", task.Name(), orNoError(err))
	}
	d.say("Error: %v", failed)
	if failed.Stack != "" {
		d.say("The stack, from worker %s:\n%s", failed.Worker, strings.TrimSpace(failed.Stack))
	}
	return nil
}

func orNoError(err error) error {
	if err == nil {
		return errors.New("no error came")
	}
	return err
}

// timeout shows that a wait that is over harms nothing.
func (d *demo) timeout(ctx context.Context) error {
	result, err := producer.ApplyAsync(ctx, d.pool, sample.Sleep, 0.7)
	if err != nil {
		return err
	}
	d.stage.forgetLater(result)
	const limit = 100 * time.Millisecond
	start := time.Now()
	if _, err = result.GetTimeout(limit); !errors.Is(err, results.ErrTimeout) {
		return fmt.Errorf("GetTimeout(%v) on a call of 0.7 s should time out, but: %w", limit, orNoError(err))
	}
	d.say("GetTimeout(%v) gave up after %v: %v", limit, time.Since(start).Round(time.Millisecond), err)
	value, err := result.Get(ctx)
	if err != nil {
		return err
	}
	d.say("Get, later: %v, after %v", value, time.Since(start).Round(time.Millisecond))
	return nil
}

// wordCount counts real files on the workers and here, and compares.
func (d *demo) wordCount(ctx context.Context) error {
	corpus, err := findCorpus(ctx)
	if err != nil {
		return err
	}
	d.say("%s", corpus.what)
	start := time.Now()
	result, err := producer.MapAsync(ctx, d.pool, sample.WordCount, corpus.paths, producer.ChunkSize(max(1, len(corpus.paths)/200)))
	if err != nil {
		return err
	}
	d.stage.forgetLater(result)
	meter := progress.Lines(d.Err, "word_count", len(corpus.paths))
	if progress.IsTerminal(d.Err) {
		meter = progress.Bar(d.Err, "word_count", len(corpus.paths))
	}
	for p := range result.Watch(ctx) {
		meter.Show(p)
	}
	meter.End()
	values, err := result.Get(ctx)
	if err != nil {
		return err
	}
	var got, want sample.Counts
	for _, c := range values {
		got = got.Plus(c)
	}
	d.count("workers", got, time.Since(start))
	start = time.Now()
	for _, path := range corpus.paths {
		c, err := sample.CountFile(ctx, path)
		if err != nil {
			return err
		}
		want = want.Plus(c)
	}
	d.count("producer", want, time.Since(start))
	d.report.Files, d.report.Counted, d.report.Expected = len(corpus.paths), &got, &want
	if got != want {
		return ErrMismatch
	}
	d.say("OK: they match")
	return nil
}

func (d *demo) count(who string, c sample.Counts, took time.Duration) {
	d.say("%-9s %d lines, %d words, %d bytes (%.2f s)", who+":", c.Lines, c.Words, c.Bytes, took.Seconds())
}

// quiet is the demo's logger: its troubles come back as errors.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
