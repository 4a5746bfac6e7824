package producer_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

var errDied = errors.New("this process has died")

// dying is a producer whose connection ends with the second batch of job "j".
type dying struct{ rdb *miniredis.Miniredis }

func (dying) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (dying) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (d dying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		about := func(cmd redis.Cmder) bool {
			args := cmd.Args()
			return cmd.Name() == "evalsha" && len(args) > 3 && args[3] == record.Keys("q/j")[0]
		}
		if !d.rdb.Exists(record.Keys("q/j")[0]) || !slices.ContainsFunc(cmds, about) {
			return next(ctx, cmds)
		}
		for _, cmd := range cmds {
			cmd.SetErr(errDied)
		}
		return errDied
	}
}

// How many bytes the calls are, and so how they are cut, must not depend on which workers
// live just now: somebody else may have to go on.
func TestWhoCompletesAJobCutsItAsItWasBegunWhateverItsWorkersRead(t *testing.T) {
	const calls, bytesEach = 200, 100_000
	size := tasks.Define("identity.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	args := slices.Repeat([][]byte{bytes.Repeat([]byte{0xfe}, bytesEach)}, calls)
	for name, test := range map[string]struct {
		first, second bool // whether the workers read the raw form
		opts          []producer.Option
		raw           bool // whether it is used for those who do
	}{
		"old workers, then new ones":                 {first: false, second: true},
		"new workers, then old ones":                 {first: true, second: false},
		"old, then new ones; chunks of a given size": {first: false, second: true, opts: []producer.Option{producer.ChunkSize(7)}, raw: true},
	} {
		t.Run(name, func(t *testing.T) {
			mini := miniredis.RunT(t)
			open := func() (*producer.Pool, redis.UniversalClient) {
				rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
				t.Cleanup(func() { rdb.Close() })
				p, err := producer.Open(t.Context(), producer.Config{Client: rdb, Queue: "q", Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Release)
				return p, rdb
			}
			opts := append(test.opts, producer.ID("j"))
			first, rdb := open()
			beat := func(big bool) {
				w := fleet.Worker{ID: "w", Concurrency: 2, Queues: map[string]int{"q": 1}, Big: big}
				if err := fleet.Register(t.Context(), rdb, w, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			beat(test.first)
			rdb.AddHook(dying{mini})
			if _, err := producer.MapAsync(t.Context(), first, size, args, opts...); !errors.Is(err, errDied) {
				t.Fatalf("the first submission ends with %v", err)
			}
			half, err := record.Read(t.Context(), rdb, "q/j")
			if err != nil || half.State != record.Open || half.Chunks == 0 {
				t.Fatalf("the job that was begun is %+v, %v", half, err)
			}

			second, rdb := open()
			beat(test.second)
			if _, err := producer.MapAsync(t.Context(), second, size, args, opts...); err != nil {
				t.Fatal(err)
			}
			all, err := record.Read(t.Context(), rdb, "q/j")
			if err != nil || all.State != record.Sealed || all.Calls != calls || all.Chunks <= half.Chunks {
				t.Fatalf("the job that was completed is %+v, %v", all, err)
			}
			at := 0
			for k := range all.Chunks {
				field := rdb.HGet(t.Context(), record.Keys("q/j")[1], strconv.Itoa(k)).Val()
				frame, err := record.Whole(t.Context(), rdb, "q/j", []byte(field))
				if err != nil {
					t.Fatal(err)
				}
				from, n, data, err := wire.ParseArgs(frame)
				if err != nil || from != at {
					t.Fatalf("chunk %d of %d, of which %d were there, starts at call %d, %v; want call %d", k, all.Chunks, half.Chunks, from, err, at)
				}
				at += n
				reads := test.first
				if k >= half.Chunks {
					reads = test.second
				}
				if raw := rawbytes.Is(data); raw != (test.raw && reads) {
					t.Errorf("chunk %d is in the raw form: %t", k, raw)
				}
			}
			if at != calls {
				t.Errorf("the chunks have %d calls, want %d", at, calls)
			}
		})
	}
}
