package jsoncodec

import (
	"bytes"
	"encoding/base64"
	"fmt"

	"github.com/distpool/distpool/internal/rawbytes"
)

// unmarshalRaw decodes an array in the raw form. Into byte strings it copies; for
// every other type it goes by way of JSON.
func (c *Codec) unmarshalRaw(data []byte, v any) error {
	dst, ok := v.(*[][]byte)
	if !ok {
		items, err := splitRaw(data)
		if err != nil {
			return err
		}
		array, err := c.Join(items)
		if err != nil {
			return err
		}
		return c.Unmarshal(array, v)
	}
	items, err := rawbytes.Parse(data)
	if err != nil {
		return fmt.Errorf("invalid raw bytes: %w", err)
	}
	got := (*dst)[:0]
	for _, item := range items {
		got = append(got, bytes.Clone(item))
	}
	if got == nil {
		got = [][]byte{}
	}
	*dst = got
	return nil
}

// splitRaw is Split of an array in the raw form: its items as JSON.
func splitRaw(data []byte) ([][]byte, error) {
	items, err := rawbytes.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("invalid raw bytes: %w", err)
	}
	for i, item := range items {
		items[i] = rawbytes.Quote(item)
	}
	return items, nil
}

// appendBytes is the quick way to encode a slice of byte strings, each of them base64
// in a JSON string: what encoding/json writes, which it then reads once more to see
// whether that is JSON. ok is false for everything else.
func appendBytes(v any) (data []byte, ok bool) {
	items, _ := v.([][]byte)
	if items == nil {
		return nil, false
	}
	size := 2
	for _, item := range items {
		size += base64.StdEncoding.EncodedLen(len(item)) + len(`null,`)
	}
	b := append(make([]byte, 0, size), '[')
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		if item == nil {
			b = append(b, "null"...)
			continue
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, item)
		b = append(b, '"')
	}
	return append(b, ']'), true
}

// scanBytes reads a string of base64 that starts at data[i] and returns where it ends.
func scanBytes(data []byte, i int) (item []byte, end int) {
	if i == len(data) || data[i] != '"' {
		return nil, giveUp // null is encoding/json's, too
	}
	n := bytes.IndexByte(data[i+1:], '"')
	if n < 0 {
		return nil, giveUp
	}
	text := data[i+1 : i+1+n]
	// The decoder passes over line breaks, which JSON does not allow. It refuses the
	// backslash of an escape by itself.
	if bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0 {
		return nil, giveUp
	}
	item = make([]byte, base64.StdEncoding.DecodedLen(n))
	n, err := base64.StdEncoding.Decode(item, text)
	if err != nil {
		return nil, giveUp
	}
	return item[:n], i + 1 + len(text) + 1
}
