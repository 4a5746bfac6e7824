package e2e_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
)

// Words that stand in the names of keys and channels, or look as if they could.
var keyWords = []string{
	"workers", "bell", "recent", "recent.0", "control", "reply", "leader", "ask", "stats", "w", "q", "args", "out", "order", "run", "blob",
	"distpool", "asynq", "queues", "servers", "t", "pending", "active", "a.", "-", "_", "0", strings.Repeat("workers", 14),
}

// What users may choose never leads to a key that something else uses.
func TestNoNameThatUsersChooseMeetsAnotherKey(t *testing.T) {
	eachAlone(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		type call struct {
			id string
			r  *results.AsyncResult[int]
			m  *results.MapResult[int]
		}
		var calls []call
		for i, word := range keyWords {
			c := call{id: word}
			var err error
			if i%2 == 0 {
				c.r, err = producer.ApplyAsync(ctx(t), p, square, i, producer.ID(word))
			} else {
				c.m, err = producer.MapAsync(ctx(t), p, square, []int{i, i, i}, producer.ChunkSize(1), producer.ID(word))
			}
			if err != nil {
				t.Fatalf("submitting under the ID %q: %v", word, err)
			}
			calls = append(calls, c)
		}
		// Queues and workers of these names do their work beside them.
		names := []string{"leader", "ask:leader", "w:stats"}
		if !e.real {
			names = names[:1]
		}
		for i, name := range names {
			e.worker(t, 2, func(s *workerSpec) {
				s.Name, s.Also = name, []string{"workers", "q:bell", "w:leader"}[i]
			})
		}
		w := e.worker(t, 2, func(s *workerSpec) { s.Also = "workers" })
		for i, c := range calls {
			if c.r != nil {
				n, err := c.r.Get(ctx(t))
				same(t, "the call "+c.id, n, err, i*i)
			} else {
				ns, err := c.m.Get(ctx(t))
				same(t, "the map "+c.id, fmt.Sprint(ns), err, fmt.Sprint([]int{i * i, i * i, i * i}))
			}
		}
		n, err := producer.Apply(ctx(t), p, square, 3, producer.Queue("workers"))
		same(t, "a call on a queue of such a name", n, err, 9)
		survivors(t, p, w)
	})
}

func TestAnIDThatNoJobCanHaveIsUnknown(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		for _, id := range []string{
			"", "{", "}", "{x}", "x}:args{", "a:b", "*", "a b", "a\n", "a\x00", "\xff", "ä", "@workers", "../x", strings.Repeat("x", 101), strings.Repeat("x", 1<<20),
		} {
			if _, err := producer.ApplyAsync(ctx(t), p, square, 1, producer.ID(id)); err == nil {
				t.Errorf("a job was submitted under the ID %.40q", id)
			} else {
				mentions(t, err, "producer.ID", "use 1 to 100 ASCII letters")
			}
			if _, err := producer.Attach(ctx(t), p, square, id); !errors.Is(err, results.ErrUnknownJob) {
				t.Errorf("attaching to %.40q: %v", id, err)
			} else if len(err.Error()) > 1000 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
			if _, err := producer.RetryFailed(ctx(t), p, square, id); !errors.Is(err, results.ErrUnknownJob) {
				t.Errorf("retrying %.40q: %v", id, err)
			}
		}
	})
}
