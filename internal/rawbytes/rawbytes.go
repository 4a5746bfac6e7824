// Package rawbytes is the form in which large byte strings travel in place of an
// array of the JSON codec: as they are, where JSON needs base64, which is a third
// longer and has to be made and read byte by byte.
//
// It starts with a line of their lengths, "-" for nil, after a sign with which no
// JSON starts:
//
//	#1048576 - 20\n + the byte strings, one after the other
//
// Arguments and outcomes may have it, checkpoints not. Every reader reads base64, too.
package rawbytes

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
)

// Least is how large one of the byte strings has to be for this form to be worth it.
const Least = 16 << 10

const mark = '#'

// Worth reports whether the byte strings should travel in this form.
func Worth(items [][]byte) bool {
	for _, item := range items {
		if len(item) >= Least {
			return true
		}
	}
	return false
}

// Encode puts byte strings into this form.
func Encode(items [][]byte) []byte {
	const perLength = 12
	size := 2 + perLength*len(items)
	for _, item := range items {
		size += len(item)
	}
	b := append(make([]byte, 0, size), mark)
	for i, item := range items {
		if i > 0 {
			b = append(b, ' ')
		}
		if item == nil {
			b = append(b, '-')
		} else {
			b = strconv.AppendInt(b, int64(len(item)), 10)
		}
	}
	b = append(b, '\n')
	for _, item := range items {
		b = append(b, item...)
	}
	return b
}

// Is reports whether data is in this form, or claims to be.
func Is(data []byte) bool { return len(data) > 0 && data[0] == mark }

// Parse undoes Encode. The byte strings alias data.
func Parse(data []byte) ([][]byte, error) {
	if !Is(data) {
		return nil, errors.New("no line of lengths")
	}
	line, rest, ok := bytes.Cut(data[1:], []byte{'\n'})
	if !ok {
		return nil, errors.New("the line of lengths does not end")
	}
	// There are at least as many bytes as there are items.
	items := make([][]byte, 0, bytes.Count(line, []byte{' '})+1)
	for more := len(line) > 0; more; {
		var field []byte
		field, line, more = bytes.Cut(line, []byte{' '})
		if len(field) == 1 && field[0] == '-' {
			items = append(items, nil)
			continue
		}
		n, err := strconv.ParseUint(string(field), 10, 62)
		if err != nil || n > uint64(len(rest)) {
			return nil, fmt.Errorf("byte string %d has the length %.30q, and %d bytes are left", len(items), field, len(rest))
		}
		items = append(items, rest[:n:n])
		rest = rest[n:]
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes behind the last byte string", len(rest))
	}
	return items, nil
}

// Quote is a byte string as JSON: base64, or null for nil.
func Quote(item []byte) []byte {
	if item == nil {
		return []byte("null")
	}
	b := append(make([]byte, 0, base64.StdEncoding.EncodedLen(len(item))+2), '"')
	b = base64.StdEncoding.AppendEncode(b, item)
	return append(b, '"')
}
