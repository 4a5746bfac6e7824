package tasks_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"github.com/distpool/distpool/tasks"
)

// BenchmarkJSON is the reason for scan.go of internal/jsoncodec and for its two ways to
// decode: it sets the codec beside plain encoding/json.
func BenchmarkJSON(b *testing.B) {
	const n = 1000
	r := rand.New(rand.NewPCG(1, 2))
	type point struct {
		X, Y float64
		Name string
	}
	type open struct {
		X, Y float64
		Name any
	}
	path := func() string { return "src/some/package/file.go" }
	b.Run("small ints", benchmarkArray(n, func() int { return r.IntN(10_000) }))
	b.Run("large ints", benchmarkArray(n, func() int64 { return int64(r.Uint64()) }))
	b.Run("floats", benchmarkArray(n, r.Float64))
	b.Run("prices", benchmarkArray(n, func() float64 { return float64(r.IntN(100_000)) / 100 }))
	b.Run("strings", benchmarkArray(n, path))
	b.Run("bools", benchmarkArray(n, func() bool { return r.IntN(2) == 0 }))
	b.Run("pairs", benchmarkArray(n, func() tasks.Args2[int, string] { return tasks.Of2(r.IntN(10_000), path()) }))
	b.Run("triples", benchmarkArray(n, func() tasks.Args3[float64, float64, int] { return tasks.Of3(r.Float64(), r.Float64(), r.Int()) }))
	b.Run("structs", benchmarkArray(n, func() point { return point{r.Float64(), r.Float64(), path()} }))
	b.Run("structs with any", benchmarkArray(n, func() open { return open{r.Float64(), r.Float64(), path()} }))
}

func benchmarkArray[T any](n int, item func() T) func(*testing.B) {
	return func(b *testing.B) {
		in := make([]T, n)
		for i := range in {
			in[i] = item()
		}
		data, err := tasks.JSON.Marshal(in)
		if err != nil {
			b.Fatal(err)
		}
		out := make([]T, n)
		decode := func(unmarshal func([]byte, any) error) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					clear(out)
					got := out[:0]
					if err := unmarshal(data, &got); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		encode := func(marshal func(any) ([]byte, error)) func(*testing.B) {
			return func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := marshal(in); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.Run("decode/encoding-json", decode(json.Unmarshal))
		b.Run("decode/codec", decode(tasks.JSON.Unmarshal))
		b.Run("encode/encoding-json", encode(json.Marshal))
		b.Run("encode/codec", encode(tasks.JSON.Marshal))
	}
}
