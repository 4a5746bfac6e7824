package e2e_test

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

// same fails t unless got is want, nil and empty being different.
func same[T any](t *testing.T, what string, got T, err error, want T) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: %v", what, err)
	} else if !reflect.DeepEqual(got, want) {
		t.Errorf("%s = %#v, want %#v", what, got, want)
	}
}

func TestEachVerbReturnsTheValues(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		n, err := producer.Apply(ctx(t), p, square, 12)
		same(t, "Apply", n, err, 144)

		r, err := producer.ApplyAsync(ctx(t), p, square, -3)
		if err != nil {
			t.Fatal(err)
		}
		n, err = r.Get(ctx(t))
		same(t, "ApplyAsync", n, err, 9)
		ok, err := r.Successful()
		same(t, "Successful", ok, err, true)

		ns, err := producer.Map(ctx(t), p, square, []int{3, 1, 2})
		same(t, "Map", ns, err, []int{9, 1, 4})

		m, err := producer.MapAsync(ctx(t), p, square, numbers(10), producer.ChunkSize(3))
		if err != nil {
			t.Fatal(err)
		}
		ns, err = m.Get(ctx(t))
		same(t, "MapAsync", ns, err, squares(10))

		ns, err = producer.Starmap(ctx(t), p, add, tasks.Zip2([]int{1, 2, 3}, []int{10, 20, 30}))
		same(t, "Starmap", ns, err, []int{11, 22, 33})

		s, err := producer.StarmapAsync(ctx(t), p, label, []tasks.Args3[string, int, float64]{
			tasks.Of3("a", 1, 0.5), tasks.Of3("", -1, 1e300),
		})
		if err != nil {
			t.Fatal(err)
		}
		labels, err := s.Get(ctx(t))
		same(t, "StarmapAsync", labels, err, []string{"a/1/0.5", "/-1/1e+300"})

		n, err = producer.Apply(ctx(t), p, add, tasks.Of2(40, 2))
		same(t, "Apply of a tuple", n, err, 42)
	})
}

func TestValuesArriveAsWhatTheyWere(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		e.worker(t, 2)
		p := e.pool(t)
		in := person{
			Name: "Zoë \"Q\" \u2028", Age: 41, Tags: []string{}, Extra: map[string]int64{"x": math.MinInt64},
			Boss: &person{Name: "B"},
		}
		want := in
		want.Age++
		got, err := producer.Apply(ctx(t), p, older, in)
		same(t, "a struct", got, err, want)

		extremes := []int64{math.MinInt64, math.MaxInt64, 0, -1, 1<<53 + 1}
		ints, err := producer.Map(ctx(t), p, echoInt64, extremes)
		same(t, "int64", ints, err, extremes)
		uints, err := producer.Map(ctx(t), p, echoUint, []uint64{math.MaxUint64, 0})
		same(t, "uint64", uints, err, []uint64{math.MaxUint64, 0})

		slicesIn := [][]int{nil, {}, {0}, {1, 2}}
		out, err := producer.Map(ctx(t), p, echoSlice, slicesIn, producer.ChunkSize(4))
		same(t, "nil and empty slices in one chunk", out, err, slicesIn)
		for _, s := range slicesIn {
			one, err := producer.Apply(ctx(t), p, echoSlice, s)
			same(t, "a slice alone", one, err, s)
		}
		raw := bytes.Repeat([]byte{0, 255, '\n'}, 30_000) // more than a notice carries
		bs, err := producer.Map(ctx(t), p, echoBytes, [][]byte{raw, nil, {}}, producer.ChunkSize(1))
		same(t, "bytes", bs, err, [][]byte{raw, nil, {}})
	})
}

func TestACallKnowsWhatItIs(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		w := e.worker(t, 2)
		m, err := producer.MapAsync(ctx(t), e.pool(t), info, numbers(5), producer.ChunkSize(2))
		if err != nil {
			t.Fatal(err)
		}
		infos, err := m.Get(ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range infos {
			if !bytes.HasPrefix([]byte(got.Worker), []byte(w.name+":")) {
				t.Errorf("call %d ran on worker %q, want one named %s", i, got.Worker, w.name)
			}
			want := tasks.CallInfo{
				Task: "info", Job: m.ID(), Call: i, Calls: 5, Chunk: i / 2, Attempt: 1, Delivery: 1,
				Worker: got.Worker, Queue: e.queue,
			}
			if got != want {
				t.Errorf("call %d knows %+v, want %+v", i, got, want)
			}
		}
	})
}

func TestAnEmptyMapIsReadyAtOnce(t *testing.T) {
	each(t, func(t *testing.T, e *env) { // no worker needed
		p := e.pool(t)
		for _, args := range [][]int{nil, {}} {
			m, err := producer.MapAsync(ctx(t), p, square, args)
			if err != nil {
				t.Fatal(err)
			}
			var ran, failed atomic.Int32
			m.OnSuccess(func(v []int) {
				if v == nil || len(v) != 0 {
					t.Errorf("OnSuccess got %#v, want an empty slice", v)
				}
				ran.Add(1)
			})
			m.OnError(func(error) { failed.Add(1) })
			v, err := m.Get(ctx(t))
			same(t, "an empty map", v, err, []int{})
			eventually(t, "OnSuccess has run", func() bool { return ran.Load() > 0 })
			other, err := producer.AttachMap(ctx(t), e.pool(t), square, m.ID())
			if err != nil {
				t.Fatal(err)
			}
			v, err = other.Get(ctx(t))
			same(t, "an empty map, attached", v, err, []int{})
			runs := ran.Load()
			if runs != 1 || failed.Load() != 0 {
				t.Errorf("OnSuccess ran %d times and OnError %d times, want 1 and 0", runs, failed.Load())
			}
		}
	})
}

func TestALargeMapTakesSeveralRoundTrips(t *testing.T) {
	each(t, func(t *testing.T, e *env) {
		p := e.pool(t)
		m, err := producer.MapAsync(ctx(t), p, square, numbers(510), producer.ChunkSize(1)) // over 500 chunks a trip
		if err != nil {
			t.Fatal(err)
		}
		e.worker(t, 8)
		got, err := m.Get(ctx(t))
		if err != nil || !slices.Equal(got, squares(510)) {
			t.Errorf("got %d values, error %v", len(got), err)
		}
	})
}
