package lanes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
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

// layout is the lanes of a queue by the numbers that it has had, the newest first.
type layout struct {
	sets []laneSet
	read time.Time
}

type laneSet struct {
	lanes []string
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
	sets, err := r.current(ctx, queue)
	var all []string
	for _, lanes := range sets {
		for _, lane := range lanes {
			if !slices.Contains(all, lane) {
				all = append(all, lane)
			}
		}
	}
	return all, err
}

// New returns the lanes of new jobs of the queue.
func (r *Router) New(ctx context.Context, queue string) ([]string, error) {
	sets, err := r.current(ctx, queue)
	if err != nil {
		return nil, err
	}
	return sets[0], nil
}

// Lane is the lane of a new job of this name.
func (r *Router) Lane(ctx context.Context, queue, name string) (string, error) {
	if r.cluster == nil {
		return queue, nil
	}
	lanes, err := r.New(ctx, queue)
	if err != nil {
		return "", err
	}
	return Of(lanes, name), nil
}

// Find is the lane that has the job of this name. If none has, it is that of a new job.
func (r *Router) Find(ctx context.Context, queue, name string) (string, error) {
	sets, err := r.current(ctx, queue)
	if err != nil {
		return "", err
	}
	newest := Of(sets[0], name)
	for _, older := range sets[1:] {
		lane := Of(older, name)
		if lane == newest {
			continue
		}
		if there, err := r.rdb.Exists(ctx, job.Key(lane, name)).Result(); err != nil || there == 1 {
			return lane, err
		}
	}
	return newest, nil
}

// Forget removes what is known of the lanes of a queue that is gone.
func (r *Router) Forget(ctx context.Context, queue string) error {
	if r.cluster == nil {
		return nil
	}
	return r.rdb.HDel(ctx, lanesKey, queue).Err()
}

// SetLanes gives new jobs of the queue n lanes, from half a minute from now on. Lanes that it had
// stay known, and are served. A lower number is refused while a lane that would go has deliveries.
func (r *Router) SetLanes(ctx context.Context, queue string, n int) error {
	if n < 1 || n > Most {
		return fmt.Errorf("%d lanes for queue %q: use 1 to %d", n, queue, Most)
	}
	if r.cluster == nil {
		return fmt.Errorf("%d lanes for queue %q: Redis is no Cluster, and a queue has one lane", n, queue)
	}
	return r.rdb.Watch(ctx, func(tx *redis.Tx) error {
		was, err := tx.HGet(ctx, lanesKey, queue).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		if l := parseLayout(queue, was); len(l.sets) > 0 {
			if n == len(l.sets[0].lanes) {
				return nil
			}
			if err := r.leave(ctx, l.sets[0].lanes, Names(queue, n)); err != nil {
				return fmt.Errorf("%d lanes for queue %q: %w", n, queue, err)
			}
		}
		_, err = tx.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HSet(ctx, lanesKey, queue, strings.TrimSpace(fmt.Sprintf("%d@%d %s", n, time.Now().Add(lanesAhead).UnixMilli(), was)))
			p.PExpire(ctx, lanesKey, lanesTTL)
			return nil
		})
		return err
	}, lanesKey)
}

// leave says whether lanes can go that are not among those that stay: whether they are empty.
func (r *Router) leave(ctx context.Context, lanes, stay []string) error {
	for _, lane := range lanes {
		if slices.Contains(stay, lane) {
			continue
		}
		var counts []*redis.IntCmd
		_, err := r.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			counts = append(counts, p.LLen(ctx, asynqfmt.PendingKey(lane)), p.LLen(ctx, asynqfmt.ActiveKey(lane)),
				p.ZCard(ctx, asynqfmt.ScheduledKey(lane)), p.ZCard(ctx, asynqfmt.RetryKey(lane)))
			return nil
		})
		if err != nil {
			return err
		}
		n := int64(0)
		for _, count := range counts {
			n += count.Val()
		}
		if n > 0 {
			return fmt.Errorf("lane %q would go, and has %d deliveries; try again when they have run", lane, n)
		}
	}
	return nil
}

// current is the lanes by each number that is in use, those of new jobs first.
func (r *Router) current(ctx context.Context, queue string) ([][]string, error) {
	if r.cluster == nil {
		return [][]string{{queue}}, nil
	}
	r.mu.Lock()
	l := r.known[queue]
	r.mu.Unlock()
	if time.Since(l.read) >= lanesFor {
		var err error
		if l, err = r.read(ctx, queue); err != nil {
			return nil, fmt.Errorf("reading the lanes of queue %q: %w", queue, err)
		}
	}
	sets := make([][]string, 0, len(l.sets))
	for i, s := range l.sets {
		if oldest := i == len(l.sets)-1; len(sets) == 0 && !oldest && time.Now().Before(s.since) {
			continue
		}
		sets = append(sets, s.lanes)
	}
	return sets, nil
}

func (r *Router) read(ctx context.Context, queue string) (layout, error) {
	text, err := r.rdb.HGet(ctx, lanesKey, queue).Result()
	if errors.Is(err, redis.Nil) {
		if r.reading {
			return parseLayout(queue, "1@0"), nil
		}
		text, err = r.first(ctx, queue)
	}
	if err != nil {
		return layout{}, err
	}
	l := parseLayout(queue, text)
	if len(l.sets) == 0 {
		return layout{}, fmt.Errorf("%w: field %q of %s is %.80q, not numbers of lanes", job.ErrDamaged, queue, lanesKey, text)
	}
	r.mu.Lock()
	r.known[queue] = l
	due := !r.reading && time.Since(r.renewed) > lanesRenewed
	if due {
		r.renewed = time.Now()
	}
	r.mu.Unlock()
	if due {
		err = r.rdb.PExpire(ctx, lanesKey, lanesTTL).Err()
	}
	return l, err
}

// first gives a queue that has no number of lanes the number of masters.
func (r *Router) first(ctx context.Context, queue string) (string, error) {
	var masters atomic.Int64
	err := r.cluster.ForEachMaster(ctx, func(context.Context, *redis.Client) error {
		masters.Add(1)
		return nil
	})
	if err != nil {
		return "", err
	}
	if err := r.rdb.HSetNX(ctx, lanesKey, queue, fmt.Sprintf("%d@0", min(max(1, masters.Load()), Most))).Err(); err != nil {
		return "", err
	}
	return r.rdb.HGet(ctx, lanesKey, queue).Result()
}

func parseLayout(queue, text string) layout {
	l := layout{read: time.Now()}
	for word := range strings.FieldsSeq(text) {
		n, since, _ := strings.Cut(word, "@")
		number, err := strconv.Atoi(n)
		ms, err2 := strconv.ParseInt(since, 10, 64)
		if err == nil && err2 == nil && number >= 1 && number <= Most {
			l.sets = append(l.sets, laneSet{Names(queue, number), time.UnixMilli(ms)})
		}
	}
	return l
}
