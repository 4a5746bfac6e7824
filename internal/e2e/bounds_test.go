package e2e_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

const century = 100 * 365 * 24 * time.Hour

// What is accepted works, however small or large it is.
func TestNumbersAtTheirBoundsWork(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t, func(c *producer.Config) { c.JobTTL, c.ResultTTL = century, century })
		for name, opts := range map[string][]producer.Option{
			"the largest chunk and window":  {producer.ChunkSize(math.MaxInt), producer.Window(math.MaxInt)},
			"the longest life":              {producer.ResultTTL(century)},
			"the longest limits":            {producer.CallTimeout(math.MaxInt64), producer.HardTimeout(math.MaxInt64)},
			"the most retries":              {producer.Retry(math.MaxInt, tasks.Backoff{Initial: 1, Max: 1})},
			"the longest wait for retries":  {producer.Retry(1, tasks.Backoff{Initial: century, Max: century, Factor: 1000, Jitter: 1})},
			"the shortest wait for retries": {producer.Retry(1, tasks.Backoff{Initial: 1, Max: 1, Factor: 1, Jitter: -1})},
		} {
			got, err := producer.Map(ctx(t), p, square, numbers(3), opts...)
			if err != nil || !slices.Equal(got, []int{0, 1, 4}) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			n := 0
			for v, err := range producer.IMap(ctx(t), p, square, slices.Values(numbers(3)), opts...) {
				same(t, name+": a value of a stream", v, err, n*n)
				n++
			}
		}
		for name, opts := range map[string][]producer.Option{
			"an end far ahead":           {producer.ExpiresIn(century)},
			"an end after a short delay": {producer.Delay(time.Nanosecond), producer.ExpiresIn(century)},
			"a start long ago":           {producer.At(time.Unix(-1<<40, 0))},
		} {
			got, err := producer.Map(ctx(t), p, square, numbers(3), opts...)
			if err != nil || !slices.Equal(got, []int{0, 1, 4}) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
		// The times of this job add up to 300 years, and those of the other wait for that.
		h, err := producer.ApplyAsync(ctx(t), p, square, 3, producer.Delay(century-time.Hour), producer.ExpiresIn(century), producer.ResultTTL(century))
		if err != nil {
			t.Fatal(err)
		}
		again, err := producer.MapAsync(ctx(t), p, try, []attempt{{e.probe(), 2, ""}}, producer.Retry(1, tasks.Every(century)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.GetTimeout(300 * time.Millisecond); !errors.Is(err, results.ErrTimeout) {
			t.Errorf("a retry in a hundred years: %v", err)
		}
		for _, key := range e.jobKeys(t, h.ID()) {
			if ttl := e.rdb.PTTL(ctx(t), key).Val(); e.real && ttl < century {
				t.Errorf("%s lives for %v", key, ttl)
			}
		}
		for _, j := range []interface{ Ready() bool }{h, again} {
			if j.Ready() {
				t.Error("a job is over before its time")
			}
		}
		if err := errors.Join(h.Cancel(ctx(t)), again.Cancel(ctx(t))); err != nil {
			t.Error(err)
		}
	})
}

func TestNumbersBeyondTheirBoundsAreRefusedByName(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		const tooLong = century + 1
		for want, opt := range map[string]producer.Option{
			"producer.ResultTTL(":                      producer.ResultTTL(tooLong),
			"producer.ResultTTL(0s)":                   producer.ResultTTL(0),
			"producer.ExpiresIn(":                      producer.ExpiresIn(math.MaxInt64),
			"producer.ExpiresIn(-1ns)":                 producer.ExpiresIn(-1),
			"producer.Delay: ":                         producer.Delay(math.MaxInt64),
			"producer.Delay(-1ns)":                     producer.Delay(-1),
			"producer.At: ":                            producer.At(time.Unix(1<<40, 0)),
			"field Max of the backoff":                 producer.Retry(1, tasks.Backoff{Max: tooLong}),
			"field Initial of the backoff":             producer.Retry(1, tasks.Backoff{Initial: -1}),
			"field Factor of the backoff":              producer.Retry(1, tasks.Backoff{Factor: math.Inf(1)}),
			"field Jitter of the backoff":              producer.Retry(1, tasks.Backoff{Jitter: math.NaN()}),
			"n is -1":                                  producer.Retry(-1, tasks.Backoff{}),
			"producer.CallTimeout(0s)":                 producer.CallTimeout(0),
			"producer.HardTimeout(-1ns)":               producer.HardTimeout(-1),
			"producer.Window(-1)":                      producer.Window(-1),
			"producer.ChunkSize(-9223372036854775808)": producer.ChunkSize(math.MinInt),
		} {
			_, err := producer.Map(ctx(t), p, square, numbers(3), opt)
			mentions(t, err, want)
		}
		for want, cfg := range map[string]producer.Config{
			"field ResultTTL is ":    {ResultTTL: tooLong},
			"field ResultTTL is -1":  {ResultTTL: -1},
			"field JobTTL is ":       {JobTTL: math.MaxInt64},
			"field JobTTL is 999":    {JobTTL: 999 * time.Millisecond},
			"field MaxArgument is -": {MaxArgument: -1},
			"field Queue":            {Queue: strings.Repeat("q", 101)},
			"pool_size is ":          {Redis: "redis://h?pool_size=-1"},
		} {
			if cfg.Redis == "" {
				cfg.Redis = e.url
			}
			_, err := producer.Open(ctx(t), cfg)
			mentions(t, err, want)
		}
	})
}

// An idle worker waits in Redis on one connection; all else has to share the other.
func TestAPoolOfOneConnectionWorks(t *testing.T) {
	eachReal(t, func(t *testing.T, e *env) {
		sep := "?"
		if strings.Contains(e.url, "?") {
			sep = "&"
		}
		url := e.url + sep + "pool_size=1"
		e.worker(t, 1, func(s *workerSpec) { s.Redis = url })
		p := e.pool(t, func(c *producer.Config) { c.Redis = url })
		late := metronome(t)
		// The last call takes longer than a command may wait for a connection.
		for _, ms := range []int{1, 1, 7000} {
			began := time.Now()
			n, err := producer.Apply(ctx(t), p, sleep, ms) // by a worker that waits
			same(t, "a call", n, err, ms)
			inTime(t, fmt.Sprintf("a call of %d ms", ms), time.Since(began), time.Duration(ms)*time.Millisecond+time.Second, late)
		}
		got, err := producer.Map(ctx(t), p, square, numbers(200), producer.ChunkSize(1))
		if err != nil || len(got) != 200 || got[199] != 199*199 {
			t.Errorf("a map: %v", err)
		}
	})
}
