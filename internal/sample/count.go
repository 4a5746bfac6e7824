package sample

import (
	"context"
	"errors"
	"io"
	"os"
)

// Counts is what [WordCount] returns: the numbers that wc prints.
type Counts struct {
	Lines int `json:"lines"` // newline characters
	Words int `json:"words"` // runs of bytes that are not ASCII white space
	Bytes int `json:"bytes"`
}

// Plus returns the sum of both.
func (c Counts) Plus(d Counts) Counts {
	return Counts{Lines: c.Lines + d.Lines, Words: c.Words + d.Words, Bytes: c.Bytes + d.Bytes}
}

// CountFile counts a file without holding more than a small part of it in
// memory. It stops when ctx ends.
func CountFile(ctx context.Context, path string) (Counts, error) {
	f, err := os.Open(path)
	if err != nil {
		return Counts{}, err
	}
	defer f.Close()
	return Count(ctx, f)
}

// Count counts what r yields, to its end. It stops when ctx ends.
func Count(ctx context.Context, r io.Reader) (Counts, error) {
	var c Counts
	buf := make([]byte, 64<<10)
	inWord := false
	for ctx.Err() == nil {
		n, err := r.Read(buf)
		c.Bytes += n
		for _, b := range buf[:n] {
			switch b {
			case '\n':
				c.Lines++
				inWord = false
			case ' ', '\t', '\r', '\v', '\f':
				inWord = false
			default:
				if !inWord {
					c.Words++
				}
				inWord = true
			}
		}
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return Counts{}, err
		}
	}
	return Counts{}, context.Cause(ctx)
}
