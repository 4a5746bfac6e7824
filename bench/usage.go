package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// ownCPU is the processor time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // it fails only for a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// processCPU is the processor time that another process has used. It needs
// Linux's /proc.
func processCPU(pid int) (time.Duration, error) {
	// The first field is the time on a processor in nanoseconds. It is finer than
	// the ticks of 10 ms in /proc/PID/stat, but of one thread.
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
	}
	var sum int64
	for _, t := range threads {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the processor time of process %d: %w", pid, err)
		}
		sum += ns
	}
	return time.Duration(sum), nil
}

// redisUsage is what Redis says that it has used.
type redisUsage struct {
	at       time.Time
	commands int64         // with those that scripts make, and the INFO itself
	cpu      time.Duration // of all its threads
	memory   int64         // bytes, without the buffers of its clients
	clients  int64         // bytes of these
	resident int64         // bytes of its process; of one server only
	version  string
}

// usageOf asks Redis what it has used; all masters of a Cluster together.
func usageOf(ctx context.Context, rdb redis.UniversalClient) (redisUsage, error) {
	c, ok := rdb.(*redis.ClusterClient)
	if !ok {
		return usageOfServer(ctx, rdb)
	}
	var mu sync.Mutex
	sum := redisUsage{}
	err := c.ForEachMaster(ctx, func(ctx context.Context, master *redis.Client) error {
		u, err := usageOfServer(ctx, master)
		mu.Lock()
		defer mu.Unlock()
		sum.at, sum.version = u.at, u.version
		sum.commands += u.commands
		sum.cpu += u.cpu
		sum.memory += u.memory
		return err
	})
	return sum, err
}

func usageOfServer(ctx context.Context, rdb redis.Cmdable) (redisUsage, error) {
	fields, err := infoOf(ctx, rdb, "everything")
	if err != nil {
		return redisUsage{}, err
	}
	number := func(name string) float64 {
		x, nerr := fields.number(name)
		if err == nil {
			err = nerr
		}
		return x
	}
	u := redisUsage{
		at:       time.Now(),
		commands: int64(number("total_commands_processed")),
		cpu:      time.Duration((number("used_cpu_user") + number("used_cpu_sys")) * 1e9),
		memory:   int64(number("used_memory") - number("mem_clients_normal") - number("mem_clients_slaves")),
		clients:  int64(number("mem_clients_normal")),
		resident: int64(number("used_memory_rss")),
		version:  fields["redis_version"],
	}
	return u, err
}

// info is what Redis says of itself.
type info map[string]string

func infoOf(ctx context.Context, rdb redis.Cmdable, section string) (info, error) {
	text, err := rdb.Info(ctx, section).Result()
	if err != nil {
		return nil, fmt.Errorf("asking Redis for its INFO: %w", err)
	}
	fields := info{}
	for l := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(l), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

func (i info) number(name string) (float64, error) {
	x, err := strconv.ParseFloat(i[name], 64)
	if err != nil {
		return 0, fmt.Errorf("reading Redis's INFO: field %s is %q, not a number", name, i[name])
	}
	return x, nil
}

// dial makes a client of the Redis that is measured; of a Cluster if its address is a list.
func dial(s settings) redis.UniversalClient {
	return redis.NewUniversalClient(&redis.UniversalOptions{Addrs: strings.Split(s.addr, ","), ClientName: "bench-observer"})
}
