package record_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/redistest"
)

const (
	openTTL   = time.Hour
	resultTTL = time.Minute
)

// onBoth runs f on miniredis and on a real redis-server.
func onBoth(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { rdb.Close() })
		f(t, rdb)
	})
	t.Run("redis", func(t *testing.T) { f(t, redistest.Start(t).Client(t)) })
}

// job describes job "q/j", whose notices go to "reply".
func job(calls, chunks int, sealed bool) record.Job {
	return record.Job{
		ID: "q/j", Task: "square", Codec: "json", Reply: "reply",
		Calls: calls, Chunks: chunks, Sealed: sealed, OpenTTL: openTTL, ResultTTL: resultTTL,
	}
}

// chunks makes the chunks first to first+n-1, with arguments "a<number>".
func chunks(first, n int) []record.Chunk {
	cs := make([]record.Chunk, n)
	for i := range cs {
		cs[i] = record.Chunk{Number: first + i, Args: args(first + i)}
	}
	return cs
}

func args(chunk int) []byte { return []byte("a" + string(rune('0'+chunk))) }

func create(t *testing.T, rdb redis.UniversalClient, j record.Job, cs []record.Chunk) {
	t.Helper()
	if n, err := record.Create(j, cs).Run(t.Context(), rdb).Int(); err != nil || n != 1 {
		t.Fatalf("create answers %d, %v; want 1", n, err)
	}
}

func add(t *testing.T, rdb redis.UniversalClient, calls, total int, seal bool, cs []record.Chunk, want record.State) {
	t.Helper()
	if s, err := record.Add(record.Ref{ID: "q/j"}, calls, total, seal, cs).Run(t.Context(), rdb).Text(); err != nil || s != string(want) {
		t.Fatalf("add answers %q, %v; want %q", s, err, want)
	}
}

func begin(t *testing.T, rdb redis.UniversalClient, chunk int, worker, from string, want record.Verdict) record.Begun {
	t.Helper()
	b, err := record.Begin(t.Context(), rdb, record.Ref{ID: "q/j"}, chunk, worker, from, 3)
	if err != nil || b.Verdict != want {
		t.Fatalf("begin of chunk %d by %s answers %+v, %v; want %q", chunk, worker, b, err, want)
	}
	return b
}

func rec(t *testing.T, rdb redis.UniversalClient, chunk int, outcome string, failed int, want record.Result) {
	t.Helper()
	if r, err := record.Record(t.Context(), rdb, record.Ref{ID: "q/j"}, chunk, []byte(outcome), 2, failed, 100); err != nil || r != want {
		t.Fatalf("record of chunk %d answers %q, %v; want %q", chunk, r, err, want)
	}
}

func read(t *testing.T, rdb redis.UniversalClient) record.Snapshot {
	t.Helper()
	s, err := record.Read(t.Context(), rdb, "q/j")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keys returns the suffixes of the job's keys ("" for the hash itself), and
// checks that each key goes away within limit, and not much sooner.
func keys(t *testing.T, rdb redis.UniversalClient, limit time.Duration) map[string]bool {
	t.Helper()
	names, err := rdb.Keys(t.Context(), "distpool:{q}:job:j*").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, name := range names {
		found[strings.TrimPrefix(name, "distpool:{q}:job:j")] = true
		// Half is far from both of the times to live that these tests use.
		if ttl := rdb.PTTL(t.Context(), name).Val(); ttl <= limit/2 || ttl > limit {
			t.Errorf("key %s lives for %v, want %v", name, ttl, limit)
		}
	}
	return found
}

// subscribe listens to a channel from now on.
func subscribe(t *testing.T, rdb redis.UniversalClient, channel string) func() string {
	t.Helper()
	sub := rdb.Subscribe(t.Context(), channel)
	t.Cleanup(func() { sub.Close() })
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	return func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		m, err := sub.ReceiveMessage(ctx)
		if err != nil {
			t.Fatalf("waiting for a message on %s: %v", channel, err)
		}
		return m.Payload
	}
}

func nextNotice(t *testing.T, next func() string) record.Notice {
	t.Helper()
	n, err := record.ParseNotice(next())
	if err != nil {
		t.Fatal(err)
	}
	return n
}
