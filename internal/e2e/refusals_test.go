package e2e_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/distpool/distpool/internal/redistest"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// otherJSON is JSON under another name.
type otherJSON struct{}

func (otherJSON) Name() string                       { return "other" }
func (otherJSON) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (otherJSON) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

func TestAWrongArgumentTypeFailsItsCallOnly(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		p := e.pool(t)
		_, err := producer.Apply(ctx(t), p, tasks.Declare[string, int]("square"), "twelve")
		if te := taskError(t, err); te.Kind != results.KindBadArgument {
			t.Errorf("kind %q, want %q", te.Kind, results.KindBadArgument)
		}
		mentions(t, err, `"square"`, "string", "int")

		got, err := producer.Map(ctx(t), p, tasks.Declare[any, int]("square"), []any{2, "x", 4}, producer.ChunkSize(3))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 || me.Errors[0].Kind != results.KindBadArgument {
			t.Errorf("a map with one bad argument: %v", err)
		}
		same(t, "the others", got, nil, []int{4, 0, 16})

		_, err = producer.Apply(ctx(t), p, tasks.Declare[[]any, int]("add"), []any{1, "x"})
		mentions(t, err, `arg 2 of "add"`)
		_, err = producer.Apply(ctx(t), p, tasks.Declare[[]int, int]("add"), []int{1, 2, 3})
		mentions(t, err, `"add"`, "3")

		n, err := producer.Apply(ctx(t), p, square, 3)
		same(t, "the call after", n, err, 9)
	})
}

func TestAnOversizedArgumentIsRefusedWhenSubmitted(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t, func(c *producer.Config) { c.MaxArgument = 1000 })
		big := []byte(strings.Repeat("x", 5000)) // base64: 6668 bytes, and quotes and brackets
		for name, submit := range map[string]func() error{
			"Apply": func() error { _, err := producer.Apply(ctx(t), p, echoBytes, big); return err },
			"Map": func() error {
				_, err := producer.Map(ctx(t), p, echoBytes, [][]byte{{1}, big}, producer.ChunkSize(1))
				return err
			},
			"Map in one chunk": func() error {
				_, err := producer.Map(ctx(t), p, echoBytes, [][]byte{{1}, big}, producer.ChunkSize(2))
				return err
			},
		} {
			err := submit()
			mentions(t, err, `"echo.bytes"`, "1000", "667", "MaxArgument")
			if strings.HasPrefix(name, "Map") {
				mentions(t, err, "call 1")
			}
		}
		eventually(t, "nothing of the refused jobs is left", func() bool { return len(e.unfinished(t)) == 0 })
		e.worker(t, 1)
		v, err := producer.Apply(ctx(t), p, echoBytes, []byte("fits"))
		same(t, "one that fits", v, err, []byte("fits"))
	})
}

// unfinished lists the jobs of the case's queue that are not over.
func (e *env) unfinished(t *testing.T) []string {
	t.Helper()
	var open []string
	for _, k := range e.jobsKeys(t) {
		if state := e.rdb.HGet(ctx(t), k, "state").Val(); state == "open" || state == "sealed" {
			open = append(open, k)
		}
	}
	return open
}

