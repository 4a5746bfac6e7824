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
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/rawbytes"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/producer"
	"github.com/distpool/distpool/tasks"
)

var errDied = errors.New("this process has died")

// dying is a producer whose connection ends with the second batch of job "j" of queue "q".
type dying struct{ rdb *miniredis.Miniredis }

func (dying) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (dying) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (d dying) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		args := cmd.Args()
		about := cmd.Name() == "evalsha" && len(args) > 3 && args[3] == job.Prefix("q")+"none"
		if !about || !d.rdb.Exists(job.Key("q", "j")) {
			return next(ctx, cmd)
		}
		cmd.SetErr(errDied)
		return errDied
	}
}

func TestWhoCompletesAJobCutsItAsItWasBegun(t *testing.T) {
	const calls, bytesEach = 200, 100_000
	size := tasks.Define("identity.size", func(_ context.Context, b []byte) (int, error) { return len(b), nil })
	args := slices.Repeat([][]byte{bytes.Repeat([]byte{0xfe}, bytesEach)}, calls)
	for name, opts := range map[string][]producer.Option{
		"chunks of an automatic size": nil,
		"chunks of a given size":      {producer.ChunkSize(7)},
	} {
		t.Run(name, func(t *testing.T) {
			mini := miniredis.RunT(t)
			open := func(slots int) (*producer.Pool, redis.UniversalClient) {
				rdb := redis.NewClient(&redis.Options{Addr: mini.Addr()})
				t.Cleanup(func() { rdb.Close() })
				w := fleet.Worker{ID: "w", Concurrency: slots, Queues: map[string]int{"q": 1}}
				if err := fleet.Register(t.Context(), rdb, w, time.Minute); err != nil {
					t.Fatal(err)
				}
				p, err := producer.Open(t.Context(), producer.Config{Client: rdb, Queue: "q", Logger: slog.New(slog.DiscardHandler)})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(p.Release)
				return p, rdb
			}
			opts := append(opts, producer.ID("j"))
			first, rdb := open(2)
			rdb.AddHook(dying{mini})
			if _, err := producer.MapAsync(t.Context(), first, size, args, opts...); !errors.Is(err, errDied) {
				t.Fatalf("the first submission ends with %v", err)
			}
			half, err := job.Read(t.Context(), rdb, "q", "j")
			if err != nil || half.State != job.Open || half.Chunks == 0 {
				t.Fatalf("the job that was begun is %+v, %v", half, err)
			}
			second, rdb := open(9)
			if _, err := producer.MapAsync(t.Context(), second, size, args, opts...); err != nil {
				t.Fatal(err)
			}
			all, err := job.Read(t.Context(), rdb, "q", "j")
			if err != nil || all.State != job.Sealed || all.Calls != calls || all.Chunks <= half.Chunks {
				t.Fatalf("the job that was completed is %+v, %v", all, err)
			}
			at := 0
			for k := range all.Chunks {
				field := rdb.HGet(t.Context(), job.Key("q", "j"), "args:"+strconv.Itoa(k)).Val()
				frame, err := job.Load(t.Context(), rdb, "q", "j", []byte(field))
				if err != nil {
					t.Fatal(err)
				}
				from, n, data, err := wire.ParseArgs(frame)
				if err != nil || from != at || !rawbytes.Is(data) {
					t.Fatalf("chunk %d of %d, of which %d were there, starts at call %d, %v; want call %d", k, all.Chunks, half.Chunks, from, err, at)
				}
				at += n
			}
			if at != calls {
				t.Errorf("the chunks have %d calls, want %d", at, calls)
			}
		})
	}
}
