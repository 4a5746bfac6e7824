package job

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// lanesKey is a hash: for each queue that spans a Cluster the numbers of lanes that it has
// had, the newest first, as "NUMBER@SINCE" with the time from which on new jobs use it (ms).
const lanesKey = "distpool:@{lanes}"

const (
	// lanesFor is how long a Router believes what it has read.
	lanesFor = 5 * time.Second
	// lanesAhead is how long before its first use a new number of lanes is made known: by
	// then every Router has read it, also one with a clock that differs by some seconds.
	lanesAhead = 30 * time.Second
	// lanesTTL is how long the numbers of lanes outlive the last program that uses them:
	// longer than the jobs of queues that everyone has left.
	lanesTTL = 366 * 24 * time.Hour
	// lanesRenewed is how often a Router gives them that time again.
	lanesRenewed = time.Hour
)

// Router tells the lanes of queues. On anything but a Cluster a queue has one lane, its own
// name. On a Cluster it has as many as there were masters when the queue was first used,
// unless SetLanes says otherwise. A Router is safe for concurrent use.
type Router struct {
	rdb     redis.UniversalClient
	cluster *redis.ClusterClient // nil: it is none
	reading bool

	mu      sync.Mutex // guards all below
	known   map[string]layout
	renewed time.Time // when this Router last gave the numbers their time to live
}

// layout is the numbers of lanes of a queue.
type layout struct {
	numbers []laneNumber
	read    time.Time
}

type laneNumber struct {
	n     int
	since time.Time
}

// Reading returns the Router as one that only reads: a queue that was never used has one lane
// for it, and gets no number.
func (r *Router) Reading() *Router {
	r.reading = true
	return r
}

// NewRouter makes a Router on a client that stays the caller's.
func NewRouter(rdb redis.UniversalClient) *Router {
	cluster, _ := rdb.(*redis.ClusterClient)
	return &Router{rdb: rdb, cluster: cluster, known: map[string]layout{}}
}

// Lanes returns every lane of the queue that may have jobs, the lanes of new jobs first.
func (r *Router) Lanes(ctx context.Context, queue string) ([]string, error) {
	l, err := r.layout(ctx, queue)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, n := range l.current() {
		for _, lane := range Lanes(queue, n) {
			if !slices.Contains(all, lane) {
				all = append(all, lane)
			}
		}
	}
	return all, nil
}

// Lane is the lane of a new job of this name.
func (r *Router) Lane(ctx context.Context, queue, name string) (string, error) {
	if r.cluster == nil {
		return queue, nil
	}
	l, err := r.layout(ctx, queue)
	if err != nil {
		return "", err
	}
	return LaneOf(Lanes(queue, l.current()[0]), name), nil
}

// Find is the lane that has the job of this name. If none has, it is that of a new job.
func (r *Router) Find(ctx context.Context, queue, name string) (string, error) {
	if r.cluster == nil {
		return queue, nil
	}
	l, err := r.layout(ctx, queue)
	if err != nil {
		return "", err
	}
	var candidates []string
	for _, n := range l.current() {
		if lane := LaneOf(Lanes(queue, n), name); !slices.Contains(candidates, lane) {
			candidates = append(candidates, lane)
		}
	}
	for _, lane := range candidates[1:] { // those of older numbers
		if there, err := r.rdb.Exists(ctx, Key(lane, name)).Result(); err != nil || there == 1 {
			return lane, err
		}
	}
	return candidates[0], nil
}

// Forget removes what is known of the lanes of a queue that is gone.
func (r *Router) Forget(ctx context.Context, queue string) error {
	if r.cluster == nil {
		return nil
	}
	return r.rdb.HDel(ctx, lanesKey, queue).Err()
}

