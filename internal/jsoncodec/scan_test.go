package jsoncodec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"
)

// codec knows no tuples. The tests of package tasks cover tuples.
var codec = New(func(reflect.Type) bool { return false }, nil)

// Everything here compares with encoding/json: the scanners may give up, but
// what they do, they must do as it does.

// sameArray decodes data as []T with the codec and with encoding/json.
func sameArray[T any](t *testing.T, data []byte) {
	t.Helper()
	var want []T
	wantErr := json.Unmarshal(data, &want)
	if hasNull[T](data) {
		wantErr = errors.New("null, which encoding/json passes over")
	}
	// As a worker decodes: into memory that is there.
	got := make([]T, 0, 3)
	err := codec.Unmarshal(data, &got)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("decoding %q as %T: error %v, encoding/json %v", data, got, err, wantErr)
	}
	if err != nil {
		return
	}
	if (got == nil) != (want == nil) || len(got) != len(want) {
		t.Fatalf("decoding %q: got %#v, encoding/json %#v", data, got, want)
	}
	for i := range got {
		if !identical(got[i], want[i]) {
			t.Fatalf("decoding %q: item %d is %#v, encoding/json has %#v", data, i, got[i], want[i])
		}
	}
}

func hasNull[T any](data []byte) bool {
	var items []*T
	return json.Unmarshal(data, &items) == nil && slices.Contains(items, nil)
}

// identical is equality that tells 0 from -0.
func identical(a, b any) bool {
	if f, ok := a.(float64); ok {
		return math.Float64bits(f) == math.Float64bits(b.(float64))
	}
	return a == b
}

func sameArrays(t *testing.T, data []byte) {
	t.Helper()
	sameArray[int](t, data)
	sameArray[int64](t, data)
	sameArray[float64](t, data)
	sameArray[string](t, data)
	sameArray[bool](t, data)
}

// arraySeeds hold every form that a scanner must read or leave alone.
var arraySeeds = []string{
	"", " ", "null", "[]", "[ ]", " [\n]\t", "[", "]", "[[]]", "{}", "[{}]", "[null]", "[1,null,3]", "[,]", "[1,]", "[,1]", "[1 2]", "[1]]", "[1]x",
	"[0]", "[-0]", "[00]", "[01]", "[-01]", "[-]", "[+1]", "[1.0]", "[1.]", "[.5]", "[1e2]", "[1E+2]", "[1e]", "[1e+]", "[0e0]", "[-0.0]", "[-1e-2]",
	"[9223372036854775807]", "[9223372036854775808]", "[-9223372036854775808]", "[-9223372036854775809]", "[2147483648]",
	"[18446744073709551615]", "[18446744073709551616]", "[99999999999999999999]", "[10000000000000000000]", "[123456789012345678901234567890]",
	"[1e400]", "[-1e400]", "[1e-400]", "[5e-324]", "[1.7976931348623157e308]", "[0.1,0.2,0.30000000000000004]", "[1,2,3,4,5,6]", "[ 1 , 2 ]", "[1,2",
	`["a"]`, `[""]`, `["a","b"]`, `["]"]`, `["\""]`, `["\u00e9"]`, `["größe"]`, `["a`, `["\`, "[\"\x1f\"]", "[\"\x7f\"]", "[\"\xff\"]", "[\"\xed\xa0\x80\"]",
	"[\"\u2028\ufffd\"]", "[true]", "[false,true]", "[tru]", "[truer]", "[True]", "[1,true]", `[1,"a"]`, "[\x00]", "[1\x00]", "[1]\x00", "\ufeff[1]",
	"[Infinity]", "[NaN]", "[0x10]", "[1_000]", "[--1]", "[1-2]", "[1/2]", "[1,2,3]  \r\n",
}

func TestScannedArraysAreThoseOfEncodingJSON(t *testing.T) {
	for _, data := range arraySeeds {
		sameArrays(t, []byte(data))
	}
}

func FuzzArrayDecoding(f *testing.F) {
	for _, seed := range arraySeeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(sameArrays)
}

// Random bytes seldom are numbers, so numbers are also drawn at random.
func TestScannedNumbersAreThoseOfEncodingJSON(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		n := int64(r.Uint64()) >> r.IntN(64)
		sameArrays(t, fmt.Appendf(nil, "[%d,%d]", n, -n))
		// Near the ends of the range, on both sides.
		sameArrays(t, fmt.Appendf(nil, "[%d%d]", n, r.IntN(1000)))
		x := math.Float64frombits(r.Uint64())
		if math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		for _, format := range []byte("eEfg") {
			sameArray[float64](t, []byte("["+strconv.FormatFloat(x, format, -1, 64)+"]"))
		}
	}
	for i := range 1200 {
		end := uint64(math.MaxInt64) - 1000 + uint64(i)
		sameArrays(t, fmt.Appendf(nil, "[%d,-%d]", end, end))
		end = math.MaxUint64 - uint64(i)
		sameArrays(t, fmt.Appendf(nil, "[%d,-%d]", end, end))
	}
}

// sameText encodes v as the codec does inside a tuple and as encoding/json does.
func sameText[T any](t *testing.T, v T) {
	t.Helper()
	got, ok := appendValue([]byte("before "), &v)
	if !ok {
		if string(got) != "before " {
			t.Fatalf("gave up on %#v after writing %q", v, got)
		}
		return
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatalf("wrote %q for %#v; encoding/json refuses it: %v", got, v, err)
	}
	if want := "before " + string(bytes.TrimSpace(buf.Bytes())); string(got) != want {
		t.Fatalf("wrote %q for %#v, encoding/json %q", got, v, want)
	}
	var back T
	if !scanValue(got[len("before "):], &back) || !identical(back, v) {
		t.Fatalf("read %#v from %q, want %#v", back, got, v)
	}
}

func TestAppendedValuesAreThoseOfEncodingJSON(t *testing.T) {
	for _, v := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64} {
		sameText(t, v)
		sameText(t, int(v))
	}
	for _, x := range []float64{
		0, math.Copysign(0, -1), 1, 1e-6, math.Nextafter(1e-6, 0), 1e21, math.Nextafter(1e21, 0), 1e20, math.MaxFloat64,
		math.SmallestNonzeroFloat64, math.NaN(), math.Inf(1), math.Inf(-1), math.Pi, 100, 0.1,
	} {
		sameText(t, x)
		sameText(t, -x)
	}
	sameText(t, true)
	sameText(t, false)
	for c := range 0x180 {
		sameText(t, string(rune(c)))
		sameText(t, string([]byte{byte(c)}))
		sameText(t, "a"+string(rune(c))+"b")
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		sameText(t, math.Float64frombits(r.Uint64()))
		sameText(t, r.NormFloat64())
		sameText(t, float64(r.IntN(1e6))/100)
		sameText(t, int64(r.Uint64())>>r.IntN(64))
	}
	var other uint32
	if _, ok := appendValue(nil, &other); ok || scanValue([]byte("1"), &other) {
		t.Error("handled a type that belongs to encoding/json")
	}
}

func TestAScannerThatGivesUpLeavesTheSliceAsItWas(t *testing.T) {
	got := make([]int, 0, 4)
	if scanSlice([]byte("[1,2,1e1,4]"), &got) || got == nil || len(got) != 0 {
		t.Errorf("scanned %#v", got)
	}
}
