package jsoncodec

import "strconv"

// appendInts is the quick way to encode a slice of integers: what encoding/json
// writes, without looking up for each of them how to write an integer. ok is false
// for everything else.
func appendInts(v any) (data []byte, ok bool) {
	switch v := v.(type) {
	case []int:
		return writeInts(v), v != nil
	case []int64:
		return writeInts(v), v != nil
	}
	return nil, false
}

func writeInts[T int | int64](ns []T) []byte {
	if len(ns) == 0 {
		return []byte("[]")
	}
	// As long as the first and the last would need; append makes more.
	var room [24]byte
	n := max(len(strconv.AppendInt(room[:0], int64(ns[0]), 10)), len(strconv.AppendInt(room[:0], int64(ns[len(ns)-1]), 10)))
	b := make([]byte, 0, 2+len(ns)*(n+1))
	b = append(b, '[')
	for i, n := range ns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, ']')
}