func TestAResultThatCannotTravelFailsItsCallOnly(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1, func(s *workerSpec) { s.MaxResult = 1000 })
		p := e.pool(t)
		_, err := producer.Apply(ctx(t), p, divide, 0)
		if te := taskError(t, err); te.Kind != results.KindBadResult {
			t.Errorf("kind %q, want %q", te.Kind, results.KindBadResult)
		}
		mentions(t, err, `"divide"`, "Inf")
		fs, err := producer.Map(ctx(t), p, divide, []float64{2, 0, 4}, producer.ChunkSize(3))
		me, ok := errors.AsType[*results.MapError](err)
		if !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 {
			t.Errorf("a map with one bad result: %v", err)
		}
		same(t, "the others", fs, nil, []float64{0.5, 0, 0.25})

		_, err = producer.Apply(ctx(t), p, produce, 5000)
		if te := taskError(t, err); te.Kind != results.KindBadResult {
			t.Errorf("kind %q, want %q", te.Kind, results.KindBadResult)
		}
		mentions(t, err, "500", "1000", "MaxResult")
		ss, err := producer.Map(ctx(t), p, produce, []int{900, 5000, 900}, producer.ChunkSize(3))
		if me, ok := errors.AsType[*results.MapError](err); !ok || len(me.Errors) != 1 || me.Errors[0].Call != 1 {
			t.Errorf("a map with one oversized result, and two that are not: %v", err)
		}
		x := strings.Repeat("x", 900)
		if !slices.Equal(ss, []string{x, "", x}) {
			t.Errorf("the others are of %d bytes, want 900, 0, 900", lengths(ss))
		}
		ss, err = producer.Map(ctx(t), p, produce, []int{5000, 900}, producer.ChunkSize(2))
		if me, ok := errors.AsType[*results.MapError](err); !ok || len(me.Errors) != 1 || me.Errors[0].Call != 0 {
			t.Errorf("a map with an oversized result in front: %v", err)
		}
		if !slices.Equal(ss, []string{"", x}) {
			t.Errorf("the others are of %d bytes, want 0, 900", lengths(ss))
		}
		// Values that are too large together, but not one by one, are fine.
		ss, err = producer.Map(ctx(t), p, produce, []int{900, 900, 900}, producer.ChunkSize(3))
		if err != nil || !slices.Equal(ss, []string{x, x, x}) {
			t.Errorf("values of %d bytes, error %v; want 900 each", lengths(ss), err)
		}
	})
}

func lengths(ss []string) []int {
	ns := make([]int, len(ss))
	for i, s := range ss {
		ns[i] = len(s)
	}
	return ns
}

func TestACodecMismatchIsAnErrorThatNamesBoth(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 1)
		_, err := producer.Apply(ctx(t), e.pool(t), tasks.Declare[int, int]("square", tasks.WithCodec(otherJSON{})), 1)
		taskError(t, err)
		mentions(t, err, `"square"`, `"other"`, `"json"`)
	})
}

func TestBadOptionsAreRefusedByName(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		_, err := producer.Map(ctx(t), p, square, numbers(3), producer.ChunkSize(-1))
		mentions(t, err, "ChunkSize(-1)")
		_, err = producer.Apply(ctx(t), p, square, 3, producer.Queue("a b"))
		mentions(t, err, "a b")
		_, err = producer.Open(ctx(t), producer.Config{Keyring: suiteKeyring, Redis: e.url, Queue: "{x}"})
		mentions(t, err, "Queue", "{x}")
	})
}

func TestARefusedMapLeavesNothing(t *testing.T) {
	usual(t)
	t.Parallel()
	s := redistest.Start(t)
	e := newEnv(t, s.URL(), true)
	e.worker(t, 1)
	e.pauseLanes(t) // what was sent must not run
	p, admin := e.pool(t), s.Client(t)
	info, err := admin.InfoMap(ctx(t), "memory").Result()
	must(t, err)
	used, err := strconv.Atoi(info["Memory"]["used_memory"])
	must(t, err)
	must(t, admin.ConfigSet(ctx(t), "maxmemory", strconv.Itoa(used+10<<20)).Err())
	_, err = producer.MapAsync(ctx(t), p, echoBytes, slices.Repeat([][]byte{random(1<<20, 1)}, 20), producer.ChunkSize(1))
	mentions(t, err, "OOM")
	eventually(t, "nothing is left of it", func() bool {
		left := admin.Keys(ctx(t), "*").Val()
		return !slices.ContainsFunc(left, func(key string) bool {
			return strings.Contains(key, ":blob:") || strings.HasSuffix(key, ":pending") || strings.Contains(key, "}:t:")
		})
	})
}
