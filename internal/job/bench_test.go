package job

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/redistest"
)

// BenchmarkScripts measures what Redis pays for one entry of each script: a single call of
// one integer, in calls of the script with 1, 16 and 64 entries. Redis-us/entry is Redis's own processor
// time, commands, Lua and the reading of the request included; the client's is not in it. script-us/entry is
// what Redis itself counts for EVALSHA: without the reading.
func BenchmarkScripts(b *testing.B) {
	rdb := redistest.Start(b).Client(b)
	for _, size := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("entries=%d", size), func(b *testing.B) {
			for b.Loop() {
				benchmarkRound(b, rdb, size)
			}
		})
	}
}

// benchmarkRound runs enough calls through all three scripts for Redis's clock, which has a
// resolution of a microsecond but is moved by a scheduler's noise of milliseconds.
func benchmarkRound(b *testing.B, rdb redis.UniversalClient, size int) {
	const calls = 4096
	ctx := context.Background()
	now := time.Now()
	measure := func(what string, f func()) {
		before, scripts := redisTime(b, rdb), scriptTime(b, rdb)
		f()
		b.ReportMetric(float64((redisTime(b, rdb)-before).Microseconds())/calls, what+"-us/entry")
		b.ReportMetric(float64(scriptTime(b, rdb)-scripts)/calls, what+"-script-us/entry")
	}
	measure("submit", func() {
		for range calls / size {
			entries := make([]Submission, size)
			for i := range entries {
				entries[i] = newCall("bench", rand.Text())
			}
			if _, err := Submit(ctx, rdb, "bench", entries); err != nil {
				b.Fatal(err)
			}
		}
	})
	taken := make([]Taken, 0, calls)
	measure("take", func() {
		for len(taken) < calls {
			some, err := Take(ctx, rdb, "bench", Taking{Worker: "w", Most: size, Room: 1 << 20, Now: now})
			if err != nil || len(some) != size {
				b.Fatal(len(some), err)
			}
			taken = append(taken, some...)
		}
	})
	measure("finish", func() {
		for len(taken) > 0 {
			entries := make([]Finished, size)
			for i := range entries {
				entries[i] = Record(taken[i].Delivery, Outcomes{Frame: []byte("0 1 0\n[49]"), Calls: 1})
			}
			answers, err := Finish(ctx, rdb, "bench", Finishing{Worker: "w", Inline: 8192, Now: now}, entries)
			if err != nil || answers[0] != OK {
				b.Fatal(answers, err)
			}
			taken = taken[size:]
		}
	})
	if err := rdb.FlushAll(ctx).Err(); err != nil {
		b.Fatal(err)
	}
}

// redisTime is the processor time that the server's main thread has taken.
func redisTime(b *testing.B, rdb redis.UniversalClient) time.Duration {
	info, err := rdb.Info(context.Background(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var sum float64
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += seconds
		}
	}
	return time.Duration(sum * float64(time.Second))
}

// scriptTime is for how many us the server has run scripts.
func scriptTime(b *testing.B, rdb redis.UniversalClient) (us int) {
	info, err := rdb.Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		var calls, spent int
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":")
		if _, err := fmt.Sscanf(rest, "calls=%d,usec=%d", &calls, &spent); err == nil && (name == "evalsha" || name == "eval") {
			us += spent
		}
	}
	return us
}