// SetLanes gives the queue n lanes, from half a minute from now on. A number that is lower is
// refused.
func (r *Router) SetLanes(ctx context.Context, queue string, n int) error {
	if n < 1 || n > MaxLanes {
		return fmt.Errorf("%d lanes for queue %q: use 1 to %d", n, queue, MaxLanes)
	}
	if r.cluster == nil {
		return fmt.Errorf("%d lanes for queue %q: Redis is no Cluster, and a queue has one lane", n, queue)
	}
	for {
		was, err := r.rdb.HGet(ctx, lanesKey, queue).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if l := parseLayout(was); len(l.numbers) > 0 && n <= l.numbers[0].n {
			return fmt.Errorf("%d lanes for queue %q: it has %d, and lanes cannot be taken away", n, queue, l.numbers[0].n)
		}
		is := fmt.Sprintf("%d@%d %s", n, time.Now().Add(lanesAhead).UnixMilli(), was)
		swapped, err := swapScript.Run(ctx, r.rdb, []string{lanesKey}, queue, was, strings.TrimSpace(is), lanesTTL.Milliseconds()).Bool()
		if err != nil || swapped {
			return err
		}
	}
}

// swapScript sets a field of a hash if its value is still what was read of it.
var swapScript = redis.NewScript(`
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1`)

func (r *Router) layout(ctx context.Context, queue string) (layout, error) {
	if r.cluster == nil {
		return layout{numbers: []laneNumber{{n: 1}}}, nil
	}
	r.mu.Lock()
	l := r.known[queue]
	r.mu.Unlock()
	if len(l.numbers) > 0 && time.Since(l.read) < lanesFor {
		return l, nil
	}
	text, err := r.rdb.HGet(ctx, lanesKey, queue).Result()
	if errors.Is(err, redis.Nil) && r.reading {
		return layout{numbers: []laneNumber{{n: 1}}}, nil
	}
	if errors.Is(err, redis.Nil) {
		text, err = r.first(ctx, queue)
	}
	if err == nil {
		err = r.renew(ctx)
	}
	if err != nil {
		return layout{}, fmt.Errorf("reading the lanes of queue %q: %w", queue, err)
	}
	l = parseLayout(text)
	l.read = time.Now()
	if len(l.numbers) == 0 {
		return layout{}, fmt.Errorf("%w: field %q of %s is %.80q, not numbers of lanes", errDamaged, queue, lanesKey, text)
	}
	r.mu.Lock()
	r.known[queue] = l
	r.mu.Unlock()
	return l, nil
}

// renew gives the numbers of lanes their time to live, once in a while.
func (r *Router) renew(ctx context.Context) error {
	r.mu.Lock()
	due := !r.reading && time.Since(r.renewed) > lanesRenewed
	r.mu.Unlock()
	if !due {
		return nil
	}
	if err := r.rdb.PExpire(ctx, lanesKey, lanesTTL).Err(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.renewed = time.Now()
	return nil
}

// first gives a queue that has no number of lanes the number of masters.
func (r *Router) first(ctx context.Context, queue string) (string, error) {
	var mu sync.Mutex
	masters := 0
	err := r.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		masters++
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := r.rdb.HSetNX(ctx, lanesKey, queue, fmt.Sprintf("%d@0", min(max(1, masters), MaxLanes))).Err(); err != nil {
		return "", err
	}
	return r.rdb.HGet(ctx, lanesKey, queue).Result()
}

func parseLayout(text string) layout {
	var l layout
	for word := range strings.FieldsSeq(text) {
		n, since, _ := strings.Cut(word, "@")
		number, err := strconv.Atoi(n)
		ms, err2 := strconv.ParseInt(since, 10, 64)
		if err == nil && err2 == nil && number >= 1 && number <= MaxLanes {
			l.numbers = append(l.numbers, laneNumber{number, time.UnixMilli(ms)})
		}
	}
	return l
}

// current is the numbers of lanes that are in use, that of new jobs first.
func (l layout) current() []int {
	var ns []int
	now := time.Now()
	for _, n := range l.numbers {
		if len(ns) == 0 && n.since.After(now) && len(l.numbers) > 1 {
			continue
		}
		ns = append(ns, n.n)
	}
	return ns
}
