package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// largeLine is what W10 prints.
type largeLine struct {
	W       string  `json:"w"`
	N       int     `json:"n"`
	Bytes   int     `json:"bytes"` // of each argument and of each value
	Sec     float64 `json:"sec"`
	MBPerS  float64 `json:"mb_per_s"`  // of arguments and values together, MiB
	Plain   float64 `json:"plain_sec"` // the same bytes by SET and GET
	OfPlain float64 `json:"of_plain"`  // plain_sec / sec
}

// runLarge moves values there and back, as many at a time as the worker has
// slots, and then the same bytes by plain SET and GET over as many connections:
// each argument and each value is set once and got once. They are of random
// bytes, which no compression makes smaller.
func runLarge(ctx context.Context, sys system, s settings) (line any, err error) {
	args := make([][]byte, s.n)
	for i := range args {
		args[i] = randomBytes(s.size, uint64(i))
	}
	var took, plain time.Duration
	err = within(ctx, sys, s, func(c client) error {
		if err := warm(ctx, c); err != nil {
			return err
		}
		started := time.Now()
		err := spread(ctx, s.n, s.conc, func(ctx context.Context, lo, hi int) error {
			for i := lo; i < hi; i++ {
				v, err := c.flip(ctx, args[i])
				if err != nil {
					return err
				}
				if !bytes.Equal(v, flipped(args[i])) {
					return fmt.Errorf("wrong value: argument %d did not come back flipped (%d bytes, want %d)", i, len(v), len(args[i]))
				}
			}
			return nil
		})
		took = time.Since(started)
		return err
	})
	if err != nil {
		return nil, err
	}
	if plain, err = plainTime(ctx, s, args); err != nil {
		return nil, err
	}
	moved := float64(2*s.n*s.size) / (1 << 20)
	return largeLine{
		s.w, s.n, s.size, rounded(took.Seconds(), 4), rounded(moved/took.Seconds(), 2),
		rounded(plain.Seconds(), 4), rounded(plain.Seconds()/took.Seconds(), 4),
	}, nil
}

// plainTime moves each argument and its value through Redis without a worker.
func plainTime(ctx context.Context, s settings, args [][]byte) (time.Duration, error) {
	rdb := dial(s)
	defer rdb.Close()
	started := time.Now()
	err := spread(ctx, len(args), s.conc, func(ctx context.Context, lo, hi int) error {
		for i := lo; i < hi; i++ {
			key := "bench:plain:" + strconv.Itoa(i)
			for _, data := range [][]byte{args[i], flipped(args[i])} {
				if err := rdb.Set(ctx, key, data, time.Minute).Err(); err != nil {
					return err
				}
				got, err := rdb.Get(ctx, key).Bytes()
				if err != nil {
					return err
				}
				if !bytes.Equal(got, data) {
					return fmt.Errorf("wrong value: %s did not come back as it was set", key)
				}
			}
			if err := rdb.Unlink(ctx, key).Err(); err != nil {
				return err
			}
		}
		return nil
	})
	return time.Since(started), err
}

func randomBytes(n int, seed uint64) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}
