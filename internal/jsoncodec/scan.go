package jsoncodec

import (
	"bytes"
	"math"
	"strconv"
	"unicode/utf8"
)

// encoding/json reads every byte twice and every value by reflection, which
// costs some 80 ns for each small integer. In a map of millions of calls that is
// what producers and workers spend their time on. So the plainest cases, arrays
// and tuples of integers, floats, strings and booleans, are read and written
// here, several times as fast (see BenchmarkJSON of package tasks).
//
// Nothing here decides what is valid: a scanner that meets anything but the
// plainest form of a value gives up, and encoding/json does the whole piece
// again. So both always agree, and all errors are those of encoding/json.

// giveUp is the position that a scanner returns when it leaves its input to
// encoding/json.
const giveUp = -1

// scanInt reads an integer that starts at data[i] and returns where it ends.
func scanInt(data []byte, i int) (n int64, end int) {
	negative := i < len(data) && data[i] == '-'
	if negative {
		i++
	}
	first := i
	var u uint64
	for ; i < len(data); i++ {
		d := data[i] - '0'
		if d > 9 {
			break
		}
		u = u*10 + uint64(d)
	}
	// 19 digits are less than 2^64, so u is right up to there.
	if digits := i - first; digits == 0 || digits > 19 || digits > 1 && data[first] == '0' {
		return 0, giveUp
	}
	if i < len(data) && (data[i] == '.' || data[i] == 'e' || data[i] == 'E') {
		return 0, giveUp // a fraction or an exponent follows
	}
	if negative {
		if u > -math.MinInt64 {
			return 0, giveUp
		}
		return -int64(u), i
	}
	if u > math.MaxInt64 {
		return 0, giveUp
	}
	return int64(u), i
}

// scanNativeInt is scanInt for int, which may have 32 bits.
func scanNativeInt(data []byte, i int) (n, end int) {
	long, end := scanInt(data, i)
	if n = int(long); int64(n) != long {
		return 0, giveUp
	}
	return n, end
}

