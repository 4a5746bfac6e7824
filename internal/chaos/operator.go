package chaos

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/chaos/load"
	"github.com/distpool/distpool/internal/history"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
)

// The faults that an operator with asynq's tools makes.

func deleteDeliveries(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	err := d.operate(ctx, a, f, (*asynq.Inspector).DeleteTask)
	d.redis.Lock()
	defer d.redis.Unlock()
	for _, id := range f.Jobs {
		d.deleted[id] = true
	}
	return err
}

func archiveDeliveries(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	return d.operate(ctx, a, f, (*asynq.Inspector).ArchiveTask)
}

const (
	// backlogWait is how long the operator waits for something to lay hands on.
	backlogWait = 4 * time.Second
	// atMost is how many deliveries an operator touches.
	atMost = 20
)

// operate does something to deliveries that no worker has taken yet.
func (d *driver) operate(ctx context.Context, a aim, f *history.Fault, do func(*asynq.Inspector, string, string) error) error {
	d.redis.Lock()
	defer d.redis.Unlock()
	inspector := asynq.NewInspectorFromRedisClient(d.rdb)
	begin(f)
	for end := time.Now().Add(backlogWait); time.Now().Before(end); hold(ctx, 5*time.Millisecond) {
		lanes, err := d.router.Lanes(ctx, load.Queue)
		if err != nil {
			continue // a process of Redis is away
		}
		var waiting []*asynq.TaskInfo
		for _, lane := range lanes {
			for _, list := range []func(string, ...asynq.ListOption) ([]*asynq.TaskInfo, error){
				inspector.ListPendingTasks, inspector.ListRetryTasks, inspector.ListScheduledTasks,
			} {
				ts, err := list(lane, asynq.PageSize(200))
				if err != nil {
					break // the queue does not exist yet, or a process of Redis is away
				}
				waiting = append(waiting, ts...)
			}
		}
		a.rng.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] })
		for _, t := range waiting[:min(len(waiting), atMost)] {
			if delivery, ok := job.ParseTaskID(t.ID); ok && do(inspector, t.Queue, t.ID) == nil {
				if id := (names.Address{Queue: load.Queue, Name: delivery.Name}).String(); !slices.Contains(f.Jobs, id) {
					f.Jobs = append(f.Jobs, id)
				}
			}
		}
		if len(f.Jobs) > 0 {
			return nil
		}
	}
	f.Skipped = true
	return nil
}

// duplicateDeliveries issues chunks of running jobs again that have been issued,
// run, or recorded.
func duplicateDeliveries(ctx context.Context, d *driver, _ aim, f *history.Fault) error {
	d.redis.Lock()
	defer d.redis.Unlock()
	begin(f)
	for end := time.Now().Add(backlogWait); time.Now().Before(end); hold(ctx, 5*time.Millisecond) {
		jobs := d.accepted.All()
		for _, e := range jobs[max(0, len(jobs)-60):] {
			n, err := d.duplicate(ctx, e.Job)
			if err != nil {
				return fmt.Errorf("issuing chunks of %s again: %w", e.Job, err)
			}
			if n > 0 {
				f.Jobs = append(f.Jobs, e.Job)
			}
		}
		if len(f.Jobs) > 0 {
			return nil
		}
	}
	f.Skipped = true
	return nil
}

// duplicateNumber is above the numbers of all deliveries that distpool issues.
const duplicateNumber = 1000

// duplicate issues the job's chunks again, and returns how many; 0 if it is over.
func (d *driver) duplicate(ctx context.Context, id string) (int, error) {
	s, at, err := d.read(ctx, id)
	if err != nil || s.State.Ended() || s.Chunks < 2 || s.Recorded == 0 {
		return 0, err
	}
	places := make([]int, min(s.Recorded, atMost))
	for i := range places {
		places[i] = i
	}
	recorded, err := job.QueueOrder(ctx, d.rdb, at.lane, at.name, places)()
	if err != nil {
		return 0, err
	}
	client, n := asynq.NewClientFromRedisClient(d.rdb), 0
	for _, chunk := range recorded {
		if chunk < 0 {
			continue // it has left the record
		}
		d.duplicates++
		again := job.Delivery{Ref: s.Ref, Chunk: chunk, Number: duplicateNumber + d.duplicates}
		_, err = client.EnqueueContext(ctx, asynq.NewTask(s.About.Task, job.Payload(at.lane, again)), asynq.TaskID(again.TaskID()), asynq.Queue(at.lane))
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// failover makes the Sentinel promote the replica.
func failover(ctx context.Context, d *driver, a aim, f *history.Fault) error {
	_, release := d.onRedis(a, f)
	defer release()
	s := redis.NewSentinelClient(&redis.Options{Addr: d.topology.sentinel.Addr(), DisableIdentity: true})
	defer s.Close()
	before, err := s.GetMasterAddrByName(ctx, masterName).Result()
	if err != nil {
		return err
	}
	if err := s.Failover(ctx, masterName).Err(); err != nil {
		f.Skipped = true // one is under way, or there is no good replica: an earlier fault has seen to it
		return nil
	}
	return until(ctx, 30*time.Second, "another master is known", func() bool {
		now, err := s.GetMasterAddrByName(ctx, masterName).Result()
		return err == nil && !slices.Equal(now, before)
	})
}
