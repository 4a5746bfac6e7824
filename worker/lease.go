package worker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// asynq gives each delivery that it takes a lease, and extends the lease while the
// handler runs. It keeps the end of the lease in memory, too. Once that has passed, it
// neither retries nor archives nor requeues the delivery, and its shutdown does not wait
// for the handler: it leaves all of that to whichever worker finds the lease in Redis.
// The job's record says which worker runs a chunk, so a lease must not end here while
// its call runs.
const (
	// lease is how long a lease lasts (asynq v0.26, internal/rdb: LeaseDuration).
	lease = 30 * time.Second
	// freshFor is how old a request for a task may be to get a delivery. asynq computes
	// the lease before it sends the request. An older request is told that there is no
	// task, and asynq sends the next one at once.
	freshFor = time.Second
	// beatTime bounds each request of asynq's heartbeat, which extends the leases only
	// after it has described the server: go-redis's own attempts take half a lease.
	beatTime = 5 * time.Second
	// leaseGrace is how long a lease is extended in memory alone, while Redis does not
	// answer. Other workers take a delivery back 30 s after its lease in Redis has
	// ended (asynq v0.26, recoverer.go), and thus after the lease in memory.
	leaseGrace = lease - 2*beatTime
)

// leases knows since when Redis does not extend leases, by asynq's key. Only the
// goroutine of asynq's heartbeat uses it. The zero value is ready.
type leases struct{ failing map[string]time.Time }

// tolerate reports whether a lease counts as extended although Redis answered err.
func (l *leases) tolerate(key string, err error) bool {
	if err == nil {
		delete(l.failing, key)
		return false
	}
	if l.failing == nil {
		l.failing = map[string]time.Time{}
	}
	since, ok := l.failing[key]
	if !ok {
		since = time.Now()
		l.failing[key] = since
	}
	return time.Since(since) < leaseGrace
}

// ZAdd is how asynq's heartbeat names its server.
func (d *doorbell) ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	return d.Client.ZAdd(ctx, key, members...)
}

// ZAddXX is how asynq's heartbeat extends leases (asynq v0.26, internal/rdb: ExtendLease).
func (d *doorbell) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	ctx, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	cmd := d.Client.ZAddXX(ctx, key, members...)
	if d.leases.tolerate(key, cmd.Err()) {
		cmd.SetErr(nil)
	}
	return cmd
}