// scanFloat reads a number that starts at data[i] and returns where it ends.
func scanFloat(data []byte, i int) (f float64, end int) {
	start := i
	if i < len(data) && data[i] == '-' {
		i++
	}
	first := i
	if i = scanDigits(data, i); i == first || i > first+1 && data[first] == '0' {
		return 0, giveUp
	}
	if i < len(data) && data[i] == '.' {
		first = i + 1
		if i = scanDigits(data, first); i == first {
			return 0, giveUp
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		first = i
		if i = scanDigits(data, i); i == first {
			return 0, giveUp
		}
	}
	f, err := strconv.ParseFloat(string(data[start:i]), 64)
	if err != nil {
		return 0, giveUp
	}
	return f, i
}

func scanDigits(data []byte, i int) int {
	for i < len(data) && data[i]-'0' <= 9 {
		i++
	}
	return i
}

// scanString reads a string that starts at data[i] and has no escapes.
func scanString(data []byte, i int) (s string, end int) {
	if i >= len(data) || data[i] != '"' {
		return "", giveUp
	}
	i++
	ascii := true
	for end = i; end < len(data); end++ {
		switch c := data[end]; {
		case c == '"':
			s := data[i:end]
			if !ascii && !utf8.Valid(s) {
				return "", giveUp
			}
			return string(s), end + 1
		case c < ' ' || c == '\\':
			return "", giveUp
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return "", giveUp
}

// scanBool reads a boolean that starts at data[i].
func scanBool(data []byte, i int) (b bool, end int) {
	switch rest := data[min(i, len(data)):]; {
	case bytes.HasPrefix(rest, []byte("true")):
		return true, i + 4
	case bytes.HasPrefix(rest, []byte("false")):
		return false, i + 5
	}
	return false, giveUp
}

// scanValue reads data, the whole of it, into the variable that p points to. It
// is false for types and for values that it leaves to encoding/json.
func scanValue(data []byte, p any) bool {
	switch p := p.(type) {
	case *int:
		return scanWhole(data, p, scanNativeInt)
	case *int64:
		return scanWhole(data, p, scanInt)
	case *float64:
		return scanWhole(data, p, scanFloat)
	case *string:
		return scanWhole(data, p, scanString)
	case *bool:
		return scanWhole(data, p, scanBool)
	}
	return false
}

func scanWhole[T any](data []byte, p *T, scan func([]byte, int) (T, int)) bool {
	v, end := scan(data, 0)
	if end != len(data) {
		return false
	}
	*p = v
	return true
}

// scanSlice reads data, the whole of it, into the slice that p points to and
// reuses its memory. It is false for types and for values that it leaves to
// encoding/json.
func scanSlice(data []byte, p any) bool {
	switch p := p.(type) {
	case *[]int:
		return scanArray(data, p, scanNativeInt)
	case *[]int64:
		return scanArray(data, p, scanInt)
	case *[]float64:
		return scanArray(data, p, scanFloat)
	case *[]string:
		return scanArray(data, p, scanString)
	case *[]bool:
		return scanArray(data, p, scanBool)
	case *[][]byte:
		return scanArray(data, p, scanBytes)
	}
	return false
}

// scanArray reads data, the whole of it, as an array into *p and reuses the
// memory of *p. When it is false, the length of *p is what it was, but the items
// that were read before it gave up are in its memory, each at its index: where
// encoding/json will put them too.
func scanArray[T any](data []byte, p *[]T, item func([]byte, int) (T, int)) bool {
	if p == nil {
		return false
	}
	out := (*p)[:0]
	if out == nil {
		out = []T{} // an empty array is not nil
	}
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '[' {
		return false
	}
	i = skipSpace(data, i+1)
	for more := i < len(data) && data[i] != ']'; more; {
		v, end := item(data, i)
		if end == giveUp {
			return false
		}
		if end = skipSpace(data, end); end == len(data) || data[end] != ',' && data[end] != ']' {
			return false
		}
		out = append(out, v)
		i = end
		if more = data[end] == ','; more {
			i = skipSpace(data, end+1)
		}
	}
	if skipSpace(data, i+1) != len(data) { // data[i] is the closing bracket
		return false
	}
	*p = out
	return true
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}

// eachItem cuts an array apart and hands the items to yield until that is
// false. It is false if data is not an array.
//
// It looks only at brackets and strings, so an item may be anything, even empty,
// and has still to be parsed. If all of them prove valid, so is the array.
func eachItem(data []byte, yield func(item []byte) bool) bool {
	i := skipSpace(data, 0)
	if i == len(data) || data[i] != '[' {
		return false
	}
	i = skipSpace(data, i+1)
	for more := i < len(data) && data[i] != ']'; more; {
		end := scanItem(data, i)
		if end == giveUp || data[end] == '}' {
			return false
		}
		if !yield(bytes.TrimRight(data[i:end], " \n\t\r")) {
			return true
		}
		i = end
		if more = data[end] == ','; more {
			i = skipSpace(data, end+1)
		}
	}
	return skipSpace(data, i+1) == len(data) // data[i] is the closing bracket
}

// scanItem returns the end of the array item that starts at data[i]: the comma
// or closing bracket after it.
func scanItem(data []byte, i int) int {
	depth := 0
	for ; i < len(data); i++ {
		switch data[i] {
		case '"':
			for i++; i < len(data) && data[i] != '"'; i++ {
				if data[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			depth++
		case ',':
			if depth == 0 {
				return i
			}
		case ']', '}':
			if depth == 0 {
				return i
			}
			depth--
		}
	}
	return giveUp
}

// appendValue appends the variable that p points to. It is false for types and
// for values that it leaves to encoding/json.
func appendValue(dst []byte, p any) ([]byte, bool) {
	switch p := p.(type) {
	case *int:
		return strconv.AppendInt(dst, int64(*p), 10), true
	case *int64:
		return strconv.AppendInt(dst, *p, 10), true
	case *float64:
		// Other magnitudes are written with an exponent, NaN not at all.
		if abs := math.Abs(*p); abs == 0 || 1e-6 <= abs && abs < 1e21 {
			return strconv.AppendFloat(dst, *p, 'f', -1, 64), true
		}
	case *string:
		if isPlain(*p) {
			return append(append(append(dst, '"'), *p...), '"'), true
		}
	case *bool:
		return strconv.AppendBool(dst, *p), true
	}
	return dst, false
}

// isPlain reports whether a JSON string holds s as it is.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
