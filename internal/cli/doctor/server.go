package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// serverInfo is what a Redis says of itself.
type serverInfo struct {
	name   string
	fields map[string]string
}

// serverInfos asks the Redis, or each master of a Cluster.
func serverInfos(ctx context.Context, rdb redis.UniversalClient) ([]serverInfo, error) {
	cluster, ok := rdb.(*redis.ClusterClient)
	if !ok {
		s, err := infoOf(ctx, rdb, "")
		return []serverInfo{s}, err
	}
	var mu sync.Mutex // guards all
	var all []serverInfo
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		s, err := infoOf(ctx, c, c.Options().Addr)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return err
	})
	slices.SortFunc(all, func(x, y serverInfo) int { return strings.Compare(x.name, y.name) })
	return all, err
}

func infoOf(ctx context.Context, c redis.Cmdable, name string) (serverInfo, error) {
	s := serverInfo{name: name, fields: map[string]string{}}
	text, err := c.Info(ctx).Result()
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			s.fields[key] = value
		}
	}
	return s, err
}

func (s serverInfo) number(field string) int64 {
	n, _ := strconv.ParseInt(s.fields[field], 10, 64)
	return n
}

func (s serverInfo) version() finding {
	f := finding{Check: "redis", Verdict: fine, Found: "version " + s.fields["redis_version"]}
	var major, minor int
	if _, err := fmt.Sscanf(s.fields["redis_version"], "%d.%d", &major, &minor); err != nil {
		f.Verdict, f.Found, f.Remedy = doubt, "it does not say its version", "make sure that it is Redis 6.2 or newer, or does the same"
	} else if major < 6 || major == 6 && minor < 2 {
		f.Verdict, f.Remedy = trouble, "use Redis 6.2 or newer"
	}
	return f
}

// role says whether this is a server that takes writes.
func (s serverInfo) role() finding {
	f := finding{Check: "role", Verdict: fine, Found: s.fields["role"]}
	switch s.fields["role"] {
	case "master":
	case "":
		f.Verdict, f.Found, f.Remedy = doubt, "Redis does not say its role", "make sure that it is no replica"
	default:
		f.Verdict, f.Found = trouble, "a replica of "+s.fields["master_host"]+":"+s.fields["master_port"]
		f.Remedy = "name the master: a replica refuses jobs, or loses them"
	}
	return f
}

func (s serverInfo) eviction() finding {
	policy := s.fields["maxmemory_policy"]
	f := finding{Check: "eviction", Verdict: fine, Found: policy}
	switch policy {
	case "noeviction":
	case "":
		f.Verdict, f.Found, f.Remedy = doubt, "Redis does not say its policy", "make sure that nothing is evicted"
	default:
		f.Verdict, f.Remedy = trouble, "set maxmemory-policy noeviction: with another one Redis may delete jobs that run"
	}
	return f
}

func (s serverInfo) memory() finding {
	const mib = 1 << 20
	used, most := s.number("used_memory"), s.number("maxmemory")
	f := finding{Check: "memory", Verdict: fine, Found: fmt.Sprintf("%d of %d MiB used", used/mib, most/mib)}
	switch {
	case most == 0:
		f.Verdict, f.Found = doubt, fmt.Sprintf("%d MiB used, no limit", used/mib)
		f.Remedy = "set maxmemory, so that a full Redis refuses jobs and is not killed by the system"
	case used >= most:
		f.Verdict, f.Remedy = trouble, "raise maxmemory or keep results for a shorter time: this full Redis refuses jobs"
	case used*100 >= most*fullPercent:
		f.Verdict, f.Remedy = doubt, "raise maxmemory or keep results for a shorter time: a full Redis refuses jobs"
	}
	return f
}

func (s serverInfo) persistence() finding {
	f := finding{Check: "persistence", Verdict: fine, Found: "append-only file"}
	switch {
	case s.fields["aof_last_write_status"] == "err", s.fields["rdb_last_bgsave_status"] == "err":
		f.Verdict, f.Found = trouble, "the last write to the disk failed"
		f.Remedy = "see the log of Redis; is the disk full?"
	case s.fields["aof_enabled"] != "1":
		f.Verdict, f.Found = doubt, "no append-only file"
		f.Remedy = "set appendonly yes: without it a restart of Redis loses the jobs since the last snapshot"
	}
	return f
}
